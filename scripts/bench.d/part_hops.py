"""hops: what one more pipe, or one more topic, costs an event."""
import shutil

from corpus import event_corpus
from hub import written
from measure import WORK, Cost, example, measure, median, number, rounds, table


def part_hops(size):
    """`hop` is a stage that copies lines. One of them from file to /dev/null; two joined by a pipe; two joined by a topic.
    The difference to one is what the edge costs: write and read, find the lines again, and for the topic the commits."""
    hop, events, data = example("hop"), event_corpus(size.lines), WORK / "hop-data"

    def topic():
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        first = measure([[hop, "--data", data, "--to", "topic:edge", "--as", "first"]], stdin=events)
        second = measure([[hop, "--data", data, "--from", "topic:edge", "--as", "second", "--once"]])
        if written(data / "topics/edge")[0] != size.lines:
            raise RuntimeError("lines are missing in the topic")
        return Cost(first.cpu + second.cpu, first.wall + second.wall, max(first.rss, second.rss), [0])

    measured = rounds(size, {
        "one stage, file to /dev/null": lambda: measure([[hop]], stdin=events),
        "two, joined by a pipe": lambda: measure([[hop], [hop]], stdin=events),
        "two, joined by a topic": topic,
        "cat | cat": lambda: measure([["cat"], ["cat"]], stdin=events),
    })
    one = median([c.cpu for c in measured["one stage, file to /dev/null"]])
    rows = []
    for name, costs in measured.items():
        cpu = median([c.cpu for c in costs])
        edge = number((cpu - one) / size.lines * 1e6) if name.startswith("two") else ""
        rows.append([name, number(cpu / size.lines * 1e6), edge, number(size.lines / median([c.wall for c in costs]))])
    shutil.rmtree(data, ignore_errors=True)
    table("hops: a stage that copies %s events of %d bytes" % ("{:,}".format(size.lines), events.stat().st_size / size.lines),
          ["", "CPU µs/event", "of it the hop", "events/s"], rows)
