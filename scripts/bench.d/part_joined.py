"""joined: raw lines to annotated events with 1,000 probes: one process, and programs in a shell pipe."""
import os
import re
import shutil
import subprocess

from demand import demand
from fleet import fleet_corpus
from hub import written as lines_of
from measure import WORK, Missing, measure, median, number, program, ratio, rounds, table
from part_pipeline import feed_topic
from sets import NAMES, Written

# A topic must have a writer; this one is never started.
STAGE = """
[stage.receive]
listen = "127.0.0.1:0"
tls    = { cert = "none.pem", key = "none.key" }
to     = "topic:raw"

[stage.sift]
run     = "normalize | filter"
from    = ["topic:raw"]
to      = "topic:events"
matches = "topic:matches"
"""


def part_joined(size):
    raw, zentral = fleet_corpus(size.chain, NAMES, raw=True), program("zentral")
    probes = Written("names", 1000, fleet_corpus(size.probe_events, NAMES))
    data, config = probes.folder / "data", probes.config
    config.write_text(config.read_text().replace('data = "none"', 'data = "data"') + STAGE)
    separate = probes.folder / "separate.toml"
    separate.write_text(config.read_text().replace(STAGE, ""))
    counted = {}

    def run(name, commands, stdin=None, topics=True):
        feed_topic(raw, data)
        cost = measure(commands, stdin=stdin)
        if topics:
            made = tuple(lines_of(data / "topics" / topic)[0] for topic in ("events", "matches"))
            if made[0] != size.chain or counted.setdefault("matches", made[1]) != made[1]:
                raise RuntimeError("%s: %s events and matches of %d raw lines, elsewhere %s matches" % (name, made, size.chain, counted))
        return {"cpu": cost.cpu / size.chain * 1e6, "wall": cost.wall / size.chain * 1e6, "rss": cost.rss}

    joined = [[zentral, "-c", config, "run", "sift", "--once"]]
    words = [zentral, "-c", separate]
    normalize = [*words, "normalize", "--no-state"]
    from_topic = [*words, "normalize", "--from", "topic:raw", "--as", "normalize", "--once"]
    annotate = [*words, "filter", "--trusted", "--all"]
    to_topics = [*annotate, "--to", "topic:events", "--matches", "topic:matches", "--as", "filter"]
    contestants = {
        "joined, topic to topics": lambda: run("joined", joined),
        "shell pipe, topic to topics": lambda: run("pipe", [from_topic, to_topics]),
        "shell pipe, file to /dev/null": lambda: run("shell", [normalize, annotate], raw, False),
    }
    try:
        feed_topic(raw, data)
        tried = subprocess.run(joined[0], capture_output=True, text=True, cwd=WORK, check=False)
        if tried.returncode != 0:
            raise Missing("`zentral run sift --once` ended with %d: %s" % (tried.returncode, re.sub(r"\s+", " ", tried.stderr)[-300:]))
        measured = rounds(size, contestants)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        probes.remove()
    at = lambda name, key: median([result[key] for result in measured[name]])
    first, second, third = contestants
    rows = [[name, number(1e6 / at(name, "wall")), "%.2f" % ratio(measured[first], measured[name], "wall"), number(at(name, "cpu")), "%.0f" % at(name, "rss")] for name in contestants]
    table("joined: %s raw lines to events annotated by 1,000 probes, %d cores" % ("{:,}".format(size.chain), len(os.sched_getaffinity(0))),
          ["", "events/s", "÷ joined", "CPU µs/event", "largest RSS MB"], rows)
    demand("joined", "raw to annotated events, 1,000 probes, topic to topics", 1e6 / at(first, "wall"), ("≥", 100000), ("≥", 150000), "/s")
    demand("joined", "shell pipe ÷ joined, the same work", ratio(measured[first], measured[second], "wall"), ("≥", 0.7), ("≥", 0.85), " x")
