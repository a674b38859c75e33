"""rsigma: the same detections as Sigma rules for rsigma's engine and as jq for us."""
from demand import demand
from fleet import fleet_corpus
from measure import limits, median, number, ratio, rounds, say, table
from part_probes import head, ours, work
from sets import NAMES, Written

VERSION = "0.23.0"  # scripts/bench.d/limits/Cargo.toml
# Rules that rsigma tries on an event one by one if a common condition is written first; it then gets fewer events.
TRIED = 2_000_000


def part_rsigma(size):
    corpus, rows, counts = fleet_corpus(size.probe_events, NAMES), [], [count for count in size.counts if count != 100 or size.quick]
    for scenario in ("names", "ioc"):
        sets = {(count, order): Written(scenario, count, corpus, order) for count in counts for order in ("selective", "type")}
        runs, hits, few = {}, {}, {}
        for (count, order), written in sets.items():
            key = (count, order)
            few[key] = size.probe_events if order == "selective" else max(100, min(size.probe_events, TRIED // count))
            for who, command in (("ours", ours(written, "--trusted")), ("rsigma", [limits(), "sigma", written.sigma])):
                hits[who, *key] = []
                # Where rsigma gets few events we get all, and the first of them when answers are compared.
                events = few[key] if who == "rsigma" else size.probe_events
                runs[who, *key] = lambda c=command, e=events, h=hits[who, *key]: work(c, corpus if e == size.probe_events else head(corpus, e), e, h)
        measured = rounds(size, runs)
        for key in sets:
            same(scenario, key, hits["ours", *key][0], hits["rsigma", *key][0], head(corpus, few[key]))
            for who in ("ours", "rsigma"):
                at = lambda name: median([result[name] for result in measured[who, *key]])
                more = number(ratio(measured["rsigma", *key], measured["ours", *key], "cpu")) if who == "rsigma" else ""
                rows.append(["%s %d, %s first, %s" % (scenario, *key, who), number(at("cpu")), more, "%.3f" % at("start"), "%.0f" % at("rss"), len(hits[who, *key][0])])
        top, small = max(counts), min(counts)
        them, us = measured["rsigma", top, "selective"], measured["ours", top, "selective"]
        demand("rsigma", "rsigma ÷ ours, %s, %d, selective first" % (scenario, top), ratio(them, us, "cpu"), ("≥", 5), ("≥", 15), " x")
        demand("rsigma", "rsigma ÷ ours, %s, %d, type first" % (scenario, top), ratio(measured["rsigma", top, "type"], measured["ours", top, "type"], "cpu"), ("≥", 1000), ("≥", 2000), " x")
        demand("rsigma", "our order: type ÷ selective first, %s, %d" % (scenario, top), ratio(measured["ours", top, "type"], us, "cpu"), ("≤", 1.1), None, " x")
        demand("rsigma", "start, ours ÷ rsigma, %s, %d" % (scenario, top), ratio(us, them, "start"), ("≤", 1), ("≤", 0.3), " x")
        demand("rsigma", "memory, ours ÷ rsigma, %s, %d" % (scenario, top), ratio(us, them, "rss"), ("≤", 1), ("≤", 0.3), " x")
        for who in ("ours", "rsigma"):
            grown = median([result["rss"] for result in measured[who, top, "selective"]]) - median([result["rss"] for result in measured[who, small, "selective"]])
            say("%s, %s: %.1f KB a filter" % (scenario, who, grown * 1024 / (top - small)))
        for written in sets.values():
            written.remove()
    table("rsigma: rsigma-eval %s in one process against `filter`, %s events" % (VERSION, "{:,}".format(size.probe_events)),
          ["", "CPU µs/event", "x ours", "start s", "RSS MB", "matches"], rows)


def same(scenario, key, ours_found, theirs, events):
    """The same matches in the events that both had."""
    with open(events, encoding="utf-8") as lines:
        ids = {line[13:49] for line in lines}
    apart = {pair for pair in ours_found if pair[0] in ids} ^ {pair for pair in theirs if pair[0] in ids}
    if apart:
        raise RuntimeError("%s %s: not the same matches: %s" % (scenario, key, sorted(apart)[:5]))
