"""The peers: how each chooses what `ONE_PROBE` chooses, and how it is had.

Nothing is fetched unless `scripts/bench --get-peers` asks: everything comes in a pinned version from the registries of pip,
cargo, Go, npm and Debian into target/bench/peers, and nothing is installed on the machine. Sought there first, then on PATH."""
import os
import pathlib
import re
import shutil
import subprocess

from measure import ONE_PROBE, WORK, say

HOME = WORK / "peers"
DEBIAN = HOME / "deb"
HERE = pathlib.Path(__file__).resolve().parent
LOOPS = HERE / "loops.py"
PIP = ("orjson==3.13.0", "polars==2.1.0", "duckdb==2.0.0", "chdb==4.4.0", "jq==1.13.0")
CARGO = ("jaq@3.1.2", "ag@0.19.5", "ripgrep@15.2.0", "rsigma@0.23.0")
GO = ("github.com/itchyny/gojq/cmd/gojq@v0.12.19",)
NPM = ("nushell@0.115.1",)
# Unpacked, not installed: two of them would each replace the machine's system log.
DEB = ("miller", "syslog-ng-core", "libivykis0", "libpcre3", "libnet1", "libwrap0", "libjson-c5", "libsystemd0", "rsyslog", "libestr0", "libfastjson4")
NOT_HAD = "Not had: Vector and Fluent Bit (no program of theirs in these registries), Benthos (the Go module proxy refuses it)."

NUSHELL = 'lines | where {|line| let e = ($line | from json); $e.type == "osquery_result" and $e.payload.name? == "usb_devices" and $e.payload.action? == "added"} | to text'
AGRIND = '* | json | where type == "osquery_result" and payload.name == "usb_devices" and payload.action == "added" | fields id'
MILLER = '$type == "osquery_result" && $payload.name == "usb_devices" && $payload.action == "added"'
SYSLOG_NG = """@version: 3.38
@define allow-config-dups 1
options { stats-freq(0); log-msg-size(4194304); };
source in { stdin(flags(no-parse)); };
parser json { json-parser(prefix("j.")); };
filter chosen { "${j.type}" eq "osquery_result" and "${j.payload.name}" eq "usb_devices" and "${j.payload.action}" eq "added" };
destination out { file("/dev/stdout" template("${MSG}\\n")); };
log { source(in); parser(json); filter(chosen); destination(out); };
"""
RSYSLOG = """global(workDirectory="%(work)s" maxMessageSize="64k")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="mmjsonparse")
template(name="line" type="string" string="%%msg%%\\n")
input(type="imfile" file="%(file)s" tag="t" readMode="0" ruleset="choose")
ruleset(name="choose") {
  action(type="mmjsonparse" cookie="")
  if $!type == "osquery_result" and $!payload!name == "usb_devices" and $!payload!action == "added" then { action(type="omfile" file="%(out)s" template="line") }
}
"""


class Peer:
    """`command` is a list with {file} for the corpus, or takes it on stdin. `different`: why its answer may be another one. `piped`:
    it cannot read a file as stdin. `waits`: it never ends by itself. `many`: it is quick enough for the larger corpus."""

    def __init__(self, name, program, words=(), version=("--version",), env=None, different=None, stream=True, waits=False, piped=False, many=False):
        self.name, self.words, self.different, self.stream, self.waits, self.piped, self.many = name, words, different, stream, waits, piped, many
        self.program, self.env = found(program), env or {}
        self.version = said_version(self.program, version, self.env) if self.program else None

    def command(self, file):
        return ["env", *("%s=%s" % pair for pair in self.env.items()), self.program, *(str(word).replace("{file}", str(file)) for word in self.words)]


def found(program):
    for folder in (HOME / "bin", HOME / "venv/bin", HOME / "npm/node_modules/.bin", DEBIAN / "usr/bin", DEBIAN / "usr/sbin"):
        if (folder / program).exists():
            return str(folder / program)
    return shutil.which(program)


def said_version(program, words, env):
    said = subprocess.run([program, *words], capture_output=True, text=True, env={**os.environ, **env}, stdin=subprocess.DEVNULL, check=False)
    number = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return number.group(0) if said.returncode == 0 and number else None


def libraries():
    folders = sorted({str(path.parent) for path in DEBIAN.glob("**/*.so*")}) if DEBIAN.exists() else []
    return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def python(name, how, needs, **more):
    """A loop in Python, with the package that it needs."""
    word = "import sys, importlib.metadata; print(importlib.metadata.version('%s'))" % needs if needs else "import sys; print(sys.version.split()[0])"
    return Peer(name, "python" if (HOME / "venv/bin/python").exists() else "python3", (LOOPS, how, "{file}"), version=("-c", word), **more)


def peers(work):
    """All of them; those without a version are not here."""
    select = "select(%s)" % ONE_PROBE
    literal, only_literal = '"name":"usb_devices"', "it finds the literal in events of any type and action"
    modules = next(iter(sorted(DEBIAN.glob("usr/lib/syslog-ng/*"))), None)
    (work / "syslog-ng.conf").write_text(SYSLOG_NG)
    syslog = ("-F", "-f", work / "syslog-ng.conf", "-R", work / "syslog-ng.persist", "-c", work / "syslog-ng.ctl", "-p", work / "syslog-ng.pid", "--no-caps",
              *(("--module-path", modules) if modules else ()))
    rsyslog_modules = next((path.parent for path in DEBIAN.glob("usr/lib/**/mmjsonparse.so")), None)
    (work / "rsyslog.conf").write_text(RSYSLOG % {"work": work, "file": work / "rsyslog-in.ndjson", "out": work / "rsyslog-out.ndjson"})
    rsyslog = ("-n", "-f", work / "rsyslog.conf", "-i", work / "rsyslog.pid", *(("-M", rsyslog_modules) if rsyslog_modules else ()))
    return [
        Peer("jq", "jq", ("-c", select), many=True),
        python("jq 1.8 in Python's package jq", "jq", "jq"),
        Peer("jaq", "jaq", ("-c", select)),
        Peer("gojq", "gojq", ("-c", select), env={"GOMAXPROCS": "1"}),
        Peer("angle-grinder", "agrind", ("-o", "format={id}", AGRIND)),
        python("Python, orjson", "orjson", "orjson", many=True),
        python("Python, json", "json", None),
        python("polars, lazy scan", "polars", "polars", stream=False, many=True),
        python("DuckDB", "duckdb", "duckdb", stream=False, many=True),
        python("chDB (ClickHouse)", "chdb", "chdb", stream=False, many=True),
        Peer("rsigma engine eval, one rule", "rsigma", ("engine", "eval", "--rules", work / "rules.yml", "--include-event")),
        Peer("Miller", "mlr", ("--ijsonl", "--ojsonl", "filter", MILLER), different="it writes numbers and spaces in its own way"),
        Peer("nushell", "nu", ("-n", "--stdin", "-c", NUSHELL)),
        Peer("syslog-ng", "syslog-ng", syslog, env=libraries(), piped=True),
        Peer("rsyslog", "rsyslogd", rsyslog, version=("-v",), env=libraries(), waits=True),
        Peer("ripgrep -F", "rg", ("-F", "--no-config", literal, "-"), different=only_literal, many=True),
        Peer("GNU grep -F", "grep", ("-F", literal), env={"LC_ALL": "C"}, different=only_literal, many=True),
        Peer("cat", "cat", (), different="it chooses everything", many=True),
    ]


def get():
    """Fetches all of them; what cannot be had is said and left out."""
    HOME.mkdir(parents=True, exist_ok=True)
    attempt(["python3", "-m", "venv", HOME / "venv"])
    for package in PIP:
        attempt([HOME / "venv/bin/pip", "install", "--quiet", package])
    for crate in CARGO:
        attempt(["cargo", "install", "--quiet", "--locked", "--root", HOME, crate])
    for module in GO:
        attempt(["go", "install", module], env={"GOBIN": str(HOME / "bin")})
    attempt(["npm", "install", "--silent", "--prefix", HOME / "npm", *NPM])
    (HOME / "fetched").mkdir(exist_ok=True)
    for package in DEB:
        attempt(["apt-get", "download", "--quiet", package], cwd=HOME / "fetched")
    for package in sorted((HOME / "fetched").glob("*.deb")):
        attempt(["dpkg", "-x", package, DEBIAN])


def attempt(command, env=None, cwd=HOME):
    words = [str(word) for word in command]
    say(" ".join(words))
    try:
        done = subprocess.run(words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)
    except OSError as why:
        return say("  not had: %s" % why)
    if done.returncode != 0:
        say("  not had: %s" % (done.stderr.strip().splitlines() or ["it ended with %d" % done.returncode])[-1])
    return None
