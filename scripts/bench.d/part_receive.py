"""receive: durable POSTs a second on one core, against a bare server that does the same work."""
import os
import shutil

from hub import Server, free_port, hub, load, written
from measure import WORK, Missing, count_lines, example, median, number, program, rounds, say, table


def part_receive(size):
    receive, bare = program("receive"), example("bare_server")
    if not shutil.which("taskset"):
        raise Missing("taskset is not installed (util-linux)")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Missing("one core for the server and one for the agents are needed")
    server_core, load_core = cores[0], cores[1]
    # One enrolment for all rounds: the key is inside the bodies, and they are made before the clock starts.
    port, template = free_port(), WORK / "receive-hub"
    key_file = template / "node_key"
    if not key_file.exists():
        for pool in WORK.glob("pool-*.bin"):
            pool.unlink()
        secret = hub(template, port)
        with Server(receive_command(receive, template, template / "data", port), port, server_core):
            key = load(load_core, "127.0.0.1:%d" % port, template / "tls/ca.pem", "--secret=" + secret)["node_key"]
        key_file.write_text(key)
    key = key_file.read_text()

    def ours():
        data = WORK / "receive-data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(template / "data", data, ignore=shutil.ignore_patterns("topics", "run", "*.sock"))
        return receive_command(receive, template, data, port), lambda: written(data / "topics/raw"), lambda: shutil.rmtree(data)

    def yardstick():
        out = WORK / "bare.ndjson"
        command = [bare, "127.0.0.1:%d" % port, template / "tls/hub.pem", template / "tls/hub.key", out]
        return command, lambda: (count_lines(out), out.stat().st_size), out.unlink

    for results in (50, 1):
        pool = WORK / ("pool-%d-%d.bin" % (results, size.pool))
        posts = size.pool * (1 if results == 50 else 5)

        def run(prepare):
            command, lines, clean = prepare()
            with Server(command, port, server_core) as server:
                before = server.cpu()
                told = load(load_core, "127.0.0.1:%d" % port, template / "tls/ca.pem", "--pool", pool, "--posts", posts, "--node-key=" + key,
                            "--results", results, "--seconds", size.seconds, "--warm", size.warm)
                told["cpu"] = server.cpu() - before
                told["rss"] = server.rss()
            got, length = lines()
            if got < told["sent"] * results:
                raise RuntimeError("%d results were acknowledged, %d are on disk" % (told["sent"] * results, got))
            told["line"] = length / max(got, 1)
            clean()
            return told

        if not pool.exists():
            say("making %s" % pool.name)
        measured = rounds(size, {"receive": lambda: run(ours), "bare server": lambda: run(yardstick)})
        costs = {name: median([r["cpu"] / (r["sent"] * results) * 1e6 for r in runs]) for name, runs in measured.items()}
        rows = []
        for name, runs in measured.items():
            rate = median([r["posts_s"] for r in runs])
            ratio = median([r["posts_s"] / b["posts_s"] for r, b in zip(runs, measured["bare server"])])
            rows.append([name, number(rate), number(rate * results), "%.2f" % ratio, "%.2f" % (costs["bare server"] / costs[name]), "%.2f" % costs[name], "%.1f" % median([r["ms_p50"] for r in runs]),
                         "%.1f" % median([r["ms_p99"] for r in runs]), "%.0f" % median([r["line"] for r in runs]), "%.0f" % max(r["rss"] for r in runs)])
        again = max(r["pool_rounds"] for runs in measured.values() for r in runs)
        table("receive: durable POSTs of %d gzip results, TLS, 64 connections, one core (the bodies went round %.1f times)" % (results, again),
              ["", "POSTs/s", "results/s", "x bare", "x bare (CPU)", "CPU µs/result", "p50 ms", "p99 ms", "bytes/line", "RSS MB"], rows)


def receive_command(receive, folder, data, port):
    return [receive, "-c", folder / "pipeline.toml", "--data", data, "--log", "warn", "--listen", "127.0.0.1:%d" % port, "--tls-cert", folder / "tls/hub.pem",
            "--tls-key", folder / "tls/hub.key", "--to", "topic:raw", "--as", "receive"]
