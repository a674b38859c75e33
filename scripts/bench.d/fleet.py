"""Events of a fleet in canonical form: seven types, machines of three platforms, as many query names as wanted.

About 1,200 bytes each; about one in a hundred is what `ONE_PROBE` chooses. The same seed gives the same bytes."""
import json
import random
import time
import uuid
import zlib

from measure import WORK, say

FIRST = "ada bob cleo dan eve finn gus hana ivo jan kim lea max nora otto pia quin rosa sam tia uma vic wes yara zoe".split()
LAST = "abel berg costa diaz ek faure gill haas ito jung klein lopez meyer novak olsen popov quist rossi silva tran".split()
UNITS = "engineering finance ventes design it jinji labor-zuerich executive".split()
TAGS = "laptop kiosk pilot finance vip lab remote byod canary dept:eng dept:sales site:hh site:sf".split()
PLATFORMS = {"macos": ("14.6.1", "15.1", "15.3.2"), "linux": ("Debian 12", "Ubuntu 24.04"), "windows": ("11 23H2",)}
APPS = ("Firefox", "Slack", "Xcode", "Terminal", "Docker", "zoom.us", "Safari", "1Password", "Figma", "IntelliJ IDEA", "TeamViewer", "Übersicht")
FOLDERS = ("/Applications", "/Users/ada.abel/Downloads", "/usr/local/bin", "/private/tmp", "/Library/PrivilegedHelperTools", "/opt/homebrew/bin")
PACKS = ("ir", "compliance", "osx-attacks", "vuln", "hw", "it-ops")
TABLES = ("process", "port", "launchd", "app", "file")
WEIGHTS = (("osquery_result", 50), ("santa_event", 16), ("munki_event", 10), ("inventory_machine_update", 9), ("jamf_webhook", 6), ("osquery_request", 6), ("audit", 3))
MACHINES = 5000
USB = "usb_devices"


def query_names(count):
    """Names of scheduled queries; the first is the one that `ONE_PROBE` asks for."""
    return [USB] + ["pack_%s_q%05d" % (PACKS[n % len(PACKS)], n) for n in range(1, count)]


def table_of(name):
    return "usb" if name == USB else TABLES[zlib.crc32(name.encode()) % len(TABLES)]


class Fleet:
    """Events one by one."""

    def __init__(self, seed, names):
        self.r, self.seconds = random.Random(seed), 0
        self.names = query_names(names)
        self.machines = [json.dumps(self.machine(n), ensure_ascii=False, separators=(",", ":")) for n in range(MACHINES)]
        self.types = [name for name, weight in WEIGHTS for _ in range(weight)]
        self.encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

    def under(self, end):
        return int(self.r.random() * end)

    def one(self, things):
        return things[int(self.r.random() * len(things))]

    def hex(self, digits):
        return "%0*x" % (digits, self.r.getrandbits(4 * digits))

    def uuid(self):
        return str(uuid.UUID(int=self.r.getrandbits(128)))

    def machine(self, n):
        platform = self.one(("macos",) * 8 + ("linux",) * 3 + ("windows",))
        first, last = self.one(FIRST), self.one(LAST)
        # What is empty is not there: so a canonical line has it.
        lists = {"tags": self.r.sample(TAGS, self.under(4)), "groups": self.r.sample(["人事部", "Zürich", "dev", "ops"], self.under(3))}
        return {"serial_number": "C02%09d" % n, "hostname": "%s-%s-%d.corp.example" % (first, last, n), "platform": platform, "os_version": self.one(PLATFORMS[platform]),
                "unit": self.one(UNITS), **{key: value for key, value in lists.items() if value}, "user": "%s.%s@corp.example" % (first, last)}

    def path(self):
        app = self.one(APPS)
        return "%s/%s.app/Contents/MacOS/%s" % (self.one(FOLDERS), app, app)

    def columns(self, table):
        one, under, hexes = self.one, self.under, self.hex
        if table == "usb":
            return {"usb_address": str(under(64)), "usb_port": str(under(8)), "vendor": one(("Apple Inc.", "SanDisk", "Kingston", "Yubico", "Logitech")), "vendor_id": hexes(4),
                    "version": "1.%d" % under(99), "model": one(("Ultra Fit", "DataTraveler 3.0", "YubiKey 5C", "USB Receiver", "iPhone")), "model_id": hexes(4),
                    "serial": hexes(16).upper(), "class": str(under(9)), "subclass": "0", "protocol": "0", "removable": one("01")}
        if table == "process":
            return {"pid": str(under(99999)), "parent": str(under(999)), "path": self.path(), "cmdline": "%s --type=renderer --field-trial-handle=%s --lang=en --enable-features=%s /var/folders/zz/%s/T/ \"quoted arg\""
                    % (self.path(), hexes(24), ",".join(hexes(8) for _ in range(under(9))), hexes(30)), "cwd": "/", "uid": str(under(600)), "gid": "20", "euid": "501",
                    "start_time": str(1700000000 + under(9999999)), "resident_size": str(under(10**9)), "sha256": hexes(64), "on_disk": "1", "name": one(APPS)}
        if table == "port":
            return {"pid": str(under(99999)), "port": str(under(65536)), "protocol": one(("6", "17")), "family": "2", "address": one(("0.0.0.0", "127.0.0.1", "::")), "path": self.path(),
                    "socket": str(under(99999)), "fd": str(under(99)), "net_namespace": "0", "cmdline": "%s -l %s" % (self.path(), hexes(40))}
        if table == "launchd":
            label = "com.vendor%d.%s" % (under(90), one(("helper", "agent", "updater")))
            return {"path": "/Library/LaunchDaemons/%s.plist" % label, "name": label + ".plist", "label": label, "program": self.path(), "run_at_load": one(("0", "1", "")),
                    "keep_alive": one("01"), "cmdline": "%s --daemon --config /Library/Application Support/%s/cfg.json" % (self.path(), hexes(12)), "username": "", "groupname": "",
                    "process_type": "Background", "disabled": "0", "stdout_path": "/var/log/%s.log" % label}
        if table == "app":
            app = one(APPS)
            return {"name": app + ".app", "path": "/Applications/%s.app" % app, "bundle_executable": app, "bundle_identifier": "com.vendor." + app.lower().replace(" ", ""), "bundle_name": app,
                    "bundle_short_version": "%d.%d.%d" % (under(200), under(20), under(20)), "bundle_version": str(under(99999)), "compiler": "com.apple.compilers.llvm.clang.1_0",
                    "development_region": "en", "info_string": "", "minimum_system_version": "11.0", "category": "public.app-category.productivity",
                    "copyright": "Copyright © 2025 Vendor GmbH. Alle Rechte vorbehalten.", "last_opened_time": "%d.%d" % (1700000000 + under(9999999), under(99999))}
        return {"path": "%s/%s%s" % (one(FOLDERS), hexes(12), one((".dmg", ".pkg", ".sh", ".plist"))), "category": one(("downloads", "etc", "binaries")), "action": one(("CREATED", "UPDATED", "DELETED")),
                "transaction_id": str(under(99999)), "inode": str(under(10**9)), "uid": "501", "gid": "20", "mode": "0644", "size": str(under(10**8)), "atime": "1731000000",
                "mtime": "1731000001", "md5": hexes(32), "sha1": hexes(40), "sha256": hexes(64), "hashed": "1", "time": "1731000002", "eid": hexes(10)}

    def payload(self, kind):
        one, under, hexes = self.one, self.under, self.hex
        if kind == "osquery_result":
            name = USB if self.r.random() < 0.025 or len(self.names) == 1 else self.names[1 + under(len(self.names) - 1)]
            return {"name": name, "action": one(("added",) * 4 + ("removed",)), "hostIdentifier": self.uuid().upper(), "unixTime": self.seconds - under(60), "epoch": 0,
                    "counter": under(5000), "numerics": False, "pack": name.split("_q")[0] if "_q" in name else None,
                    "decorations": {"host_uuid": self.uuid().upper(), "osquery_version": "5.23.0", "config_hash": hexes(40)}, "columns": self.columns(table_of(name))}
        if kind == "santa_event":
            return {"decision": one(("ALLOW_BINARY", "BLOCK_UNKNOWN", "ALLOW_TEAMID", "BLOCK_BINARY", "ALLOW_UNKNOWN")), "file_sha256": hexes(64), "file_path": one(FOLDERS), "file_name": one(APPS),
                    "executing_user": one(FIRST), "execution_time": 1731000000.5 + under(10**6), "pid": under(99999), "ppid": 1, "parent_name": "launchd", "cdhash": hexes(40),
                    "team_id": hexes(10).upper(), "signing_id": "%s:com.vendor.%s" % (hexes(10).upper(), hexes(8)), "logged_in_users": ["ada"],
                    "signing_chain": [{"sha256": hexes(64), "cn": name, "org": "Apple Inc.", "ou": "Apple Certification Authority", "valid_from": 1400000000, "valid_until": 1900000000}
                                      for name in ("Developer ID Application: Vendor " + hexes(4), "Developer ID CA", "Apple Root CA")[:1 + under(3)]]}
        if kind == "munki_event":
            return {"type": one(("install", "removal", "warning", "error")), "name": one(APPS), "display_name": one(APPS), "version": "%d.%d.%d" % (under(99), under(20), under(20)),
                    "applesus": False, "status": one((0, 0, 0, 1)), "duration_seconds": under(300), "unattended": one((True, False)), "run_type": one(("auto", "manualcheck")),
                    "munki_version": "6.6.5.4711", "managed_installs": [{"name": one(APPS), "installed": one((True, False)), "version_to_install": "%d.%d" % (under(99), under(9)),
                                                                         "size": under(10**9)} for _ in range(2 + under(8))]}
        if kind == "inventory_machine_update":
            return {"action": one(("added", "removed", "changed")), "source": {"name": "osquery"}, "diff": {"apps": {"removed": [], "added": [
                {"bundle_id": "com.vendor." + hexes(6), "bundle_name": one(APPS), "bundle_version": str(under(999)), "path": self.path(), "signed_by": None} for _ in range(2 + under(4))]}}}
        if kind == "jamf_webhook":
            return {"webhookEvent": one(("ComputerCheckIn", "ComputerInventoryCompleted", "ComputerPolicyFinished")), "webhook": {"id": under(50), "name": "hub hook " + hexes(6), "eventTimestamp": 1731000000000 + under(10**9)},
                    "event": {"trigger": "CLIENT_CHECKIN", "groups": [under(9999) for _ in range(under(10))], "computer": {
                        "udid": self.uuid().upper(), "deviceName": one(FIRST) + "-mbp", "model": "MacBookPro18,3", "macAddress": ":".join(hexes(2) for _ in range(6)), "osVersion": "15.1",
                        "osBuild": "24B83", "username": one(FIRST), "realName": "%s %s" % (one(FIRST), one(LAST)), "phone": "", "position": "", "department": "Eng", "jssID": under(9999), "managementId": hexes(32)}}}
        if kind == "osquery_request":
            return {"request_type": one(("config", "log", "distributed_read")), "status": 200, "notes": "".join(one("abcdef ghij\\\"é") for _ in range(200 + under(500)))}
        return {"actor": {"username": one(FIRST), "ip": "192.0.2.%d" % under(255)}, "verb": one(("created", "updated", "deleted")), "object": {"model": one(("probe", "enrolment", "rule")), "pk": str(under(9999))},
                "previous": {"name": hexes(20), "description": hexes(200)}, "new": {"name": hexes(20), "description": hexes(200)}}

    def event(self, n, kind=None):
        kind = kind or self.one(self.types)
        ms = 1_793_610_000_000 + 17 * n
        self.seconds = ms // 1000
        moment = "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.seconds)), ms % 1000)
        ident = uuid.UUID(int=ms << 80 | 8 << 76 | self.r.getrandbits(12) << 64 | 2 << 62 | self.r.getrandbits(62))
        tags = self.encode(self.r.sample(("osquery", "inventory", "security", "compliance", "process"), 1 + self.under(3)))
        return ('{"v":1,"id":"%s","type":"%s","time":"%s","received":"%s","source":"%s","tags":%s,"machine":%s,"request":{"ip":"10.1.%d.%d","user_agent":"osquery/5.23.0"},"payload":%s}'
                % (ident, kind, moment, moment, kind.split("_")[0], tags, self.one(self.machines), self.under(255), self.under(255), self.encode(self.payload(kind))))

    def raw(self, n):
        """A result as `receive` would have written it: what `normalize` makes an event of."""
        event = json.loads(self.event(n, "osquery_result"))
        return self.encode({"v": 1, "id": event["id"], "source": "osquery", "kind": "result", "received": event["received"],
                            "machine": {key: event["machine"][key] for key in ("serial_number", "hostname", "platform", "unit")}, "request": event["request"],
                            "body": event["payload"]})


def fleet_corpus(lines, names=60, raw=False):
    """A file of so many lines, made once."""
    path = WORK / ("%s-%d-%d.ndjson" % ("fleet-raw" if raw else "fleet", lines, names))
    if not path.exists():
        say("making %s" % path.name)
        fleet = Fleet(11, names)
        made = fleet.raw if raw else fleet.event
        with open(path.with_suffix(".tmp"), "w", encoding="utf-8") as out:
            for n in range(lines):
                out.write(made(n) + "\n")
        path.with_suffix(".tmp").rename(path)
    return path
