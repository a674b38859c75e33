"""A program held open between pipes, so that its start, its work and its memory can be told apart."""
import os
import subprocess
import tempfile
import time

from measure import WORK, status_of
from sets import MARKER

STARTS = 120.0   # seconds until the first line must have come out
ENDS = 600.0     # seconds until the last one must have
LOOK = 0.0005    # seconds between two looks
QUIET = 0.1      # seconds without CPU time until a program is taken to be idle
IDLE = 30.0      # seconds that may take


def marker(n):
    """An event that every set chooses, by its number."""
    return ('{"v":1,"id":"00000000-0000-8000-8000-%012x","type":"%s","time":"2026-11-02T09:00:00.000Z","received":"2026-11-02T09:00:00.000Z","source":"bench",'
            '"tags":["bench"],"machine":{"serial_number":"BENCH"},"payload":{"name":"%s"}}\n' % (n, MARKER, MARKER)).encode()


def cpu_of(pid):
    """CPU seconds of a process, all its threads, living and ended."""
    return time.clock_gettime((~pid) << 3 | 2)


class Held:
    """`command` with a pipe as stdin and a file as stdout, while the `with` lasts.

    `start` is the time until the first line came out; then it is left alone until it is idle, so that what it does in the
    background after its start is not taken for work."""

    def __init__(self, command):
        self.command, self.markers = [str(word) for word in command], 0

    def __enter__(self):
        self.out = tempfile.NamedTemporaryFile(dir=WORK, prefix="held-", suffix=".ndjson")
        self.log = open(WORK / "held.log", "wb")
        began = time.monotonic()
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=self.out, stderr=self.log, cwd=WORK, bufsize=0)
        try:
            self.through(STARTS)
            self.start, self.start_cpu = time.monotonic() - began, cpu_of(self.child.pid)
            self.idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def through(self, limit):
        """Sends a marker and waits until it has come out: all before it is done."""
        self.markers += 1
        self.child.stdin.write(marker(self.markers))
        wanted, end = b"-%012x\"" % self.markers, time.monotonic() + limit
        while True:
            size = os.fstat(self.out.fileno()).st_size
            if wanted in os.pread(self.out.fileno(), 2048, max(0, size - 2048)):
                return
            if self.child.poll() is not None or time.monotonic() > end:
                raise RuntimeError("%s: nothing came out: %s" % (self.command[:2], (WORK / "held.log").read_text(errors="replace")[-1000:]))
            time.sleep(LOOK)

    def idle(self):
        """Waits until it does nothing any more."""
        end, last = time.monotonic() + IDLE, -1.0
        while time.monotonic() < end:
            now = cpu_of(self.child.pid)
            if now - last < 0.001:
                return
            last = now
            time.sleep(QUIET)

    def feed(self, *files):
        """Sends files; CPU and wall seconds until all is through."""
        cpu, began = cpu_of(self.child.pid), time.monotonic()
        subprocess.run(["cat"] + [str(file) for file in files], stdout=self.child.stdin, check=True)
        self.through(ENDS)
        return cpu_of(self.child.pid) - cpu, time.monotonic() - began

    def rss(self):
        return status_of(self.child.pid)["VmRSS"]

    def text(self):
        with open(self.out.name, "rb") as out:
            return out.read()

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.out.close()
        self.log.close()
