"""Lines in and out of a running filter, one by one: their delay, alone and while it reads its configuration again."""
import fcntl
import os
import select
import signal
import subprocess
import time

from held import marker
from measure import WORK
from sets import MARKER

PIPE = 1 << 20        # bytes that fit into the pipe to it: a pause must not stop who writes
READY = 120.0         # seconds until the first line must come out
RELOADED = 60.0       # seconds until the new set must be in force
CALM = 0.5            # seconds before and after the reload that are watched as well


class Line:
    """A running filter, with what it prints read as it comes."""

    def __init__(self, command):
        self.log = open(WORK / "line.log", "wb")
        self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=WORK, bufsize=0)
        fcntl.fcntl(self.child.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
        self.rest = b""

    def send(self, line):
        self.child.stdin.write(line)

    def lines(self, wait):
        """What has come out, waiting so long for the first."""
        if not select.select([self.child.stdout], [], [], max(wait, 0))[0]:
            return []
        got = os.read(self.child.stdout.fileno(), 1 << 16)
        if not got:
            raise RuntimeError("it ended: %s" % (WORK / "line.log").read_text(errors="replace")[-1000:])
        *whole, self.rest = (self.rest + got).split(b"\n")
        return whole

    def answer(self, line, limit):
        """Sends a line, waits for one."""
        self.send(line)
        end = time.monotonic() + limit
        while True:
            if self.lines(end - time.monotonic()):
                return
            if time.monotonic() > end:
                raise RuntimeError("nothing came out: %s" % (WORK / "line.log").read_text(errors="replace")[-1000:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.stdout.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


def delays(command, count, every, line=None):
    """Seconds from line in to line out, `count` times, a line each `every` seconds."""
    took = []
    with Line(command) as running:
        running.answer(line or marker(0), READY)
        for n in range(count):
            time.sleep(every)
            began = time.perf_counter()
            running.answer(line or marker(n + 1), READY)
            took.append(time.perf_counter() - began)
    return took


def pause(command, written):
    """Changes one filter, asks for a reload, and finds the longest that a line took until the new set was in force: `marker`
    then is chosen by a second probe."""
    file = written.file(0)
    before = file.read_text()
    changed = before.replace("[probe.p00000]\nfilter = '", "[probe.p00000]\nfilter = '.type == \"%s\" or " % MARKER, 1)
    if changed == before:
        raise RuntimeError("%s: there is no filter to change" % file)
    sent, asked, new, slowest, number = {}, None, None, {False: 0.0, True: 0.0}, 0
    try:
        with Line(command) as running:
            running.answer(marker(0), READY)
            began = due = time.perf_counter()
            while new is None or time.perf_counter() < new + CALM:
                now = time.perf_counter()
                if asked is None and now > began + CALM:
                    file.write_text(changed)
                    asked = time.perf_counter()
                    running.child.send_signal(signal.SIGHUP)
                if asked and new is None and now > asked + RELOADED:
                    raise RuntimeError("the new set is not in force: %s" % (WORK / "line.log").read_text(errors="replace")[-1000:])
                if now >= due:
                    number, due = number + 1, due + 0.001
                    sent[number] = time.perf_counter()
                    running.send(marker(number))
                for line in running.lines(due - time.perf_counter()):
                    out = time.perf_counter()
                    place = line.find(b'"id":"') + 30
                    came = int(line[place:place + 12], 16)
                    slowest[asked is not None] = max(slowest[asked is not None], out - sent.pop(came))
                    if new is None and b'"p00000"' in line:
                        new = out
    finally:
        file.write_text(before)
    return {"before": slowest[False] * 1000, "pause": slowest[True] * 1000, "new": (new - asked) * 1000, "lines": number}
