"""santa: each stage of a sync on one core, against a bare server, and so against moroz."""
import json
import os
import shutil
import subprocess

from demand import demand
from hub import Server, free_port, hub
from measure import WORK, Missing, example, median, number, program, rounds, table
from part_receive import receive_command

# CPU of a request of moroz ÷ that of a bare server, both of one machine (May 2025), with ten rules, and with 50 events,
# which it writes to a file each and does not sync. The bare server reads the body and answers; of an upload it inflates
# it, cuts it into lines, appends and syncs.
MOROZ = {"preflight": 727 / 14.5, "ruledownload": 644 / 14.5, "eventupload": 8520 / 349}
DEMANDED = {"preflight": (10, 30), "ruledownload": (10, 30), "eventupload": (10, 20)}
RULES = "[rules.bench]\nrules = [\n%s]\n" % "".join('  { type = "BINARY", id = "%064x", policy = "BLOCKLIST" },\n' % n for n in range(10))


def part_santa(size):
    cores = sorted(os.sched_getaffinity(0))
    if not shutil.which("taskset") or len(cores) < 2:
        raise Missing("taskset (util-linux), and one core for the server and one for the clients")
    port, folder = free_port(), WORK / "santa-hub"
    hub(folder, port, "\n[source.santa]\n" + RULES)
    file = folder / "pipeline.toml"
    made = subprocess.run([program("zentral"), "-c", file, "enrol", "new", "--source", "santa"], check=True, capture_output=True, text=True, cwd=folder)
    secret = json.loads(made.stdout)["secret"]

    def ask(stage, command, *more):
        with Server(command, port, cores[0]) as server:
            # The clients start, and are in sync, before the time that counts; that costs the server little.
            before = server.cpu()
            words = [example("santa"), "--address", "127.0.0.1:%d" % port, "--ca", folder / "tls/ca.pem", "--secret=" + secret, "--stage", stage,
                     "--seconds", size.seconds, "--warm", size.warm, *more]
            made = subprocess.run(["taskset", "-c", str(cores[1])] + [str(word) for word in words], capture_output=True, text=True)
            if made.returncode != 0:
                raise RuntimeError("santa: %s" % made.stderr[-2000:])
            told = json.loads(made.stdout)
            told["us"] = (server.cpu() - before) / told["sent"] * 1e6
            return told

    def ours(stage):
        data = WORK / "santa-data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(folder / "data", data, ignore=shutil.ignore_patterns("topics", "run", "*.sock"))
        try:
            return ask(stage, receive_command(program("receive"), folder, data, port))
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def yardstick(stage):
        out = WORK / "bare.ndjson"
        to = out if stage == "eventupload" else "-"
        try:
            return ask(stage, [example("bare_server"), "127.0.0.1:%d" % port, folder / "tls/hub.pem", folder / "tls/hub.key", to], "--bare")
        finally:
            out.unlink(missing_ok=True)

    rows = []
    for stage, moroz in MOROZ.items():
        measured = rounds(size, {"receive": lambda: ours(stage), "bare": lambda: yardstick(stage)})
        times = median([mine["us"] / yard["us"] for mine, yard in zip(measured["receive"], measured["bare"])])
        mine = measured["receive"]
        rows.append([stage, number(median([r["requests_s"] for r in mine])), number(median([r["us"] for r in mine])), number(median([r["us"] for r in measured["bare"]])),
                     "%.1f" % times, "%.1f" % moroz, "%.1f" % median([r["ms_p99"] for r in mine])])
        must, aim = DEMANDED[stage]
        demand("santa", "%s: moroz's CPU ÷ ours" % stage, moroz / times, ("≥", must), ("≥", aim), " x")
    table("santa: 64 machines in sync with ten rules, uploads of 50 events, zlib, TLS, one core", ["", "requests/s", "CPU µs", "bare CPU µs", "x bare", "moroz x bare", "p99 ms"], rows)
