"""probes: from ten probes to ten thousand: an event's cost, start, memory, reload, and the naive way beside it."""
import itertools
import json

from demand import demand
from fleet import fleet_corpus
from held import Held
from measure import WORK, limits, median, number, program, ratio, rounds, say, status_of, table
from reload import pause
from sets import NAMES, Written

# Events that the naive way gets for its turn: it takes up to 2 µs for each probe and event.
NAIVE_WORK = 400_000
ENOUGH = 0.6    # seconds of CPU that are worth measuring; the corpus passes so often, but not more than
PASSES_MAX = 6


def part_probes(size):
    corpus = fleet_corpus(size.probe_events, NAMES)
    for step in (costs, orders, endless, reload):
        step(size, corpus)
    clear_heads()


def ours(written, *more):
    return [program("zentral"), "-c", written.config, "filter", *more]


def head(corpus, lines):
    """The first lines of a corpus, as a file."""
    path = WORK / ("head-%d.ndjson" % lines)
    with open(corpus, "rb") as source, open(path, "wb") as out:
        out.writelines(itertools.islice(source, lines))
    return path


def clear_heads():
    for path in WORK.glob("head-*.ndjson"):
        path.unlink()


def work(command, corpus, events, hits=None):
    """One round: start, the corpus once to warm up, and again to be measured: several times where that is soon done."""
    with Held(command) as held:
        first, _ = held.feed(corpus)
        if hits == []:
            hits.append(found(held.text()))
        times = max(1, min(PASSES_MAX, int(ENOUGH / max(first, 0.01))))
        cpu, wall = held.feed(*[corpus] * times)
        each = events * times / 1e6
        return {"cpu": cpu / each, "first": first / events * 1e6, "wall": wall / each, "start": held.start, "rss": held.rss()}


def found(text):
    """(event, probe) of all matches: from annotated events, from `PROBE,PROBE<tab>EVENT`, or from rsigma's own records."""
    pairs = set()
    for line in text.splitlines():
        names, _, event = line.rpartition(b"\t")
        event = json.loads(event)
        if "rule_title" in event:
            names, event = event["rule_title"].encode(), event["event"]
        chosen = names.decode().split(",") if names else [probe["name"] for probe in event["probes"]]
        if event.get("probes_more"):
            raise RuntimeError("more probes on an event than are written on it: %s" % event["id"])
        pairs |= {(event["id"], name) for name in chosen if name != "marker"}
    return pairs


def costs(size, corpus):
    """All scenarios with all counts, and jaq with the same filters one after the other."""
    rows, extremes = [], (min(size.counts), max(size.counts))
    for scenario in ("names", "quiet", "present", "ioc", "regex"):
        sets = {count: Written(scenario, count, corpus) for count in size.counts}
        hits = {count: [] for count in size.counts}
        runs = {"%s %d" % (scenario, count): lambda c=count: work(ours(sets[c], "--trusted"), corpus, size.probe_events, hits[c]) for count in size.counts}
        runs["%s %d, validating" % (scenario, extremes[1])] = lambda: work(ours(sets[extremes[1]]), corpus, size.probe_events)
        few, naive = {}, scenario in ("names", "ioc", "regex")
        if naive:
            for count in size.counts:
                few[count] = max(10, min(size.probe_events, NAIVE_WORK // count // (20 if size.quick else 1)))
                runs["naive %d" % count] = lambda c=count: work([limits(), "naive", sets[c].jaq], head(corpus, few[c]), few[c])
        measured = rounds(size, runs)
        small, large = ("%s %d" % (scenario, count) for count in extremes)
        for name, results in measured.items():
            at = lambda key: median([result[key] for result in results])
            count = int(name.split()[1].rstrip(","))
            told = len(hits[count][0]) if name == "%s %d" % (scenario, count) else ""
            factor = "%.2f" % ratio(results, measured[small], "cpu") if name.startswith(scenario) else ""
            slower = number(ratio(measured["naive %d" % count], results, "cpu")) if naive and name.startswith(scenario) else ""
            rows.append([name if name.startswith(scenario) else "  jaq, %s" % name, number(at("cpu")), number(at("first")), number(1e6 / at("wall")), factor, slower, told, "%.2f" % at("start"), "%.0f" % at("rss")])
        if naive:
            same(scenario, size, sets, corpus, few)
            demand("probes", "naive jaq ÷ ours, %s, %d" % (scenario, extremes[1]), ratio(measured["naive %d" % extremes[1]], measured[large], "cpu"), ("≥", 1000), ("≥", 10000), " x")
        bound = {"names": ("≤", 4), "present": None}.get(scenario, ("≤", 1.15))
        demand("probes", "%s, %d ÷ %d probes" % (scenario, extremes[1], extremes[0]), ratio(measured[large], measured[small], "cpu"), bound, ("≤", 2) if scenario == "names" else None, " x")
        demand("probes", "start with %d, %s" % (extremes[1], scenario), median([r["start"] for r in measured[large]]), ("≤", 2), ("≤", 0.5), " s")
        for written in sets.values():
            written.remove()
    table("probes: %s events of 10,000 query names through N probes" % "{:,}".format(size.probe_events),
          ["", "CPU µs/event", "1st pass", "events/s", "÷ smallest", "x jaq", "matches", "start s", "RSS MB"], rows)


def same(scenario, size, sets, corpus, few):
    """What jaq finds in its few events is what we find in them; with the smallest set in many."""
    for count in (min(size.counts), max(size.counts)):
        part, answers = head(corpus, few[count]), []
        for command in (ours(sets[count], "--trusted"), [limits(), "naive", sets[count].jaq]):
            with Held(command) as held:
                held.feed(part)
                answers.append(found(held.text()))
        if answers[0] != answers[1]:
            raise RuntimeError("%s %d: not the matches of jaq: %s" % (scenario, count, sorted(answers[0] ^ answers[1])[:5]))
        say("%s %d: the same %d matches as jaq in %d events" % (scenario, count, len(answers[0]), few[count]))


def orders(size, corpus):
    """The same filters with their conditions in another order."""
    rows, count = [], max(size.counts)
    for scenario in ("names", "ioc"):
        sets = {order: Written(scenario, count, corpus, order) for order in ("selective", "type", "random")}
        measured = rounds(size, {order: lambda o=order: work(ours(sets[o], "--trusted"), corpus, size.probe_events) for order in sets})
        per = {order: median([result["cpu"] for result in results]) for order, results in measured.items()}
        rows.append([scenario] + [number(per[order]) for order in sets] + ["%.2f" % (max(per.values()) / min(per.values()))])
        demand("probes", "dearest ÷ cheapest order of conditions, %s, %d" % (scenario, count), max(per.values()) / min(per.values()), ("≤", 1.1), None, " x")
        for written in sets.values():
            written.remove()
    table("orders: CPU µs/event with %d probes whose conditions are written in another order" % count, ["", "selective first", "type first", "random", "dearest ÷ cheapest"], rows)


def endless(size, corpus):
    """Memory with ten probes while millions of events pass, of the program `filter` and of the one that is every stage."""
    written, rows, passes = Written("names", 10, corpus), [], max(10, size.endless // size.probe_events)
    for name in ("filter", "zentral"):
        seen, whole = [], ours(written)
        with Held(whole if name == "zentral" else [program("filter"), *(part for part in whole[1:] if part != "filter")]) as held:
            for part in range(10):
                held.feed(*[corpus] * (passes // 10))
                seen.append(held.rss())
            most = status_of(held.child.pid)["VmHWM"]
        grown = max(seen[5:]) - max(seen[:5])
        rows.append([name] + ["%.1f" % seen[i] for i in (0, 2, 4, 6, 9)] + ["%+.1f" % grown, "%.1f" % most])
        demand("probes", "memory of `%s` with ten probes on an endless stream" % name, max(seen), ("≤", 10) if name == "filter" else None, None, " MB")
        demand("probes", "what `%s` grows in the second half" % name, grown, ("≤", 0.5), None, " MB")
    written.remove()
    table("endless: MB with ten probes while %s events pass" % "{:,}".format(passes // 10 * 10 * size.probe_events),
          ["", "10 %", "30 %", "50 %", "70 %", "100 %", "2nd half", "ever, the start included"], rows)


def reload(size, corpus):
    """One filter changes among many: how long no line comes out."""
    count, rows, worst = max(size.counts), [], []
    for scenario in ("names", "regex"):
        written = Written(scenario, count, corpus)
        runs = [pause(ours(written), written) for _ in range(size.rounds)]
        written.remove()
        at = lambda key: median([run[key] for run in runs])
        worst.append(at("pause"))
        rows.append([scenario, "%.1f" % at("before"), "%.1f" % at("pause"), "%.0f" % at("new"), number(at("lines"))])
    table("reload: one changed filter among %d, a line in and out every ms, SIGHUP" % count, ["", "slowest before ms", "slowest while ms", "new set after ms", "lines"], rows)
    demand("probes", "reload of one among %d: longest pause" % count, max(worst), ("≤", 50), ("≤", 5), " ms")
