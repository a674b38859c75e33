"""filter: one probe over events, against jq and cat."""
import hashlib
import re
import shutil
import subprocess

from corpus import event_corpus
from measure import ONE_PROBE, WORK, measure, median, number, program, rounds, say, table


def part_filter(size):
    ours = program("filter")
    events = event_corpus(size.lines)
    config = WORK / "one-probe.toml"
    config.write_text("version = 1\ndata = \"none\"\n[probe.bench-usb]\nfilter = '%s'\n" % ONE_PROBE)
    matched, annotated = [ours, "-e", ONE_PROBE], [ours, "-c", config, "--all"]
    contestants = {
        "filter -e": [matched],
        "filter -e --trusted": [matched + ["--trusted"]],
        "filter --all PROBE (annotates every event)": [annotated + ["bench-usb"]],
        "filter --all --trusted PROBE": [annotated + ["--trusted", "bench-usb"]],
        "cat": [["cat"]],
    }
    jq = shutil.which("jq")
    if jq:
        version = subprocess.run([jq, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        contestants = {version: [[jq, "-c", "select(%s)" % ONE_PROBE]], **contestants}
        if version != "jq-1.6":
            say("this is %s; the yardstick is jq 1.6" % version)
    else:
        say("jq is not installed: its row is missing (apt-get install jq)")
    same_answers(events, {name: c for name, c in contestants.items() if name in ("jq-1.6", "filter -e", "filter -e --trusted")})
    measured = rounds(size, {name: lambda c=c: measure(c, stdin=events) for name, c in contestants.items()})
    per = {name: (median([c.cpu for c in costs]), median([c.wall for c in costs]), max(c.rss for c in costs)) for name, costs in measured.items()}
    yard = next((name for name in per if name.startswith("jq-")), None)
    rows = [[name, number(cpu / size.lines * 1e6), number(size.lines / wall), number(per[yard][0] / cpu) if yard else "-",
             number(per[yard][1] / wall) if yard else "-", number(cpu / per["cat"][0]), "%.0f" % rss] for name, (cpu, wall, rss) in per.items()]
    table("filter: one probe over %s events, %d bytes each" % ("{:,}".format(size.lines), events.stat().st_size / size.lines),
          ["", "CPU µs/event", "events/s", "x jq (CPU)", "x jq (wall)", "÷ cat (CPU)", "RSS MB"], rows)


def same_answers(events, contestants):
    """All choose the same events, and some."""
    found = {}
    for name, commands in contestants.items():
        out = WORK / "answer.ndjson"
        measure(commands, stdin=events, stdout=out)
        ids = re.findall(rb'^\{"v":1,"id":"([^"]*)"', out.read_bytes(), re.MULTILINE)
        found[name] = (len(ids), hashlib.sha256(b"\n".join(ids)).hexdigest())
    if len(set(found.values())) != 1 or not all(count for count, _ in found.values()):
        raise RuntimeError("not the same answers: %s" % found)
    say("all choose the same %d events" % next(iter(found.values()))[0])
