"""queue: a million matches for a service that is down and comes back, and a probe that suddenly matches everything."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

from acting import Agent, Receiver, delays, quantile
from demand import demand
from hub import free_port, hub, load, metric, metrics_port, stages_of, wait_for_port
from measure import WORK, example, number, program, say, status_of, table

RATE = 160.0    # POSTs/s of 50 results offered
PAUSE = 0.05    # seconds between two results of the other lane
QUIET_MB = 16   # what act may grow by from a tenth of the queue to all of it

# `dead` has a target of its own and one try at a time: what it is told stays in order.
MORE = """
[probe.all]
filter = '.type == "osquery_result" and (.payload.columns.marker | not)'
act = ["dead"]
[probe.other]
filter = '.payload.columns.marker | strings | {title: .}'
act = ["other"]
[action.dead]
kind = "http"
url  = "http://127.0.0.1:%d/"
rate = "%d/s"
max_age = "7d"
give_up = "7d"
body = '.event.id'
[action.other]
kind = "http"
url  = "http://127.0.0.1:%d/"
body = '{marker: .event.payload.columns.marker}'
"""
STORM = """
[probe.all]
filter = '.type == "osquery_result"'
act = ["calm", "braked"]
[probe.other]
filter = '.payload.columns.marker | strings | {title: .}'
act = ["other"]
[action.calm]
kind = "http"
url  = "http://127.0.0.1:%d/"
digest = "10s"
body = '{count: (.count // 1), ids: ((.ids // []) | length)}'
[action.braked]
kind = "http"
url  = "http://127.0.0.1:%d/braked"
max  = "1/h"
body = '{count: 1, ids: 0, machine: .event.machine.serial_number}'
[action.other]
kind = "http"
url  = "http://127.0.0.1:%d/"
body = '{marker: .event.payload.columns.marker}'
"""


class Counting(Receiver):
    """Keeps when each was taken and in which order, not what it said."""

    def __init__(self, port):
        super().__init__(port, keep=False)
        self.ids, self.times, self.first = set(), [], []

    def look(self, body):
        if body not in self.ids:
            self.ids.add(body)
            self.first.append(body)
        self.times.append(time.monotonic())

    def most_in_a_second(self):
        begin = most = 0
        for end, at in enumerate(self.times):
            while at - self.times[begin] > 1:
                begin += 1
            most = max(most, end - begin + 1)
        return most


class Up:
    """A hub that runs while the `with` lasts, and one agent of it."""

    def __init__(self, name, more):
        self.port, self.folder = free_port(), WORK / name
        self.secret = hub(self.folder, self.port, more)
        file = self.folder / "pipeline.toml"
        file.write_text(re.sub(r'(?m)^limit\s*=\s*"[^"]*"', 'limit   = "20 GiB"', file.read_text()))

    def __enter__(self):
        self.child = subprocess.Popen([program("zentral"), "-c", self.folder / "pipeline.toml", "up"], stdout=subprocess.DEVNULL, stderr=open(WORK / "up.log", "wb"),
                                      stdin=subprocess.DEVNULL, cwd=self.folder)
        self.agents = None
        try:
            wait_for_port(self.port, self.child)
            self.metrics = metrics_port(self.folder)
            self.agent = Agent(self.port, self.folder / "tls/ca.pem", self.secret, "BENCHACT1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def flood(self, events):
        ca = self.folder / "tls/ca.pem"
        key = load(sorted(os.sched_getaffinity(0))[-1], "127.0.0.1:%d" % self.port, ca, "--secret=" + self.secret)["node_key"]
        self.agents = subprocess.Popen([example("load"), "--address", "127.0.0.1:%d" % self.port, "--ca", str(ca), "--node-key=" + key, "--total", str(-(-events // 50)),
                                        "--rate", str(RATE)], stdout=subprocess.DEVNULL, stderr=open(WORK / "load.log", "wb"))

    def rss(self):
        return status_of(stages_of(self.folder).get("act", 0)).get("VmRSS", 0.0)

    def taken(self):
        return metric(self.metrics, "zentral_lines_in_total", stage="act")

    def alive(self):
        if self.child.poll() is not None or (self.agents and (self.agents.poll() or 0) != 0):
            raise RuntimeError("up or the agents ended early: %s" % (WORK / "up.log").read_text()[-1500:])

    def filled(self, events, every):
        """Waits until act has taken so many lines; (lines, MB of act) on the way."""
        samples = []
        while True:
            self.alive()
            samples.append((self.taken(), self.rss()))
            if samples[-1][0] >= events:
                return samples
            time.sleep(every)

    def ask(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % (self.folder / "data/state/act.db"), uri=True, timeout=30) as db:
            return db.execute(sql).fetchall()

    def settled(self, sql):
        """A count, once it grows no more."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 3:
            now = self.ask(sql)[0][0]
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.3)
        return last

    def __exit__(self, *_):
        if self.agents and self.agents.poll() is None:
            self.agents.terminate()
            self.agents.wait()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def part_queue(size):
    down(size)
    storm(size)


def down(size):
    events, rate, tries = size.queue_events, 500 if size.quick else 1_000, 30 if size.quick else 300
    dead, other = Counting(free_port()), Receiver(free_port()).open()
    with Up("queue-hub", MORE % (dead.port, rate, other.port)) as up:
        delays(up.agent, other, 20, PAUSE)
        waits = {"nothing waits": delays(up.agent, other, tries, PAUSE)}
        before = up.taken()
        up.flood(events)
        began = time.monotonic()
        samples = up.filled(before + events, 0.2 if size.quick else 1.0)
        waiting = up.settled("SELECT COUNT(*) FROM ledger WHERE action = 'dead'")
        filling = time.monotonic() - began
        disk = sum(file.stat().st_size for file in (up.folder / "data/state").glob("act.db*"))
        waits["all of them wait"] = delays(up.agent, other, tries, PAUSE)
        say("%s matches wait after %.0f s; the service comes back" % ("{:,}".format(waiting), filling))
        want = [row[0] for row in up.ask("SELECT event FROM ledger WHERE action = 'dead' ORDER BY seq")]
        dead.open()
        meanwhile = []
        watch = threading.Thread(target=lambda: meanwhile.extend(delays(up.agent, other, tries, PAUSE)), daemon=True)
        came, limit, watching = time.monotonic(), 120 + 4 * events / rate, False
        peak = 0.0
        while len(dead.ids) < waiting and time.monotonic() - came < limit:
            up.alive()
            # The pause after the last failure may be minutes long.
            if dead.times and not watching:
                watching = True
                watch.start()
            peak = max(peak, up.rss())
            time.sleep(0.5)
        if watching:
            watch.join(120)
        waits["they are delivered"] = meanwhile
        told = [json.loads(body) if body[:1] == b'"' else body.decode() for body in dead.first]
        drained = dead.times[-1] - dead.times[0] if len(dead.times) > 1 else float("nan")
    dead.close()
    other.close()
    at = lambda share: next(rss for lines, rss in samples if lines >= before + share * events)
    table("queue: %s matches for a service that is down, %s/s once it is back" % ("{:,}".format(waiting), "{:,}".format(rate)),
          ["", "MB of act at 10 %", "50 %", "100 %", "while delivered", "bytes on disk a match", "delivered", "of them again", "s", "/s", "most in 1 s"],
          [["", "%.1f" % at(0.1), "%.1f" % at(0.5), "%.1f" % at(1), "%.1f" % peak, number(disk / max(waiting, 1)), "{:,}".format(len(told)), len(dead.times) - len(told),
            number(drained), number(len(told) / drained), dead.most_in_a_second()]])
    rows = [[name, "%.1f" % (quantile(run, 0.5) * 1000), "%.1f" % (quantile(run, 0.99) * 1000)] for name, run in waits.items()]
    table("queue: ms from an agent's POST to the call of another action", ["while", "p50", "p99"], rows)
    place = {event: n for n, event in enumerate(want)}
    most, swapped = -1, 0
    for event in told:
        swapped += place[event] < most
        most = max(most, place[event])
    demand("queue", "matches that were not delivered", waiting - len(told), ("≤", 0))
    demand("queue", "matches delivered out of order", swapped, ("≤", 0))
    # One more may fall into a second that does not begin with a try.
    demand("queue", "deliveries in any second, of the rate", dead.most_in_a_second() / rate, ("≤", 1.05))
    demand("queue", "growth of act from 10 % of the queue to its end", max(at(1), peak) - at(0.1), ("≤", QUIET_MB), None, " MB")
    slower = max(quantile(waits[name], 0.5) for name in ("all of them wait", "they are delivered") if waits[name]) / quantile(waits["nothing waits"], 0.5)
    demand("queue", "another action's p50 meanwhile, of before", slower, ("≤", 3), ("≤", 1.5))
    shutil.rmtree(up.folder, ignore_errors=True)


def storm(size):
    events, tries = size.queue_events, 30 if size.quick else 300
    told, other = Receiver(free_port()).open(), Receiver(free_port()).open()
    with Up("storm-hub", STORM % (told.port, told.port, other.port)) as up:
        # One machine is changed; the one that floods would be the second.
        delays(up.agent, other, 20, PAUSE)
        before = up.taken()
        first = up.rss()
        up.flood(events)
        began, meanwhile = time.monotonic(), []
        watch = threading.Thread(target=lambda: meanwhile.extend(delays(up.agent, other, tries, PAUSE)), daemon=True)
        watch.start()
        samples = up.filled(before + events, 0.2 if size.quick else 1.0)
        took = time.monotonic() - began
        watch.join(120)
        # The last digest gathers for 10 s.
        time.sleep(15)
        stopped = [row[0] for row in up.ask("SELECT action FROM stopped")]
        matched = up.settled("SELECT COUNT(*) FROM taken WHERE probe = 'all'")
    for receiver in (told, other):
        receiver.close()
    bodies = [json.loads(body) for _, body in told.got]
    digests = [body for body in bodies if "machine" not in body]
    machines = {body["machine"] for body in bodies if "machine" in body}
    at = lambda share: next(rss for lines, rss in samples if lines >= before + share * events)
    table("queue: a probe that matches everything, %s matches in %.0f s (%s/s)" % ("{:,}".format(matched), took, number(matched / took)),
          ["", "messages of digest = 10s", "matches told in them", "machines changed with max = 1/h", "MB of act before", "at 10 %", "at 100 %", "ms p50 of another action", "p99"],
          [["", len(digests), "{:,}".format(sum(body["count"] for body in digests)), len(machines), "%.1f" % first, "%.1f" % at(0.1), "%.1f" % at(1),
            "%.1f" % (quantile(meanwhile, 0.5) * 1000), "%.1f" % (quantile(meanwhile, 0.99) * 1000)]])
    demand("queue", "matches of everything that no digest told", matched - sum(body["count"] for body in digests), ("≤", 0))
    demand("queue", "machines changed in spite of max", len(machines) - 1, ("≤", 0))
    demand("queue", "brakes that held", len([name for name in stopped if name == "braked"]), ("≥", 1))
    demand("queue", "growth of act in the storm", at(1) - at(0.1), ("≤", QUIET_MB), None, " MB")
    shutil.rmtree(up.folder, ignore_errors=True)
