"""rsigma: the same detections as Sigma rules for rsigma and as jq for us.

Its engine runs in a process of ours that only reads lines: so it is fastest. Its own program, where it is, stands beside."""
import peers
from demand import demand
from fleet import fleet_corpus
from measure import limits, median, number, ratio, rounds, say, table
from part_probes import clear_heads, head, ours, work
from sets import NAMES, Written

VERSION = "0.23.0"  # scripts/bench.d/limits/Cargo.toml says why
OURS, VALIDATING, ENGINE, PROGRAM = "ours", "ours, validating", "rsigma's engine", "rsigma engine eval"
# Rules that rsigma tries on an event one by one if a common condition is written first; it then gets fewer events.
TRIED = 2_000_000


def part_rsigma(size):
    corpus, rows = fleet_corpus(size.probe_events, NAMES), []
    if not peers.found("rsigma"):
        say("rsigma's own program is not here (scripts/bench --get-peers)")
    for scenario in ("names", "ioc"):
        rows += compare(size, corpus, scenario)
    clear_heads()
    table("rsigma: rsigma-eval %s against `filter`, %s events" % (VERSION, "{:,}".format(size.probe_events)),
          ["", "CPU µs/event", "x ours", "start s", "RSS MB", "matches"], rows)


def compare(size, corpus, scenario):
    counts = sorted({size.counts[0], size.counts[-2], size.counts[-1]})
    sets = {(count, order): Written(scenario, count, corpus, order) for count in counts for order in ("selective", "type")}
    runs, hits, given = {}, {}, {}
    for (count, order), written in sets.items():
        for who, command in contestants(written, order).items():
            few = order == "type" and who == ENGINE
            events = max(100, min(size.probe_events, TRIED // count)) if few else size.probe_events
            key = (who, count, order)
            hits[key], given[key] = [], (head(corpus, events) if few else corpus, events)
            runs[key] = lambda c=command, g=given[key], h=hits[key]: work(c, *g, h)
    measured = rounds(size, runs)
    rows = []
    for who, count, order in runs:
        key, us = (who, count, order), (OURS, count, order)
        same(key, hits[us][0], hits[key][0], given[key][0])
        at = lambda what: median([result[what] for result in measured[key]])
        more = "" if who == OURS else number(ratio(measured[key], measured[us], "cpu"))
        rows.append(["%s %s, %s first: %s" % (scenario, "{:,}".format(count), order, who), number(at("cpu")), more, "%.3f" % at("start"), "%.0f" % at("rss"), len(hits[key][0])])
    settle(scenario, counts, measured)
    for written in sets.values():
        written.remove()
    return rows


def contestants(written, order):
    commands = {OURS: ours(written, "--trusted"), ENGINE: [limits(), "sigma", written.sigma]}
    if order == "selective":
        commands[VALIDATING] = ours(written)
        if own := peers.found("rsigma"):
            commands[PROGRAM] = [own, "engine", "eval", "--rules", written.sigma, "--include-event"]
    return commands


def same(key, right, theirs, events):
    """The same matches in the events that both had."""
    with open(events, encoding="utf-8") as lines:
        ids = {line[13:49] for line in lines}
    apart = {pair for pair in right if pair[0] in ids} ^ theirs
    if apart:
        raise RuntimeError("%s: not the same matches: %s" % (key, sorted(apart)[:5]))


def settle(scenario, counts, measured):
    top, small = counts[-1], counts[0]
    us, engine = measured[OURS, top, "selective"], measured[ENGINE, top, "selective"]
    what = "%s, %s" % (scenario, "{:,}".format(top))
    demand("rsigma", "its engine ÷ ours, %s, selective first" % what, ratio(engine, us, "cpu"), ("≥", 5), ("≥", 15), " x")
    if own := measured.get((PROGRAM, top, "selective")):
        demand("rsigma", "its program ÷ ours, %s, selective first" % what, ratio(own, us, "cpu"), ("≥", 5), ("≥", 15), " x")
    by_type = measured[OURS, top, "type"]
    demand("rsigma", "its engine ÷ ours, %s, type first" % what, ratio(measured[ENGINE, top, "type"], by_type, "cpu"), None, ("≥", 1000), " x")
    demand("rsigma", "ours, type ÷ selective first, %s" % what, ratio(by_type, us, "cpu"), ("≤", 1.1), None, " x")
    demand("rsigma", "start, ours ÷ its engine, %s" % what, ratio(us, engine, "start"), ("≤", 1), ("≤", 0.3), " x")
    demand("rsigma", "memory, ours ÷ its engine, %s" % what, ratio(us, engine, "rss"), ("≤", 1), ("≤", 0.3), " x")
    for who in (OURS, ENGINE):
        at = lambda count: median([result["rss"] for result in measured[who, count, "selective"]])
        say("%s, %s: %.1f KB a filter" % (what, who, (at(top) - at(small)) * 1024 / (top - small)))
