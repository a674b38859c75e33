"""pipeline: raw lines to events and to stored events, through disk topics, on all cores."""
import os
import re
import shutil
import signal
import subprocess
import time

from corpus import raw_corpus
from hub import free_port, hub, metric, metrics_port, stages_of, written
from measure import LOG_WAIT, ONE_PROBE, WORK, Cost, Missing, ended, example, measure, median, number, program, reap, say, status_of, table


def feed_topic(lines, data, topic="raw"):
    """Puts lines where `receive` would, or whoever writes that topic; nothing else is there."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    measure([[example("hop"), "--data", data, "--to", "topic:" + topic]], stdin=lines)


def part_pipeline(size):
    raw = raw_corpus(size.chain)
    data = WORK / "pipeline-data"
    folder = WORK / "pipeline-hub"
    rows = []

    def events():
        feed_topic(raw, data)
        cost = measure([[program("normalize"), "--data", data, "--from", "topic:raw", "--to", "topic:normalized", "--as", "normalize", "--once"]])
        if written(data / "topics/normalized")[0] != size.chain:
            raise RuntimeError("not every raw line gave an event")
        return cost

    costs = [events() for _ in range(size.rounds)]
    rows.append(["raw -> events (normalize, topic to topic)", number(size.chain / median([c.wall for c in costs])),
                 number(median([c.cpu for c in costs]) / size.chain * 1e6), "%.0f" % max(c.rss for c in costs)])

    def stored():
        shutil.rmtree(folder, ignore_errors=True)
        hub(folder, free_port(), '[probe.bench-usb]\nfilter = \'%s\'\n' % ONE_PROBE)
        file = folder / "pipeline.toml"
        # The corpus is of a fixed day; the store is to keep it.
        file.write_text(re.sub(r'(?m)^keep(\s*)= "30d"', r'keep\1= "36500d"', file.read_text()))
        feed_topic(raw, folder / "data")
        return run_until_stored(folder, size.chain)

    try:
        costs = [stored() for _ in range(size.rounds)]
        rows.append(["raw -> stored (normalize, filter, store, under `up`)", number(size.chain / median([c.wall for c in costs])),
                     number(median([c.cpu for c in costs]) / size.chain * 1e6), "%.0f" % max(c.rss for c in costs)])
    except Missing as why:
        say("raw -> stored: %s" % why)
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    table("pipeline: %s raw lines on %d cores" % ("{:,}".format(size.chain), len(os.sched_getaffinity(0))), ["", "lines/s", "CPU µs/line", "largest RSS MB"], rows)


def run_until_stored(folder, lines):
    """`up` without `receive` and `act`, from the start of the process until every line is stored."""
    metrics = metrics_port(folder)
    began, most = time.monotonic(), 0.0
    child = subprocess.Popen([program("zentral"), "-c", folder / "pipeline.toml", "up", "--only", "normalize", "filter", "store"],
                             stdout=subprocess.DEVNULL, stderr=open(WORK / "up.log", "wb"), stdin=subprocess.DEVNULL, cwd=WORK)
    try:
        while metric(metrics, "zentral_lines_in_total", stage="store") < lines:
            if ended(child) or time.monotonic() - began > LOG_WAIT + lines / 100:
                raise RuntimeError("not stored: %s" % (WORK / "up.log").read_text()[-2000:])
            time.sleep(0.05)
        wall = time.monotonic() - began
        most = max(status_of(pid).get("VmHWM", 0.0) for pid in stages_of(folder).values())
    finally:
        if not ended(child):
            child.send_signal(signal.SIGTERM)
        usage = reap(child)
    return Cost(usage.ru_utime + usage.ru_stime, wall, most, [child.returncode])
