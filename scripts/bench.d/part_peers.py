"""peers: one probe against every peer that is here, and against what no filter can be faster than."""
import os
import re
import shutil
import signal
import subprocess
import time

from demand import demand
from fleet import fleet_corpus
from measure import ONE_PROBE, WORK, Cost, Missing, Watch, limits, measure, median, number, program, ratio, reap, rounds, say, table
from peers import NOT_HAD, peers
from sets import one_probe

IDENT = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
WAITS = 300.0  # seconds that a program which never ends by itself may take
OURS, VALIDATING, LAZY = "zentral filter -e --trusted", "zentral filter -e", "limit L3: fields looked up lazily (sonic-rs)"


def part_peers(size):
    work = WORK / "peers-work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        compare(size, [peer for peer in peers(work)], work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def compare(size, every, work):
    corpora = {True: (fleet_corpus(size.many), size.many), False: (fleet_corpus(size.few), size.few)}
    right = {many: wanted(file) for many, (file, _) in corpora.items()}
    here = [peer for peer in every if peer.version]
    for peer in every:
        if not peer.version:
            say("%s: not here (scripts/bench --get-peers)" % peer.name)
    if not any(peer.name == "jq" for peer in here):
        raise Missing("jq is not installed, and everything is measured by it (apt-get install jq)")
    filtering = [program("zentral"), "filter", "-e", ONE_PROBE]
    own = {OURS: [filtering + ["--trusted"]], VALIDATING: [filtering], LAZY: [[limits(), "lazy"]],
           "limit L2: a literal, then fields": [[limits(), "literal"]], "limit L1: lines split": [[limits(), "lines"]]}
    rules = one_probe(work)
    engines = {"rsigma-eval 0.23.0 in process, one rule": [[limits(), "sigma", rules.sigma]], "jaq-core 3.1.2 in process": [[limits(), "naive", rules.jaq]]}
    runs, remarks, names, many = {}, {}, {}, {}
    for name, commands in {**own, **engines}.items():
        many[name] = name in own
        runs[name] = lambda out=None, c=commands, file=corpora[many[name]][0]: measure(c, stdin=file, stdout=out)
    for peer in here:
        name = "%s %s" % (peer.name, peer.version)
        runs[name], many[name], names[name] = (lambda out=None, p=peer: run(p, corpora[p.many][0], out, work, right[p.many])), peer.many, peer
    for name in list(runs):
        try:
            remarks[name] = answer(name, runs[name], right[many[name]], names.get(name), work)
        except RuntimeError as why:
            say("%s: left out: %s" % (name, str(why)[-300:]))
            del runs[name]
    for name in (OURS, VALIDATING, LAZY):
        if name not in runs or remarks[name]:
            raise RuntimeError("%s does not choose what it should: %s" % (name, remarks.get(name)))
    measured = rounds(size, runs)
    jq = next((name for name, peer in names.items() if peer.name == "jq" and name in measured), None)
    if not jq:
        raise RuntimeError("jq does not run")
    rows = []
    for name, costs in measured.items():
        lines = corpora[many[name]][1]
        scale = lambda key, other: corpora[many[other]][1] / lines * ratio(costs, measured[other], key)
        rows.append([name, number(median([c.cpu for c in costs]) / lines * 1e6), number(lines / median([c.wall for c in costs])), "%.2f" % (lines / corpora[many[jq]][1] * ratio(measured[jq], costs, "cpu")),
                     "%.2f" % (lines / corpora[many[jq]][1] * ratio(measured[jq], costs, "wall")), "%.3f" % (1 / scale("cpu", LAZY)), "%.0f" % max(c.rss for c in costs), remarks[name]])
    rows.sort(key=lambda row: float(row[1].replace(",", "")))
    table("peers: one probe over %s events, %s for the slow ones, %d bytes each" % ("{:,}".format(size.many), "{:,}".format(size.few), corpora[True][0].stat().st_size / size.many),
          ["", "CPU µs/event", "events/s", "x jq (CPU)", "x jq (wall)", "of L3", "RSS MB", "remark"], rows)
    print(NOT_HAD)
    if not jq.startswith("jq 1.6"):
        say("this is %s; the yardstick is jq 1.6" % jq)
    demand("peers", "one probe, canonical lines, %s ÷ ours" % jq, ratio(measured[jq], measured[OURS], "cpu"), ("≥", 25), ("≥", 35), " x")
    demand("peers", "the same, every line validated", ratio(measured[jq], measured[VALIDATING], "cpu"), ("≥", 12), ("≥", 15), " x")
    demand("peers", "ours ÷ limit L3", ratio(measured[OURS], measured[LAZY], "cpu"), ("≤", 1.9), ("≤", 1.5), " x")


def wanted(file):
    """Ids of what is to be chosen, by the plainest means."""
    import json
    chosen = []
    with open(file, "rb") as lines:
        for line in lines:
            if b"usb_devices" in line:
                event = json.loads(line)
                if event["type"] == "osquery_result" and event["payload"]["name"] == "usb_devices" and event["payload"]["action"] == "added":
                    chosen.append(event["id"].encode())
    return chosen


def answer(name, runner, right, peer, work):
    """What is to be said of its answer; nothing if it is the right one."""
    out = work / "answer.ndjson"
    runner(out)
    if "limit L1" in name:
        return "chooses nothing"
    ids = [found.group() for line in open(out, "rb") if (found := IDENT.search(line))]
    out.unlink()
    said = [] if peer is None or peer.stream else ["a file, not a stream"]
    if sorted(ids) != sorted(right):
        said.append("chose %d, not %d%s" % (len(ids), len(right), ": " + peer.different if peer and peer.different else ""))
    elif peer and peer.different:
        said.append(peer.different)
    return "; ".join(said)


def run(peer, file, out, work, right):
    if peer.waits:
        return until_written(peer, file, out, work, len(right))
    return measure([["cat"]] * peer.piped + [peer.command(file)], stdin=file, stdout=out, cwd=work)


def until_written(peer, file, out, work, lines):
    """For what never ends by itself: until it has written as many lines as it should."""
    for old in work.glob("imfile-state*"):
        old.unlink()
    given, made = work / "rsyslog-in.ndjson", work / "rsyslog-out.ndjson"
    for path in (given, made):
        path.unlink(missing_ok=True)
    os.link(file, given)
    began = time.monotonic()
    child = subprocess.Popen(peer.command(given), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(work / "log", "wb"), cwd=work)
    watch, size, count = Watch([child.pid]), 0, 0
    try:
        while count < lines:
            if time.monotonic() - began > WAITS or os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                raise RuntimeError("%s wrote %d lines of %d: %s" % (peer.name, count, lines, (work / "log").read_text(errors="replace")[-500:]))
            time.sleep(0.02)
            if made.exists() and made.stat().st_size != size:
                size, count = made.stat().st_size, made.read_bytes().count(b"\n")
        wall = time.monotonic() - began
    finally:
        child.send_signal(signal.SIGKILL if count < lines else signal.SIGTERM)
        usage, rss = reap(child), watch.end()
    if out:
        shutil.copyfile(made, out)
    return Cost(usage.ru_utime + usage.ru_stime, wall, rss, [child.returncode])
