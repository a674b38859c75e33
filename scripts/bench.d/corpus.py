"""Corpora: lines of a fleet, the same bytes for the same seed."""
import json
import random
import subprocess

from measure import WORK, program, say


# name, weight, columns: words stand for what is drawn
QUERIES = (
    ("process_events", 26, "path cmd cwd pid pid uid hash time"), ("socket_events", 14, "path ip port ip port pid time"),
    ("file_events", 10, "path hash hash num num time uid"), ("pack_incident-response_open_sockets", 6, "ip port ip port pid num"),
    ("pack_it-compliance_installed_applications", 6, "app path ver path time"), ("launchd", 4, "path cmd name num path"),
    ("pack_incident-response_logged_in_users", 4, "user name ip time pid"), ("deb_packages", 3, "app ver num name hash"),
    ("listening_ports", 4, "pid port num ip path"), ("crontab", 2, "cmd path name"), ("os_version", 2, "ver ver name num"),
    ("disk_encryption", 2, "name num hash user"), ("chrome_extensions", 3, "name hash ver path user"),
    ("kernel_extensions", 1, "name ver path num"), ("shell_history", 1, "user cmd path time"), ("usb_devices", 2, "app name ver num num"),
)
KEYS = {"path": "path", "cmd": "cmdline", "cwd": "cwd", "pid": "pid", "uid": "uid", "hash": "sha256", "time": "mtime", "ip": "address",
        "port": "port", "num": "size", "app": "vendor", "ver": "version", "name": "model", "user": "username"}
WORDS = ("agent app archive backup bundle cache chrome client cloud code config container core daemon data device disk docker "
         "editor engine event export file font framework game git group helper home host image index install java kernel "
         "launch library license local login mail media menu meta mount network node notify office package panel patch").split()


class Corpus:
    """Raw lines of a fleet; the same seed gives the same bytes."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.names = [q for q in QUERIES for _ in range(q[1])]

    def word(self):
        return WORDS[int(self.r.random() * len(WORDS))]

    def value(self, kind):
        r = self.r.random
        if kind == "path":
            return "/".join(["/usr", self.word(), self.word(), self.word() + "%d" % (r() * 100)])
        if kind == "cmd":
            return " ".join(["/usr/bin/" + self.word()] + ["--%s=%s" % (self.word(), self.word()) for _ in range(1 + int(r() * 9))])
        if kind == "hash":
            return "%064x" % int(r() * 2**53 * 2**200)
        if kind == "ip":
            return "%d.%d.%d.%d" % (r() * 224, r() * 256, r() * 256, r() * 256)
        if kind in ("time", "num"):
            return str(int(r() * 2_000_000_000))
        if kind in ("pid", "port"):
            return str(int(r() * 65536))
        if kind == "uid":
            return str(int(r() * 600))
        if kind == "ver":
            return "%d.%d.%d" % (r() * 20, r() * 20, r() * 100)
        return self.word() + " " + self.word()

    def line(self, n):
        r = self.r.random
        name, _, kinds = self.names[int(r() * len(self.names))]
        machine = int(r() * 5000)
        columns, seen = {}, {}
        for kind in kinds.split():
            seen[kind] = seen.get(kind, 0) + 1
            columns[KEYS[kind] + ("" if seen[kind] == 1 else str(seen[kind]))] = self.value(kind)
        for extra in range(int(r() * 6)):
            columns["extra_%d" % extra] = self.value("cmd" if r() < 0.3 else "hash")
        serial, moment = "BENCH%07d" % machine, 1_767_686_405 + n // 100
        record = {"name": name, "hostIdentifier": serial, "calendarTime": "Tue Jan  6 08:00:05 2026 UTC", "unixTime": moment, "epoch": 0,
                  "counter": 1 + n, "numerics": False, "decorations": {"host_uuid": "4C4C4544-0031-4A10-8052-%012X" % machine, "username": self.word()},
                  "columns": columns, "action": "added" if r() < 0.6 else "removed"}
        raw = {"v": 1, "id": "01a1ff7a-%04x-8%03x-8000-%012x" % (n >> 16 & 0xFFFF, n >> 4 & 0xFFF, n), "source": "osquery", "kind": "result",
               "received": "2026-01-%02dT08:00:10.000Z" % (6 + n // 8_640_000),
               "machine": {"serial_number": serial, "hostname": "host-%d.example.org" % machine, "platform": "linux", "unit": "default"},
               "request": {"ip": "203.0.113.%d" % (machine % 250), "user_agent": "osquery/5.23.0"}, "body": record}
        return json.dumps(raw, separators=(",", ":"), ensure_ascii=False)


def raw_corpus(lines):
    path = WORK / ("raw-%d.ndjson" % lines)
    if not path.exists():
        say("making %s" % path.name)
        made = Corpus(7)
        with open(path.with_suffix(".tmp"), "w", encoding="utf-8") as out:
            for n in range(lines):
                out.write(made.line(n) + "\n")
        path.with_suffix(".tmp").rename(path)
    return path


def event_corpus(lines):
    """What `normalize` makes of the raw lines."""
    path = WORK / ("events-%d.ndjson" % lines)
    if not path.exists():
        raw = raw_corpus(lines)
        with open(raw, "rb") as source, open(path.with_suffix(".tmp"), "wb") as out:
            subprocess.run([program("normalize")], stdin=source, stdout=out, check=True, cwd=WORK)
        path.with_suffix(".tmp").rename(path)
    return path
