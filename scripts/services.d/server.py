"""What all servers have in common: a folder, ports, a process, and when it is ready."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

from files import Refused, give, home, locked, run, runner, say

READY = 240  # seconds from start to the first answer; Elasticsearch takes 50 on two busy cores
STOPPING = 60  # seconds from SIGTERM to SIGKILL
# Below what Linux gives to clients: a port that is ours while we are down stays ours.
PORTS = range(20000, 32000)


def there():
    """The names of the servers that have a folder."""
    return sorted(at.parent.name for at in home().glob("*/ports"))


def free_port():
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Refused("no free port between %d and %d" % (PORTS.start, PORTS.stop))


def began(pid):
    """When a process started, as text; None if it is gone. It tells a process from a later one of the same number."""
    stat = pathlib.Path("/proc/%d/stat" % pid)
    if pathlib.Path("/proc/self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return said.stdout.strip() or None


class Server:
    """One server. A kind says what its ports are for, how it is made, started and asked whether it is ready."""

    PORTS = ("main",)
    STOP = signal.SIGTERM
    WHOLE_GROUP = True  # whether STOP goes to all its processes
    CAN_EXPIRE = False  # whether it can be started with a certificate that has expired

    def __init__(self, name):
        self.name = name
        self.folder = home() / name
        self.data = self.folder / "data"
        self.expired = False  # whether its certificate is to be one that has
        self.logged = 0  # where in the log this start begins

    def fetch(self):
        """Downloads what it needs."""

    def prepare(self):
        """Writes its configuration; makes its data where there is none."""

    def command(self):
        raise NotImplementedError

    def variables(self):
        """What its environment has besides ours."""
        return {}

    def ready(self):
        """Whether it answers; an OSError says no."""
        raise NotImplementedError

    def environment(self):
        """ZENTRAL_TEST_… of it."""
        raise NotImplementedError

    def port(self, what="main"):
        return json.loads((self.folder / "ports").read_text())[what]

    def address(self):
        return "127.0.0.1:%d" % self.port()

    def pid(self):
        """The process, if it runs."""
        try:
            pid, when = (self.folder / "pid").read_text().split(maxsplit=1)
        except (OSError, ValueError):
            return None
        return int(pid) if began(int(pid)) == when.strip() else None

    def megabytes(self):
        """Resident memory of all its processes."""
        pages, session = 0, str(self.pid())
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # Its session, or a child of it: each backend of PostgreSQL has a session of its own.
            if session in (fields[3], fields[1]):
                pages += int(fields[21])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000

    def start(self):
        self.fetch()
        with locked(self.name):
            if self.pid():
                self.wait(self.pid())
                return
            self.folder.mkdir(exist_ok=True)
            if not (self.folder / "ports").exists():
                (self.folder / "ports").write_text(json.dumps({what: free_port() for what in self.PORTS}))
            self.data.mkdir(exist_ok=True)
            give(self.folder)
            self.prepare()
            give(self.folder)
            with open(self.folder / "log", "ab") as log:
                self.logged = log.tell()
                process = subprocess.Popen(
                    [str(word) for word in self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.surroundings())
            (self.folder / "pid").write_text("%d %s\n" % (process.pid, began(process.pid)))
            self.wait(process.pid, process)

    def surroundings(self):
        """Folder, environment and user of the server. What is ours in the environment is not its business."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
        return {"cwd": self.folder, "env": {**kept, "HOME": str(self.folder), **self.variables()}, **runner()}

    def as_server(self, command):
        """Runs a command to its end as the server would be run."""
        give(self.folder)
        return run(command, **self.surroundings())

    def wait(self, pid, process=None):
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if (process and process.poll() is not None) or began(pid) is None:
                (self.folder / "pid").unlink(missing_ok=True)
                raise Refused("it ended while it started; %s/log ends:\n%s" % (self.folder, self.tail()))
            try:
                if self.ready():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise Refused("it is not ready after %d s; %s/log ends:\n%s" % (READY, self.folder, self.tail()))

    def tail(self, lines=20):
        log = (self.folder / "log").read_bytes()[self.logged:]
        return "\n".join(log.decode(errors="replace").splitlines()[-lines:])

    def stop(self, kill=False, wipe=False):
        with locked(self.name):
            pid = self.pid()
            if pid:
                self.signal(pid, signal.SIGKILL if kill else self.STOP, kill or self.WHOLE_GROUP)
                if not self.gone(pid, STOPPING):
                    say("%s: still there after %d s; killing it" % (self.name, STOPPING))
                    self.signal(pid, signal.SIGKILL, True)
                    self.gone(pid, STOPPING)
            (self.folder / "pid").unlink(missing_ok=True)
            if wipe:
                shutil.rmtree(self.folder, ignore_errors=True)

    def signal(self, pid, what, group):
        try:
            # One that was stopped by SIGSTOP would not hear it.
            (os.killpg if group else os.kill)(pid, signal.SIGCONT)
            (os.killpg if group else os.kill)(pid, what)
        except ProcessLookupError:
            pass

    def gone(self, pid, seconds):
        until = time.monotonic() + seconds
        while began(pid) is not None:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True
