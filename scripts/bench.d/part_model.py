"""model: what a fleet needs on Kafka, PostgreSQL and Elasticsearch, computed from costs that are measured here."""
import json
import math
import os
import shutil

from corpus import Corpus, raw_corpus
from hub import Server, free_port, hub, load
from measure import WORK, Missing, measure, number, program, say, table
from servers import Cluster, Pipeline, Servers

FLEETS = (50_000, 500_000)
DAY = 86_400
PROGRAMS = 400   # that a host of the model has installed
# What nobody can measure here: how a fleet behaves, and how its servers are set up.
ASSUMED = {
    "events a host and second": (0.1, "one result every 10 s, as `scripts/bench fleet`"),
    "requests a host and second": (0.1 + 1 / 60 + 1 / 300, "a log POST every 10 s, live queries every 60 s, configuration every 300 s"),
    "peak over mean": (3, ""),
    "busy part of a core at the peak": (0.5, "the rest is for restarts, replays, and a machine that is away"),
    "copies in Kafka": (3, "a follower costs its broker as much as the leader"),
    "days in Kafka": (7, "`[topics] keep`"),
    "copies in Elasticsearch": (2, "each is indexed anew"),
    "days in Elasticsearch": (30, "`keep` of the store"),
    "programs installed on a host": (PROGRAMS, "part of its bytes in PostgreSQL"),
}
STORE = """
[stage.store]
kind = "elasticsearch"
from = "kafka:annotated"
hosts = ["http://%s"]
index = "%s-%%Y.%%m.%%d"
keep = "36500d"
search = true
"""
STAGES = ("normalize", "filter", "store")
TOPICS = ("raw", "events", "annotated", "matches")
KINDS = ("kafka", "postgres", "elasticsearch")


def part_model(size):
    with Servers(*KINDS) as servers:
        # A server in Java is dear until it has done the same for a while.
        stages(size, servers, "warm")
        found = stages(size, servers, "model")
        found["bytes/host: postgres"] += inventory(size, servers)
        found.update(receiving(size, servers))
    inputs(found)
    needs(found)


def stages(size, servers, name):
    """CPU µs an event of each stage and of the servers meanwhile; bytes an event where it ends up."""
    lines, raw = size.chain, raw_corpus(size.chain)
    pipeline, found = Pipeline(servers, name, STORE % (servers["elasticsearch"], name)), {}
    of_servers = dict.fromkeys(KINDS, 0.0)

    def costs(work):
        before = {kind: servers.cpu(kind) for kind in KINDS}
        cost = work()
        for kind in KINDS:
            of_servers[kind] += servers.cpu(kind) - before[kind]
        return cost

    # What `receive` writes is measured with `receive`.
    pipeline.feed(raw)
    empty = database_size(servers, pipeline)
    for stage in STAGES:
        cost = costs(lambda stage=stage: measure([pipeline.zentral("run", stage, "--once")], cwd=pipeline.folder))
        found["CPU µs/event: " + stage] = cost.cpu / lines * 1e6
    for kind in KINDS:
        found["CPU µs/event: " + kind] = of_servers[kind] / lines * 1e6
    for topic in TOPICS:
        found["bytes/event: kafka, " + topic] = folder_size(servers.folder("kafka") / "data", "%s.%s-*" % (name, topic)) / lines
    cluster = Cluster(servers, name)
    cluster.holds(lines)
    found["bytes/event: elasticsearch"] = cluster.bytes() / lines
    machines = len({json.loads(line)["machine"]["serial_number"] for line in open(raw, encoding="utf-8")})
    found["bytes/host: postgres"] = (database_size(servers, pipeline) - empty) / machines
    pipeline.end()
    return found


def inventory(size, servers):
    """Bytes in PostgreSQL of what a host has installed; it is told with every snapshot, and kept once."""
    hosts, pipeline, corpus = (20 if size.quick else 500), Pipeline(servers, "inventory"), Corpus(13)
    lines = pipeline.folder / "inventory.ndjson"
    with open(lines, "w", encoding="utf-8") as file:
        for host in range(hosts):
            raw = json.loads(corpus.line(host))
            package = lambda: {"table_name": "deb_packages", "name": "-".join(corpus.word() for _ in range(3)), "version": corpus.value("ver"), "arch": "amd64",
                               "maintainer": corpus.value("name"), "section": corpus.word(), "size": corpus.value("num"), "status": "install ok installed"}
            raw["machine"]["serial_number"] = "BENCH%07d" % host
            raw["body"].update(name="ztl-inv", action="snapshot", snapshot=[{"table_name": "os_version", "name": "Debian", "major": "12", "minor": "0", "patch": "0"}]
                               + [package() for _ in range(PROGRAMS)])
            del raw["body"]["columns"]
            file.write(json.dumps(raw, separators=(",", ":")) + "\n")
    empty = database_size(servers, pipeline)
    pipeline.feed(lines)
    measure([pipeline.zentral("run", "normalize", "--once")], cwd=pipeline.folder)
    if int(servers.sql(pipeline.database, "SELECT COUNT(*) FROM zentral_normalize.snapshots")) != hosts:
        raise RuntimeError("not every host has an inventory")
    # An empty database has a page or more for each of its tables and indices; what 500 hosts take is far above that.
    length = (database_size(servers, pipeline) - empty) / hosts
    pipeline.end()
    return length


def receiving(size, servers):
    """CPU µs of a POST of one result, durable in Kafka; `receive` on one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        raise Missing("taskset, and one core for the server and one for the agents, are needed")
    port, folder = free_port(), WORK / "model-hub"
    more = '\n[kafka]\nbrokers = ["%s"]\nprefix = "receive."\n[registry]\npostgres = "%s"\n' % (servers["kafka"], servers.database("bench_receive"))
    secret = hub(folder, port, more)
    command = [program("receive"), "-c", folder / "pipeline.toml", "--log", "warn", "--listen", "127.0.0.1:%d" % port, "--tls-cert", folder / "tls/hub.pem",
               "--tls-key", folder / "tls/hub.key", "--to", "kafka:raw", "--as", "receive"]
    with Server(command, port, cores[0]) as server:
        agents = (cores[1], "127.0.0.1:%d" % port, folder / "tls/ca.pem")
        key = load(*agents, "--secret", secret)["node_key"]
        before, broker = server.cpu(), servers.cpu("kafka")
        told = load(*agents, "--pool", WORK / "model-pool.bin", "--posts", size.pool, "--node-key", key, "--results", 1, "--seconds", size.seconds, "--warm", size.warm)
        cpu, broker = server.cpu() - before, servers.cpu("kafka") - broker
    (WORK / "model-pool.bin").unlink()
    shutil.rmtree(folder, ignore_errors=True)
    say("receive: %s POSTs/s to Kafka on one core" % number(told["posts_s"]))
    return {"CPU µs/request: receive": cpu / told["sent"] * 1e6, "CPU µs/event: kafka, for receive": broker / told["sent"] * 1e6}


def database_size(servers, pipeline):
    servers.sql(pipeline.database, "VACUUM FULL")
    return int(servers.sql(pipeline.database, "SELECT pg_database_size(current_database())"))


def folder_size(folder, pattern):
    """Bytes of the segments; indices are made of a fixed size and cut when a segment is closed."""
    return sum(file.stat().st_size for file in folder.glob(pattern + "/*.log"))


def inputs(found):
    rows = [[what, number(value), "measured"] for what, value in found.items()]
    rows += [[what, number(value), "assumed" + (": " + why if why else "")] for what, (value, why) in ASSUMED.items()]
    table("model: what goes into it", ["", "figure", ""], rows)
    write(["what", "figure", "from"], rows, "w")


def needs(found):
    of = {what: value for what, (value, _) in ASSUMED.items()}
    busy = of["peak over mean"] / of["busy part of a core at the peak"] / 1e6

    def column(hosts):
        events, requests = hosts * of["events a host and second"], hosts * of["requests a host and second"]
        kept = events * DAY * of["days in Kafka"] * of["copies in Kafka"]
        cores = {
            "receive": requests * found["CPU µs/request: receive"],
            **{stage: events * found["CPU µs/event: " + stage] for stage in STAGES},
            "Kafka, all brokers": events * (found["CPU µs/event: kafka"] + found["CPU µs/event: kafka, for receive"]) * of["copies in Kafka"],
            "PostgreSQL": events * found["CPU µs/event: postgres"],
            "Elasticsearch, all nodes": events * found["CPU µs/event: elasticsearch"] * of["copies in Elasticsearch"],
        }
        return {
            "events/s, mean": "{:,.0f}".format(events), "events/s, peak": "{:,.0f}".format(events * of["peak over mean"]), "requests/s, mean": "{:,.0f}".format(requests),
            "connections of agents": "{:,}".format(hosts),
            **{"cores: " + what: "%d" % math.ceil(cpu * busy) for what, cpu in cores.items()},
            "disk: Kafka": size_of(kept * sum(found["bytes/event: kafka, " + topic] for topic in TOPICS)),
            "disk: Elasticsearch": size_of(events * DAY * of["days in Elasticsearch"] * of["copies in Elasticsearch"] * found["bytes/event: elasticsearch"]),
            "disk: PostgreSQL": size_of(hosts * found["bytes/host: postgres"]),
        }

    columns = [column(hosts) for hosts in FLEETS]
    rows = [[what] + [each[what] for each in columns] for what in columns[0]]
    head = [""] + ["{:,} hosts".format(hosts) for hosts in FLEETS]
    table("model: what a fleet needs (cores as this machine's, for the peak)", head, rows)
    write(head, rows, "a")
    # Its instances take turns: no fleet has more of it than a core, whatever is beside it.
    most = 1 / (of["events a host and second"] * found["CPU µs/event: normalize"] * busy)
    if most < max(FLEETS):
        line = "normalize: one core, whatever its replicas, is enough for %s hosts; more of them need more than one hub" % number(most)
        say(line)
        with open(WORK / "model.md", "a", encoding="utf-8") as file:
            file.write(line + "\n")
    print("as Markdown: %s" % (WORK / "model.md"))


def size_of(count):
    return "%s TB" % number(count / 1e12) if count >= 1e12 else "%s GB" % number(count / 1e9)


def write(head, rows, mode):
    with open(WORK / "model.md", mode, encoding="utf-8") as file:
        for row in [head, ["---"] + ["---:"] * (len(head) - 1)] + rows:
            file.write("| %s |\n" % " | ".join(row))
        file.write("\n")
