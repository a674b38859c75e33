"""latency: from line in to line out on an idle pipe."""
from demand import demand
from measure import ONE_PROBE, median, program, rounds, table
from fleet import Fleet
from reload import delays

EVERY = 0.002  # seconds between two lines


def part_latency(size):
    """Each line is chosen and sent alone; `cat` shows what of the time is the pipes and this script."""
    fleet = Fleet(11, 1)
    line = next(line for line in iter(lambda: fleet.event(0, "osquery_result"), None) if '"action":"added"' in line)
    line = (line + "\n").encode()
    filtering = [program("zentral"), "filter", "-e", ONE_PROBE]
    contestants = {"filter -e": filtering, "filter -e --trusted": filtering + ["--trusted"], "cat": ["cat"]}
    measured = rounds(size, {name: lambda c=c: sorted(delays(c, size.delays, EVERY, line)) for name, c in contestants.items()})
    at = lambda name, share: median([run[min(int(share * len(run)), len(run) - 1)] for run in measured[name]]) * 1000
    table("latency: ms from line in to line out, %s lines, one every 2 ms" % "{:,}".format(size.delays), ["", "p50", "p99", "slowest"],
          [[name, "%.3f" % at(name, 0.5), "%.3f" % at(name, 0.99), "%.3f" % at(name, 1)] for name in contestants])
    demand("latency", "line in to line out, p99", at("filter -e", 0.99), ("≤", 0.5), None, " ms")
