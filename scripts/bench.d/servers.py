"""Real servers for the bench, with data and ports of their own (`scripts/services start KIND@bench`), and a pipeline on them."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from held import cpu_of
from hub import free_port, metric
from measure import LOG_WAIT, ONE_PROBE, ROOT, WORK, Cost, Missing, ended, example, measure, program, say, status_of

TICK = os.sysconf("SC_CLK_TCK")
WITHIN = 60.0    # seconds within which a stage reads its partitions
# Bytes of lines that share a commit where they are there, as `normalize` and `filter` have it.
COMMIT = 16 << 20
PARTITIONS = 4   # so that two instances share them evenly


class Servers:
    """Servers of these kinds, while the `with` lasts."""

    def __init__(self, *kinds):
        self.names, self.addresses = [kind + "@bench" for kind in kinds], {}

    def __enter__(self):
        say("starting %s" % " ".join(self.names))
        made = subprocess.run([ROOT / "scripts/services", "start", *self.names], capture_output=True, text=True)
        for line in made.stdout.splitlines():
            name, _, address = line.partition(" ")
            self.addresses[name.partition("@")[0]] = address
        if made.returncode != 0:
            self.__exit__()
            raise Missing("scripts/services start %s: %s" % (" ".join(self.names), made.stderr.strip()[-500:]))
        return self

    def __exit__(self, *_):
        subprocess.run([ROOT / "scripts/services", "stop", "--wipe", *self.names], check=False, capture_output=True)

    def __getitem__(self, kind):
        return self.addresses[kind]

    def folder(self, kind):
        home = os.environ.get("ZENTRAL_SERVICES")
        return (pathlib.Path(home) if home else ROOT / "target/services") / (kind + "@bench")

    def cpu(self, kind):
        """CPU seconds that it has taken: its process, the children that ended, and those that live."""
        pid = (self.folder(kind) / "pid").read_text().split()[0]
        total = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat.parent.name == pid:
                total += sum(map(int, fields[11:15]))
            elif fields[1] == pid:
                total += sum(map(int, fields[11:13]))
        return total / TICK

    def database(self, name):
        """A new database; its URL."""
        self.sql("postgres", "CREATE DATABASE %s" % name)
        return "postgres://zentral@%s/%s" % (self["postgres"], name)

    def sql(self, name, statement):
        """What PostgreSQL answers."""
        if not shutil.which("psql"):
            raise Missing("psql is not installed (postgresql-client)")
        made = subprocess.run(["psql", "-Atq", "postgres://zentral@%s/%s" % (self["postgres"], name), "-c", statement], capture_output=True, text=True, check=True)
        return made.stdout.strip()


class Cluster:
    """The Elasticsearch of these servers, and the daily indices there whose names begin so."""

    def __init__(self, servers, name):
        self.address, self.name = servers["elasticsearch"], name
        self.url = "http://" + self.address

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=300)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        if reply.status != 200:
            raise RuntimeError("%s %s: %s %s" % (method, path, reply.status, text[:500]))
        return json.loads(text)

    def clear(self):
        """No index is left, and nothing of the last round is still being merged."""
        for row in self.ask("GET", "/_cat/indices/%s-*?format=json&h=index" % self.name):
            self.ask("DELETE", "/" + row["index"])
        self.ask("GET", "/_cluster/health?wait_for_no_initializing_shards=true&timeout=60s")

    def holds(self, lines):
        """Refuses to go on with fewer events, or more."""
        self.ask("POST", "/%s-*/_refresh" % self.name)
        count = self.ask("GET", "/%s-*/_count" % self.name)["count"]
        if count != lines:
            raise RuntimeError("%s events are stored of %s" % (count, lines))

    def bytes(self):
        """Of the indices, without copies."""
        self.ask("POST", "/%s-*/_flush?force=true" % self.name)
        self.ask("POST", "/%s-*/_refresh" % self.name)
        return self.ask("GET", "/%s-*/_stats/store" % self.name)["_all"]["primaries"]["store"]["size_in_bytes"]


PIPELINE = """\
version = 1
data = "data"
[kafka]
brokers = ["{kafka}"]
prefix = "{name}."
partitions = %d
[registry]
postgres = "{postgres}"
[stage.receive]
listen = "127.0.0.1:0"
tls = {{ cert = "none.pem", key = "none.pem" }}
to = "kafka:raw"
[stage.normalize]
from = "kafka:raw"
to = "kafka:events"
replicas = 2
[stage.filter]
from = "kafka:events"
to = "kafka:annotated"
matches = "kafka:matches"
replicas = 2
[probe.bench-usb]
filter = '%s'
""" % (PARTITIONS, ONE_PROBE)


class Pipeline:
    """Stages on Kafka and PostgreSQL, with topics, state and a folder of their own."""

    def __init__(self, servers, name, more=""):
        self.servers, self.name, self.folder = servers, name, WORK / ("scaled-" + name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.file = self.folder / "pipeline.toml"
        self.database = "bench_" + name
        postgres = servers.database(self.database)
        self.file.write_text(PIPELINE.format(kafka=servers["kafka"], postgres=postgres, name=name) + more)

    def zentral(self, *words):
        return [program("zentral"), "-c", self.file, "--log", "info", *words]

    def feed(self, lines, topic="raw"):
        """Lines of a file into a topic; its cost."""
        return measure([[example("hop"), "--commit-bytes", COMMIT, "-c", self.file, "--to", "kafka:" + topic]], stdin=lines, cwd=self.folder)

    def end(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Instances:
    """So many instances of a stage, which read when `go` is called: they hold their partitions, and are stopped until then."""

    def __init__(self, pipeline, stage, count):
        self.pipeline, self.stage = pipeline, stage
        self.ports = [free_port() for _ in range(count)]
        self.logs = [pipeline.folder / ("%s-%d.log" % (stage, n + 1)) for n in range(count)]
        self.children = []

    def __enter__(self):
        try:
            for n, (port, log) in enumerate(zip(self.ports, self.logs)):
                words = self.pipeline.zentral("run", self.stage, "--instance", str(n + 1), "--metrics", "127.0.0.1:%d" % port)
                self.children.append(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                                      stderr=open(log, "wb"), cwd=self.pipeline.folder))
            until = time.monotonic() + WITHIN
            while not self.shared():
                self.look(until, "does not get its partitions")
            for child in self.children:
                child.send_signal(signal.SIGSTOP)
        except BaseException:
            self.__exit__()
            raise
        return self

    def shared(self):
        """Whether each reads as many partitions as the others."""
        return all(self.partitions(log) == PARTITIONS // len(self.logs) for log in self.logs)

    @staticmethod
    def partitions(log):
        held = set()
        for word, numbers in re.findall(r"(reads|gave away) partitions \[([0-9, ]+)\]", log.read_text(errors="replace")):
            numbers = set(numbers.split(", "))
            held = held | numbers if word == "reads" else held - numbers
        return len(held)

    def look(self, until, what):
        if time.monotonic() > until or any(ended(child) for child in self.children):
            raise RuntimeError("%s %s: %s" % (self.stage, what, self.logs[0].read_text(errors="replace")[-1500:]))
        time.sleep(0.02)

    def go(self, lines):
        """Reads so many lines; wall and CPU seconds."""
        cpu, began = sum(cpu_of(child.pid) for child in self.children), time.monotonic()
        for child in self.children:
            child.send_signal(signal.SIGCONT)
        while sum(metric(port, "zentral_lines_out_total", output="to") for port in self.ports) < lines:
            self.look(began + LOG_WAIT + lines / 100, "does not end")
        wall = time.monotonic() - began
        return Cost(sum(cpu_of(child.pid) for child in self.children) - cpu, wall, max(status_of(child.pid)["VmHWM"] for child in self.children), [0])

    def __exit__(self, *_):
        for child in self.children:
            child.send_signal(signal.SIGCONT)
            child.terminate()
        for child in self.children:
            child.wait()
