"""act: from an agent's POST to the call of an action, on an idle machine."""
import signal
import subprocess

from acting import Agent, Receiver, delays, quantile
from demand import demand
from hub import free_port, hub, wait_for_port
from measure import WORK, median, program, table

PAUSE = 0.03  # seconds between two results: the hub is idle when one comes
MORE = """
[probe.bench-act]
filter = '.payload.columns.marker | strings | {title: .}'
act = ["call"]
[action.call]
kind = "http"
url  = "http://127.0.0.1:%d/"
body = '{marker: .event.payload.columns.marker}'
"""


def part_act(size):
    port, folder = free_port(), WORK / "act-hub"
    receiver = Receiver(free_port()).open()
    secret = hub(folder, port, MORE % receiver.port)
    up = subprocess.Popen([program("zentral"), "-c", folder / "pipeline.toml", "up"], stdout=subprocess.DEVNULL, stderr=open(WORK / "up.log", "wb"), stdin=subprocess.DEVNULL, cwd=folder)
    try:
        wait_for_port(port, up)
        agent = Agent(port, folder / "tls/ca.pem", secret, "BENCHACT1")
        # The first ones find cold caches and connections that are yet to be made.
        delays(agent, receiver, 20, PAUSE)
        runs = [delays(agent, receiver, 50 if size.quick else 1000, PAUSE) for _ in range(size.rounds)]
    finally:
        receiver.close()
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait()
    at = lambda share: median([quantile(run, share) for run in runs]) * 1000
    table("act: ms from an agent's POST (TLS, kept connection) to the call of an action, all stages through topics on disk, %s results one by one" % "{:,}".format(len(runs[0])),
          ["", "p50", "p99", "slowest"], [["http", "%.1f" % at(0.5), "%.1f" % at(0.99), "%.1f" % at(1)]])
    demand("act", "agent's POST to the call of an action, p99", at(0.99), ("≤", 100), ("≤", 25), " ms")
