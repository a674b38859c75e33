"""Prometheus with promtool: the installed one, else Debian's package unpacked into our folder, for installing it starts it."""
import pathlib
import shutil
import urllib.error
import urllib.request

from files import Refused, fetched, run
from server import Server

CONFIGURATION = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ["{folder}/rules/*.yml"]
scrape_configs:
  - job_name: zentral
    file_sd_configs: [{{files: ["{folder}/targets/*.json"], refresh_interval: 1s}}]
"""


def installed(name):
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found:
        return pathlib.Path(found)
    if not shutil.which("apt-get"):
        raise Refused("`%s` is missing; it is part of Prometheus" % name)

    def load(folder):
        run(["apt-get", "download", "-qq", "prometheus"], cwd=folder)

    def unpack(loaded, made):
        run(["dpkg-deb", "-x", next(loaded.glob("*.deb")), made])

    # apt compares the package with the archive's signed list.
    return fetched("prometheus", load, None, unpack) / "usr/bin" / name


class Prometheus(Server):
    def fetch(self):
        installed("prometheus")

    def prepare(self):
        for folder in ("targets", "rules"):
            (self.folder / folder).mkdir(exist_ok=True)
        (self.folder / "prometheus.yml").write_text(CONFIGURATION.format(folder=self.folder))

    def command(self):
        return [installed("prometheus"), "--config.file=%s" % (self.folder / "prometheus.yml"), "--storage.tsdb.path=%s" % self.data,
                "--web.listen-address=%s" % self.address(), "--web.enable-lifecycle", "--storage.tsdb.retention.time=1d"]

    def ready(self):
        try:
            with urllib.request.urlopen("http://%s/-/ready" % self.address(), timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def environment(self):
        return {
            "ZENTRAL_TEST_PROMETHEUS": "http://" + self.address(),
            "ZENTRAL_TEST_PROMETHEUS_DIR": self.folder,
            "ZENTRAL_TEST_PROMTOOL": installed("promtool"),
        }
