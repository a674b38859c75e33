"""A hub for the bench: its folder, its processes, its topics, and agents that send to it."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
import urllib.request

from measure import LOG_WAIT, WORK, example, program, status_of


def hub(where, port, more=""):
    """A folder made by `zentral init`; a secret for agents."""
    shutil.rmtree(where, ignore_errors=True)
    zentral = program("zentral")
    subprocess.run([zentral, "init", where, "--listen", "127.0.0.1:%d" % port, "--url", "https://localhost:%d" % port], check=True, stdout=subprocess.DEVNULL)
    file = where / "pipeline.toml"
    text = file.read_text()
    text = re.sub(r'(?m)^(\[metrics\]\s*\nlisten\s*=\s*)"[^"]*"', r'\1"127.0.0.1:%d"' % free_port(), text)
    file.write_text(text + more)
    made = subprocess.run([zentral, "-c", file, "enrol", "new", "--source", "osquery"], check=True, capture_output=True, text=True, cwd=where)
    return json.loads(made.stdout)["secret"]


def metrics_port(folder):
    text = (folder / "pipeline.toml").read_text()
    return int(re.search(r'\[metrics\]\s*\nlisten\s*=\s*"127\.0\.0\.1:(\d+)"', text).group(1))


def metric(port, name, **labels):
    """The sum of a metric's series that have these labels; 0 while nobody answers."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5) as reply:
            text = reply.read().decode()
    except OSError:
        return 0
    total = 0.0
    for series, value in re.findall(r"^%s(\{[^}]*\})? ([0-9.e+]+)" % re.escape(name), text, re.MULTILINE):
        if all('%s="%s"' % label in series for label in labels.items()):
            total += float(value)
    return total


def written(topic):
    """Lines and bytes of a topic, by its head."""
    head = json.loads((topic / "head").read_text())
    return head["line"], head["offset"]


def stages_of(folder):
    """The processes of a hub by the stage they run; `up` itself too."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if not any(word.startswith(str(folder)) for word in words):
            continue
        if "--stage" in words:
            found[words[words.index("--stage") + 1]] = int(entry.name)
        elif "up" in words:
            found["up"] = int(entry.name)
    return found


class Server:
    """A server on one core, while the `with` lasts."""

    def __init__(self, command, port, core):
        self.command, self.port, self.core = [str(word) for word in command], port, core

    def __enter__(self):
        self.log = open(WORK / "server.log", "wb")
        self.child = subprocess.Popen(["taskset", "-c", str(self.core)] + self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=WORK)
        end = time.monotonic() + LOG_WAIT
        while time.monotonic() < end and self.child.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise RuntimeError("%s does not listen: %s" % (self.command[0], (WORK / "server.log").read_text()[-2000:]))

    def cpu(self):
        fields = pathlib.Path("/proc/%d/stat" % self.child.pid).read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self):
        return status_of(self.child.pid)["VmHWM"]

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
        self.log.close()


def load(core, address, ca, *words):
    made = subprocess.run(["taskset", "-c", str(core), example("load"), "--address", address, "--ca", str(ca)] + [str(w) for w in words],
                          capture_output=True, text=True, cwd=WORK)
    if made.returncode != 0:
        raise RuntimeError("load: %s" % made.stderr[-2000:])
    return json.loads(made.stdout)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, child):
    end = time.monotonic() + LOG_WAIT
    while time.monotonic() < end and child.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nobody listens: %s" % (WORK / "up.log").read_text()[-2000:])
