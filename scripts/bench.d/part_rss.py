"""rss: the memory of every stage while agents send, sampled on the way."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

from hub import free_port, hub, load, metric, metrics_port, stages_of, wait_for_port
from measure import ONE_PROBE, WORK, example, number, program, say, status_of, table


RSS_MORE = """
[probe.bench-usb]
filter = '%s'
act = ["out"]
[action.out]
kind = "file"
path = "out.ndjson"
"""
STAGES = ("receive", "normalize", "filter", "act", "store")
RATE = 160.0  # POSTs/s of 50 results offered: about what the store keeps up with on two cores; the rest is told "busy"


def part_rss(size):
    port, folder = free_port(), WORK / "rss-hub"
    secret = hub(folder, port, RSS_MORE % ONE_PROBE)
    file = folder / "pipeline.toml"
    # Little is kept on disk, and pressure comes early: what counts is what a stage holds in memory.
    text = file.read_text()
    text = re.sub(r'(?m)^keep\s*=\s*\{ age = [^}]*\}', 'keep    = { age = "1h", size = "256 MiB" }', text)
    text = re.sub(r'(?m)^limit\s*=\s*"[^"]*"', 'limit   = "1 GiB"', text)
    file.write_text(text)
    metrics = metrics_port(folder)
    events, posts = size.rss_events, -(-size.rss_events // 50)
    up = subprocess.Popen([program("zentral"), "-c", file, "up"], stdout=subprocess.DEVNULL, stderr=open(WORK / "up.log", "wb"), stdin=subprocess.DEVNULL, cwd=folder)
    agents, samples, began = None, [], time.monotonic()
    try:
        wait_for_port(port, up)
        ca = folder / "tls/ca.pem"
        key = load(sorted(os.sched_getaffinity(0))[-1], "127.0.0.1:%d" % port, ca, "--secret=" + secret)["node_key"]
        agents = subprocess.Popen([example("load"), "--address", "127.0.0.1:%d" % port, "--ca", str(ca), "--node-key=" + key, "--total", str(posts), "--rate", str(RATE)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        done = 0
        while done < posts * 50:
            if up.poll() is not None or (agents.poll() or 0) != 0:
                raise RuntimeError("up or the agents ended early: %s %s" % ((WORK / "up.log").read_text()[-1500:], agents.stderr.read()[-500:] if agents.poll() else ""))
            time.sleep(0.2 if size.quick else 1.0)
            done = metric(metrics, "zentral_lines_in_total", stage="store")
            samples.append((done, {name: status_of(pid) for name, pid in stages_of(folder).items()}))
            if len(samples) % 300 == 0:
                say("%s of %s events stored after %d s" % ("{:,.0f}".format(done), "{:,}".format(events), time.monotonic() - began))
    finally:
        if agents and agents.poll() is None:
            agents.terminate()
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait()
    told = json.loads(agents.communicate()[0])
    rows = []
    for name in ("up",) + STAGES:
        seen = [(done, each[name]["VmRSS"]) for done, each in samples if each.get(name, {}).get("VmRSS")]
        at = lambda share: "%.1f" % next((rss for done, rss in seen if done >= share * samples[-1][0]), seen[-1][1]) if seen else "-"
        high = max((each[name].get("VmHWM", 0) for _, each in samples if each.get(name)), default=0)
        half = [rss for done, rss in seen if done >= 0.5 * samples[-1][0]]
        grown = "%+.1f" % (half[-1] - half[0]) if half else "-"
        rows.append([name, at(0.05), at(0.25), at(0.5), at(0.75), at(1.0), grown, "%.1f" % high])
    wall = time.monotonic() - began
    table("rss: MB of every stage while %s events went from agents to the store (%.0f s, %s/s, %d times busy)"
          % ("{:,}".format(posts * 50), wall, number(posts * 50 / wall), told["busy"]),
          ["", "at 5 %", "25 %", "50 %", "75 %", "100 %", "2nd half", "largest"], rows)
    shutil.rmtree(folder, ignore_errors=True)
