"""kafka: lines to a broker and from it, against rdkafka with nothing around it; and stages of which there are two."""
import shutil

from corpus import event_corpus, raw_corpus
from demand import demand
from measure import Cost, count_lines, example, measure, median, number, ratio, rounds, table
from servers import PARTITIONS, Instances, Pipeline, Servers



def part_kafka(size):
    with Servers("kafka", "postgres") as servers:
        alone(size, servers)
        instances(size, servers)


def alone(size, servers):
    """`hop`, a stage that copies lines, writes and reads a topic as every stage does; `plain_kafka` does the least that can be done."""
    lines = size.lines if size.quick else size.many
    all_events, pipeline = event_corpus(lines), Pipeline(servers, "alone")
    hop, plain, broker, data = [example("hop"), "-c", pipeline.file], example("plain_kafka"), servers["kafka"], pipeline.folder / "rounds"
    one_event = pipeline.folder / "one"
    with open(all_events, "rb") as file:
        one_event.write_bytes(file.readline())
    # All topics are there before the clock starts.
    for topic in ("ours", "theirs", "one"):
        pipeline.feed(one_event, topic)
    pipeline.feed(all_events, "all")
    copy = pipeline.folder / "copy"
    measure([[plain, "consume", broker, "alone.all"]], stdout=copy)
    if count_lines(copy) != lines:
        raise RuntimeError("the topic has %d lines of %d" % (count_lines(copy), lines))
    copy.unlink()

    def kept(topic):
        """A stage that keeps its positions; in files, for a stage of one instance needs no PostgreSQL."""
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        file = data / "pipeline.toml"
        file.write_text('version = 1\n[kafka]\nbrokers = ["%s"]\nprefix = "alone."\n' % broker)
        return measure([[example("hop"), "-c", file, "--data", data, "--from", "kafka:" + topic, "--as", "reader", "--once"]])

    produced = rounds(size, {
        "zentral produces": lambda: without_start(lambda file: pipeline.feed(file, "ours"), all_events, one_event),
        "rdkafka produces": lambda: without_start(lambda file: measure([[plain, "produce", broker, "alone.theirs"]], stdin=file), all_events, one_event),
    })
    consumed = rounds(size, {
        "zentral consumes, positions kept": lambda: without_start(kept, "all", "one"),
        "zentral consumes at the shell": lambda: without_start(lambda topic: measure([hop + ["--from", "kafka:" + topic, "--once"]]), "all", "one"),
        "rdkafka consumes, keeps no position": lambda: without_start(lambda topic: measure([[plain, "consume", broker, "alone." + topic]]), "all", "one"),
    })
    rows = []
    for measured in (produced, consumed):
        yard = list(measured.values())[-1]
        for name, costs in measured.items():
            rows.append([name, number(lines / median([c.wall for c in costs])), "%.2f" % ratio(yard, costs, "wall"), number(median([c.cpu for c in costs]) / lines * 1e6),
                         "%.2f" % ratio(yard, costs, "cpu"), "%.0f" % max(c.rss for c in costs)])
        for name in list(measured)[:-1]:
            demand("kafka", name + ", events/s, against rdkafka", ratio(yard, measured[name], "wall"), ("≥", 0.9), None, " x")
    table("kafka: %s events of %d bytes without the start, one broker on the same cores; acks=all, idempotent, zstd, linger 2 ms, %d partitions" % (
        "{:,}".format(lines), all_events.stat().st_size / lines, PARTITIONS), ["", "events/s", "x rdkafka", "CPU µs/event", "x rdkafka (CPU)", "RSS MB"], rows)
    pipeline.end()


def without_start(work, much, little):
    """What the work cost less what next to none of it does."""
    start, whole = work(little), work(much)
    return Cost(whole.cpu - start.cpu, whole.wall - start.wall, whole.rss, whole.exits)


def instances(size, servers):
    """`normalize` and `filter` with one and with two instances, from Kafka to Kafka, positions in PostgreSQL."""
    raw, count = raw_corpus(size.lines), iter(range(10_000))

    def run(stage, how_many):
        pipeline = Pipeline(servers, "of%d" % next(count))
        source, topic = (raw, "raw") if stage == "normalize" else (event_corpus(size.lines), "events")
        with Instances(pipeline, stage, how_many) as running:
            pipeline.feed(source, topic)
            cost = running.go(size.lines)
        pipeline.end()
        return cost

    measured = rounds(size, {(stage, n): lambda stage=stage, n=n: run(stage, n) for stage in ("normalize", "filter") for n in (1, 2)})
    rows = []
    for (stage, n), costs in measured.items():
        rows.append(["%s, %d instance%s" % (stage, n, "s" * (n > 1)), number(size.lines / median([c.wall for c in costs])), "%.2f" % ratio(measured[stage, 1], costs, "wall"),
                     number(median([c.cpu for c in costs]) / size.lines * 1e6), "%.0f" % max(c.rss for c in costs)])
    table("kafka: instances of a stage, %s lines, broker and PostgreSQL on the same cores" % "{:,}".format(size.lines),
          ["", "lines/s", "x one", "CPU µs/line", "RSS MB of one"], rows)
