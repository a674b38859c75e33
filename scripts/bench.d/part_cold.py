"""cold: a release build into an empty folder."""
import os
import resource
import shutil
import subprocess
import time

from measure import ROOT, WORK, table


def part_cold(_):
    folder = WORK / "cold"
    shutil.rmtree(folder, ignore_errors=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], check=True, cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(folder)})
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = (folder / "release/zentral").stat().st_size / 1e6
    table("cold: cargo build --release into an empty folder, %d cores" % len(os.sched_getaffinity(0)), ["", "wall s", "CPU s", "MB"],
          [["zentral", "%.0f" % wall, "%.0f" % cpu, "%.1f" % size]])
    shutil.rmtree(folder)
