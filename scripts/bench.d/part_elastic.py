"""elastic: events into Elasticsearch, beside a plain loader that sends the same requests; raw lines to stored events."""
import http.client
import http.server
import json
import os
import re
import shutil
import threading
import time

from corpus import event_corpus, raw_corpus
from hub import free_port, hub
from measure import ONE_PROBE, WORK, Cost, measure, median, number, program, ratio, rounds, say, table
from demand import demand
from part_pipeline import feed_topic, run_until_stored
from servers import Cluster, Servers

INDEX = "bench"
# As many requests are under way at once as the store has (`AT_ONCE` in bins/store/src/cluster/keeper.rs).
AT_ONCE = 2
PATTERN = INDEX + "-%Y.%m.%d"


class Recorder(http.server.BaseHTTPRequestHandler):
    """Takes everything, and keeps each bulk request: what the store sends is what the loader sends."""
    protocol_version = "HTTP/1.1"
    requests = []

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/_bulk" in self.path:
            Recorder.requests.append(body)
            said = {"items": [{"index": {"status": 201}}] * (body.count(b"\n") // 2)}
        else:
            said = {"acknowledged": True}
        text = json.dumps(said).encode()
        self.send_response(404 if self.command == "GET" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_):
        pass


def store(url):
    return [program("store"), "--kind", "elasticsearch", "--set", 'hosts=["%s"]' % url, "--set", "index=" + PATTERN,
            "--set", "keep=36500d", "--set", "shards=1", "--set", "copies=0"]


def from_topic(url, data):
    return measure([[*store(url), "--data", data, "--from", "topic:events", "--as", "bench", "--once"]])


def recorded(events, data):
    """The bulk requests that the store makes of these events."""
    Recorder.requests = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    feed_topic(events, data, "events")
    from_topic("http://127.0.0.1:%d" % server.server_port, data)
    server.shutdown()
    return Recorder.requests


def load(cluster, requests):
    """A plain loader: connections that are kept, a request after the other on each, answers looked at."""
    left, lock, wrong = list(reversed(requests)), threading.Lock(), []

    def one():
        connection = http.client.HTTPConnection(cluster.address, timeout=120)
        while True:
            with lock:
                if not left:
                    return
                body = left.pop()
            connection.request("POST", "/_bulk?filter_path=errors", body, {"Content-Type": "application/x-ndjson"})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200 or json.loads(text)["errors"]:
                wrong.append(text[:500])

    began = time.monotonic()
    spent = time.process_time()
    threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if wrong:
        raise RuntimeError("the loader: %s" % wrong[0])
    return Cost(time.process_time() - spent, time.monotonic() - began, 0.0, [0])


def part_elastic(size):
    with Servers("elasticsearch") as servers:
        against(size, Cluster(servers, INDEX))


def against(size, cluster):
    events, data = event_corpus(size.chain), WORK / "elastic-data"
    # The template is written by whoever comes first, and stays for all.
    measure([["head", "-n", "1", events], store(cluster.url)])
    requests = recorded(events, data)
    sent = sum(len(body) for body in requests)

    def timed(run):
        feed_topic(events, data, "events")
        cluster.clear()
        cost = run()
        cluster.holds(size.chain)
        return cost

    contestants = {
        "plain loader, the same requests": lambda: timed(lambda: load(cluster, requests)),
        "store, from a topic": lambda: timed(lambda: from_topic(cluster.url, data)),
    }
    # A round before the rounds: the server compiles what it runs often.
    for run in contestants.values():
        run()
    measured = rounds(size, contestants)
    plain, ours = measured.values()
    rows = [[name, number(size.chain / median([c.wall for c in costs])), "%.2f" % ratio(plain, costs, "wall"),
             number(median([c.cpu for c in costs]) / size.chain * 1e6), ""] for name, costs in measured.items()]

    raw, folder = raw_corpus(size.chain), WORK / "elastic-hub"

    def stored():
        shutil.rmtree(folder, ignore_errors=True)
        hub(folder, free_port(), "[probe.bench-usb]\nfilter = '%s'\n" % ONE_PROBE)
        file = folder / "pipeline.toml"
        text = file.read_text().replace('kind   = "embedded"', 'kind = "elasticsearch"\nhosts = ["%s"]\nindex = "%s"\nshards = 1\ncopies = 0' % (cluster.url, PATTERN))
        file.write_text(re.sub(r'(?m)^keep(\s*)= "30d"', r'keep\1= "36500d"', text))
        feed_topic(raw, folder / "data")
        return run_until_stored(folder, size.chain)

    through = [timed(stored) for _ in range(size.rounds)]
    wall = median([c.wall for c in through])
    rows.append(["raw -> stored (normalize, filter, store, under `up`)", number(size.chain / wall), "",
                 number(median([c.cpu for c in through]) / size.chain * 1e6), "%.0f" % max(c.rss for c in through)])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    table("elastic: %s events, %s requests of %.1f MB, %d at once, %d cores with the server on them"
          % ("{:,}".format(size.chain), len(requests), sent / max(len(requests), 1) / 1e6, AT_ONCE, len(os.sched_getaffinity(0))),
          ["", "events/s", "÷ plain loader", "CPU µs/event", "largest RSS MB"], rows)
    say("the loader sends requests that are made already: what making them costs is in the store's figure alone")
    demand("elastic", "bulk indexing ÷ plain loader, the same requests", ratio(plain, ours, "wall"), ("≥", 0.9), None, " x")
    demand("elastic", "raw lines to events in Elasticsearch", size.chain / wall, None, None, "/s")
