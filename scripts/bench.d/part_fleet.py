"""fleet: thousands of osquery hosts, with the whole pipeline behind, and the storm in which all of them enrol."""
import json
import os
import re
import resource
import signal
import subprocess
import time

from demand import demand
from hub import free_port, hub, stages_of, wait_for_port
from measure import ONE_PROBE, WORK, example, number, program, say, status_of, table

# 10,000 hosts hold as many connections, here and there.
FILES = 60_000
MORE = """
[probe.bench-usb]
filter = '%s'
act = ["out"]
[action.out]
kind = "file"
path = "out.ndjson"
"""
KINDS = ("enroll", "log", "distributed/read", "config")
STAGES = ("receive", "normalize", "filter", "act", "store")


def part_fleet(size):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    hosts, seconds = (500, 10) if size.quick else (size.hosts, 120)
    told, most, cpu = run(hosts, seconds)
    rows = []
    for kind in KINDS:
        seen = told["kinds"].get(kind, {})
        rows.append([kind, "{:,}".format(seen.get("requests", 0))] + [number(seen.get(at, 0)) for at in ("ms_p50", "ms_p99", "ms_p999", "ms_max")])
    table("fleet: %s hosts for %d s, a log POST of one result every 10 s, live queries every 60 s, configuration every 300 s; ms" % ("{:,}".format(hosts), seconds),
          ["", "requests", "p50", "p99", "p99.9", "slowest"], rows)
    table("fleet: MB at most", [""] + [*STAGES, "up"], [["RSS"] + ["%.0f" % most.get(name, 0) for name in [*STAGES, "up"]]])
    say("all enrolled after %.1f s; asked again %d times; the generator took %.1f s of CPU" % (told["enrolled_s"], told["again"], cpu))
    asking = [told["kinds"][kind]["ms_p999"] for kind in KINDS[1:] if kind in told["kinds"]]
    demand("fleet", "slowest kind of request at p99.9", max(asking), ("≤", 1000), None, " ms")
    demand("fleet", "enrolment in the storm at p99.9", told["kinds"]["enroll"]["ms_p999"], None, ("≤", 1000), " ms")
    demand("fleet", "memory of receive", most["receive"], ("≤", 400), ("≤", 256), " MB")
    demand("fleet", "memory of the other stages but store", sum(most.get(name, 0) for name in ("normalize", "filter", "act")), ("≤", 200), None, " MB")


def run(hosts, seconds):
    """What the generator told, MB of each stage at most, and the generator's CPU seconds."""
    port, folder = free_port(), WORK / "fleet-hub"
    secret = hub(folder, port, MORE % ONE_PROBE)
    file = folder / "pipeline.toml"
    file.write_text(re.sub(r"(?m)^(\[stage\.receive\]\n)", r"\1connections = %d\n" % (2 * hosts + 1000), file.read_text()))
    up = subprocess.Popen([program("zentral"), "-c", file, "up"], stdout=subprocess.DEVNULL, stderr=open(WORK / "up.log", "wb"), stdin=subprocess.DEVNULL, cwd=folder)
    agents, most = None, {}
    try:
        wait_for_port(port, up)
        before = os.times()
        agents = subprocess.Popen(["nice", "-n", "10", example("fleet"), "--address", "127.0.0.1:%d" % port, "--ca", folder / "tls/ca.pem", "--secret=" + secret,
                                   "--hosts", str(hosts), "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
        while agents.poll() is None:
            time.sleep(0.5)
            for name, pid in stages_of(folder).items():
                most[name] = max(most.get(name, 0), status_of(pid).get("VmRSS", 0))
            if up.poll() is not None:
                raise RuntimeError("up ended early: %s" % (WORK / "up.log").read_text()[-1500:])
        if agents.returncode != 0:
            raise RuntimeError("the agents ended with %d" % agents.returncode)
        after = os.times()
    finally:
        if agents and agents.poll() is None:
            agents.terminate()
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait()
    return json.loads(agents.stdout.read()), most, after.children_user + after.children_system - before.children_user - before.children_system
