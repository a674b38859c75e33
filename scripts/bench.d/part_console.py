"""console: its pages over a large fleet and millions of events."""
import gzip
import http.client
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse

from corpus import Corpus, event_corpus
from demand import demand
from hub import free_port, hub, stages_of, wait_for_port
from measure import WORK, Missing, example, measure, number, program, say, status_of, table

UNITS = ("berlin", "rome", "oslo")
SYSTEMS = (("darwin", "macOS", "15"), ("ubuntu", "Ubuntu", "24"), ("windows", "Windows", "11"))
PACKAGES = 40        # of a machine
DAYS = 10            # over which the events lie
PAGE_MAX = 200_000   # bytes of a page
SCRIPT_MAX = 60_000  # bytes of all scripts
# Asked before anything is measured, so that what is in the page cache is what is used.
WARM = 10

MORE = "".join("[unit.%s]\n" % unit for unit in UNITS)


def machine(n):
    name, system, major = SYSTEMS[n % 3]
    return {"serial_number": "BENCH%07d" % n, "hardware_uuid": "4C4C4544-0031-4A10-8052-%012X" % n, "hostname": "host-%d.example.org" % n,
            "platform": name, "os_version": "%s %s.%d" % (system, major, n % 7), "unit": UNITS[n % len(UNITS)]}


def inventory(machines, out):
    """What each machine tells of itself, as raw lines."""
    made = Corpus(11)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    for n in range(machines):
        one = machine(n)
        rows = [{"table_name": "os_version", "name": one["os_version"].split()[0], "major": one["os_version"].split()[1].split(".")[0],
                 "minor": str(n % 7), "patch": "0"},
                {"table_name": "system_info", "hostname": one["hostname"], "computer_name": made.value("name"), "hardware_serial": one["serial_number"],
                 "hardware_model": made.value("name"), "cpu_brand": made.value("name"), "physical_memory": "17179869184"}]
        rows += [{"table_name": "deb_packages", "name": made.word() + "-" + made.word(), "version": made.value("ver"), "arch": "amd64"} for _ in range(PACKAGES)]
        record = {"name": "ztl-inv", "hostIdentifier": one["serial_number"], "calendarTime": "Tue Jan  6 08:00:05 2026 UTC", "unixTime": int(time.time()), "epoch": 0,
                  "counter": 0, "numerics": False, "decorations": {}, "action": "snapshot", "snapshot": rows}
        out.write(json.dumps({"v": 1, "id": "01b1ff7a-%04x-8%03x-8000-%012x" % (n >> 16, n & 0xFFF, n), "source": "osquery", "kind": "result", "received": now,
                              "machine": one, "request": {"ip": "203.0.113.%d" % (n % 250), "user_agent": "osquery/5.23.0"}, "body": record},
                             separators=(",", ":")).encode() + b"\n")


def events(count, out):
    """Events of the last days, from those of the corpus: each once more with an id and a time of its own."""
    some = min(count, 100_000)
    with open(event_corpus(some), "rb") as source:
        parts = [re.split(rb'("id":"[^"]*"|"(?:time|received)":"[^"]*")', line, maxsplit=3) for line in source]
    end = time.time()
    for n in range(count):
        moment = end - DAYS * 86_400 * (1 - n / count)
        text = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + ".%03dZ" % (moment % 1 * 1000)).encode()
        line = list(parts[n % some])
        for i in range(1, len(line), 2):
            line[i] = b'"id":"%s"' % event_id(n).encode() if line[i].startswith(b'"id"') \
                else line[i].split(b":", 1)[0] + b':"' + text + b'"'
        out.write(b"".join(line))


def fed(command, write):
    """Runs a command on what is written for it."""
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=WORK)
    write(child.stdin)
    child.stdin.close()
    if child.wait() != 0:
        raise RuntimeError("%s ended with %d" % (command, child.returncode))


class Person:
    """A program with a token, on one connection."""

    def __init__(self, port, token):
        self.connection, self.token = http.client.HTTPConnection("127.0.0.1", port, timeout=60), token

    def get(self, path):
        """The page, and how long the server took for it in ms."""
        began = time.monotonic()
        self.connection.request("GET", path, headers={"Authorization": "Bearer " + self.token, "Accept": "text/html"})
        reply = self.connection.getresponse()
        body = reply.read()
        took = (time.monotonic() - began) * 1000
        if reply.status != 200:
            raise RuntimeError("%s: %d: %s" % (path, reply.status, body[:500]))
        return body, took


def event_id(n):
    return "01c1ff7a-%04x-8%03x-8000-%012x" % (n >> 28 & 0xFFFF, n >> 16 & 0xFFF, n)


def asked(machines, count):
    """Pages by kind: an address for each number of a try."""
    host = lambda n: "host-%d" % (n * 7919 % machines)
    word = lambda **words: urllib.parse.urlencode(words)
    return {
        "overview": ("list", lambda n: "/"),
        "machines": ("list", lambda n: "/machines?" + word(sort=("name", "-seen", "os", "unit", "-name")[n % 5])),
        "machines, narrowed": ("list", lambda n: "/machines?" + word(q=host(n), platform=SYSTEMS[n % 3][0])),
        "machines, of a unit": ("list", lambda n: "/machines?" + word(unit=UNITS[n % 3], n=100)),
        "one machine": ("list", lambda n: "/machines/BENCH%07d" % (n * 7919 % machines)),
        "events of a day": ("search", lambda n: "/events"),
        "events by a word": ("search", lambda n: "/events?" + word(q=("usb", "chrome", "java")[n % 3], since="7d")),
        "events by a field": ("search", lambda n: "/events?" + word(q="payload.name:%s" % ("process_events", "usb_devices", "launchd")[n % 3], since="30d", by="machine.hostname")),
        "events of a machine": ("search", lambda n: "/events?" + word(q="machine.hostname:host-%d.example.org" % (n % 5000), since="30d")),
        "every event": ("search", lambda n: "/events?" + word(since="30d")),
        "one event": ("list", lambda n: "/events/" + event_id(n * 7919 % count)),
        "one event, explained": ("list", lambda n: "/events/%s/explain" % event_id(n * 7919 % count)),
        "probes": ("list", lambda n: "/probes?" + word(sort=("name", "-matches", "state")[n % 3])),
        "one probe": ("search", lambda n: "/probes/usb-device?since=30d"),
        "incidents": ("list", lambda n: "/incidents"),
        "actions": ("list", lambda n: "/actions"),
        "live query": ("list", lambda n: "/query"),
        "sources": ("list", lambda n: "/sources"),
        "enrol": ("list", lambda n: "/enrol"),
        "access": ("list", lambda n: "/users"),
        "status": ("list", lambda n: "/status"),
    }


def part_console(size):
    machines, count = (2_000, 20_000) if size.quick else (50_000, size.console_events)
    folder = WORK / ("console-%d-%d" % (machines, count))
    port = free_port()
    file = folder / "pipeline.toml"
    if not (folder / "made").exists():
        if shutil.disk_usage(WORK).free < 3_000 * count:
            raise Missing("there is no room for %d events" % count)
        hub(folder, free_port())
        file.write_text(file.read_text() + MORE)
        say("console: an index of %d events" % count)
        # Where `receive` would put it.
        fed([example("hop"), "--data", folder / "data", "--to", "topic:raw"], lambda out: inventory(machines, out))
        fed([program("normalize"), "--data", folder / "data", "--from", "topic:raw", "--to", "topic:normalized", "--as", "normalize", "--once"], lambda out: None)
        # By a topic, of which the store reads much at a time; it is not the hub's own, which would be far behind.
        aside = folder / "aside"
        fed([example("hop"), "--data", aside, "--to", "topic:events"], lambda out: events(count, out))
        measure([[program("store"), "--kind", "embedded", "--data", aside, "--from", "topic:events", "--as", "store", "--once"]])
        (aside / "index").rename(folder / "data/index")
        shutil.rmtree(aside)
        (folder / "made").touch()
    text = re.sub(r'(?m)^(\[stage\.console\]\s*\nlisten\s*=\s*)"[^"]*"', r'\1"127.0.0.1:%d"' % port, file.read_text())
    file.write_text(text)
    made = subprocess.run([program("zentral"), "-c", file, "token", "new", "bench", "--role", "admin"], check=True, capture_output=True, text=True, cwd=folder)
    token = json.loads(made.stdout)["token"]
    with open(WORK / "up.log", "wb") as log:
        up = subprocess.Popen([program("zentral"), "-c", file, "up"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        wait_for_port(port, up)
        measured(size, Person(port, token), machines, count, stages_of(folder)["console"])
    finally:
        up.terminate()
        up.wait()


def measured(size, person, machines, count, pid):
    rows, most, slowest, largest = [], [], {"list": 0.0, "search": 0.0}, 0
    tries = 20 if size.quick else 200
    pages = asked(machines, count)
    for kind, (_, address) in pages.items():
        for n in range(WARM):
            person.get(address(n))
    for kind, (of, address) in pages.items():
        # The machines are read anew every few seconds: that must not be seen.
        told = sorted(person.get(address(n))[1] for n in range(tries))
        body = person.get(address(0))[0]
        p95 = told[int(len(told) * 0.95)]
        slowest[of], largest = max(slowest[of], p95), max(largest, len(body))
        most.append(status_of(pid)["VmRSS"])
        rows.append([kind, number(told[len(told) // 2]), number(p95), number(told[-1]), number(len(body) / 1000), number(len(gzip.compress(body)) / 1000)])
    # The same again must need no more than it did.
    for kind, (_, address) in pages.items():
        for n in range(tries):
            person.get(address(n))
    after = status_of(pid)
    table("console: {:,} machines, {:,} events, {} tries a page; ms".format(machines, count, tries), ["", "p50", "p95", "most", "kB", "kB packed"], rows)
    script = sum(len(person.get(path)[0]) for path in set(re.findall(r'src="(/assets/[^"]+\.js[^"]*)"', person.get("/")[0].decode())))
    demand("console", "lists at p95", slowest["list"], ("≤", 100), None, " ms")
    demand("console", "searches at p95", slowest["search"], ("≤", 300), None, " ms")
    demand("console", "the largest page", largest / 1000, ("≤", PAGE_MAX / 1000), None, " kB")
    demand("console", "scripts in all", script / 1000, ("≤", SCRIPT_MAX / 1000), None, " kB")
    demand("console", "memory after the same again ÷ before", after["VmRSS"] / max(most), ("≤", 1.2), None, " x")
    demand("console", "memory at most", after["VmHWM"], None, None, " MB")
