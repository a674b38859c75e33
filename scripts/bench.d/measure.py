"""Measuring: programs, their cost, rounds of them, and tables of it."""
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time


ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PROGRAMS = TARGET / "release"
WORK = TARGET / "bench"
# What is chosen everywhere.
ONE_PROBE = '.type == "osquery_result" and .payload.name == "usb_devices" and .payload.action == "added"'
LOG_WAIT = 60.0  # seconds that a server may take to listen


class Size:
    """How much of everything."""

    def __init__(self, quick, events, hosts=10_000):
        self.rounds = 3 if quick else 5
        self.lines = 20_000 if quick else 300_000
        self.chain = 5_000 if quick else 100_000
        self.pool = 500 if quick else 32_000
        self.seconds = 1.5 if quick else 5.0
        self.warm = 0.5 if quick else 1.5
        self.rss_events = events or (20_000 if quick else 10_000_000)
        self.queue_events = events or (5_000 if quick else 1_000_000)
        self.console_events = events or 5_000_000
        self.few = 2_000 if quick else 100_000           # events for a peer
        self.many = 20_000 if quick else 1_000_000       # for what is too quick to be measured with those
        self.counts = (10, 100) if quick else (10, 100, 1_000, 10_000)
        self.probe_events = 5_000 if quick else 100_000
        self.endless = 50_000 if quick else 5_000_000
        self.delays = 200 if quick else 2_000
        self.hosts = hosts
        self.quick = quick


class Missing(Exception):
    """A part cannot run: why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def program(name):
    path = PROGRAMS / name
    if not path.exists():
        raise Missing("%s is not built" % path)
    return str(path)


def example(name):
    return program("examples/" + name)


def limits():
    """The program of its own under `limits/`: see `build_limits`."""
    path = WORK / "limits/release/limits"
    if not path.exists():
        raise Missing("%s is not built" % path)
    return str(path)


def build_limits():
    """A project of its own with its own lock file; what it needs is no dependency of what ships."""
    manifest = pathlib.Path(__file__).resolve().parent / "limits/Cargo.toml"
    say("building limits")
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", manifest], check=True, cwd=ROOT,
                   env={**os.environ, "CARGO_TARGET_DIR": str(WORK / "limits")})


class Cost:
    """What a command line cost: CPU and wall seconds, largest RSS of any of its processes in MB."""

    def __init__(self, cpu, wall, rss, exits):
        self.cpu, self.wall, self.rss, self.exits = cpu, wall, rss, exits


def measure(commands, stdin=None, stdout=None, ok=(0,), cwd=None):
    """Runs commands joined by pipes."""
    began, children, pipe = time.monotonic(), [], None
    source = open(stdin, "rb") if stdin else subprocess.DEVNULL
    sink = open(stdout, "wb") if stdout else subprocess.DEVNULL
    for i, command in enumerate(commands):
        last = i == len(commands) - 1
        child = subprocess.Popen([str(word) for word in command], stdin=pipe or source, stdout=sink if last else subprocess.PIPE,
                                 stderr=subprocess.PIPE if last else subprocess.DEVNULL, cwd=cwd or WORK)
        if pipe:
            pipe.close()
        pipe = child.stdout
        children.append(child)
    watch = Watch([child.pid for child in children])
    complaint = children[-1].stderr.read()
    usages = [reap(child) for child in children]
    cpu, exits = sum(u.ru_utime + u.ru_stime for u in usages), [child.returncode for child in children]
    wall = time.monotonic() - began
    for file in (source, sink):
        if not isinstance(file, int):
            file.close()
    if any(code not in ok for code in exits):
        raise RuntimeError("%s ended with %s: %s" % (commands, exits, complaint.decode(errors="replace")[-2000:]))
    return Cost(cpu, wall, watch.end(), exits)


def reap(child):
    """Waits for the end of a child; what it and its own children used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage


def ended(child):
    """Whether it has ended; its usage stays to be asked for."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def words_of(pid):
    """Its command line; none if it has ended."""
    try:
        return pathlib.Path("/proc/%s/cmdline" % pid).read_bytes() or None
    except OSError:
        return None


class Watch(threading.Thread):
    """Looks at the memory of processes (the kernel's own maximum holds that of the Python they were forked from)."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.most, self.over = pids, 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            for pid in self.pids:
                if words_of(pid) not in (None, words_of("self")):
                    self.most = max(self.most, status_of(pid).get("VmHWM", 0.0))

    def end(self):
        self.over.set()
        self.join()
        return self.most


def rounds(size, contestants):
    """Lets each contestant run once a round, in changing order. {name: [result]}"""
    results = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(size.rounds):
        for name in order[number % len(order):] + order[:number % len(order)]:
            results[name].append(contestants[name]())
    return results


def median(values):
    return statistics.median(values)


def ratio(above, below, key):
    """The median of what the rounds say one by one: a round's two sides ran side by side."""
    of = lambda result: result[key] if isinstance(result, dict) else getattr(result, key)
    return median([of(a) / of(b) for a, b in zip(above, below)])


def table(title, head, rows):
    widths = [max(len(str(row[i])) for row in [head] + rows) for i in range(len(head))]
    print("\n## " + title)
    for row in [head] + rows:
        print("  ".join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    sys.stdout.flush()


def number(value):
    return "%.3g" % value if abs(value) < 100 else "{:,.0f}".format(value)


def count_lines(path):
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def status_of(pid):
    """VmRSS and VmHWM of a process in MB."""
    try:
        text = pathlib.Path("/proc/%d/status" % pid).read_text()
    except OSError:
        return {}
    return {name: int(kb) / 1024 for name, kb in re.findall(r"^(Vm(?:RSS|HWM)):\s+(\d+) kB", text, re.MULTILINE)}
