"""Elasticsearch and OpenSearch: the distributions that their own integration tests use. Modules are absent from them (ILM,
ISM, painless, API keys); `GET /` of this Elasticsearch answers 405, so its health is asked for."""
import base64
import json
import shutil
import ssl
import urllib.error
import urllib.request
import zipfile

import tls
from files import HERE, PLUGIN, fetched, java, maven
from server import Server

HEAP = "512m"
USER = "elastic"
# Lines of jvm.options that write beside the program, which is not the server's to write.
ELSEWHERE = ("gc.log", "HeapDumpPath", "ErrorFile")


class Search(Server):
    PORTS = ("main", "transport")
    PROGRAM = COORDINATES = VERSION = PREFIX = VARIABLE = ""
    SETTINGS = {}

    def fetch(self):
        def load(folder):
            artifact = "%s:%s:%s:zip" % (self.COORDINATES, self.PROGRAM, self.VERSION)
            maven([PLUGIN + ":copy", "-Dartifact=" + artifact, "-DoutputDirectory=%s" % folder], folder)

        def unpack(loaded, made):
            with zipfile.ZipFile(next(loaded.iterdir())) as archive:
                archive.extractall(made)
            for program in made.glob("*/bin/*"):
                program.chmod(0o755)
            for empty in ("plugins", "logs"):
                (made / ("%s-%s" % (self.PROGRAM, self.VERSION)) / empty).mkdir(exist_ok=True)

        name = "%s-%s" % (self.PROGRAM, self.VERSION)
        self.program = fetched(name, load, HERE / (self.PROGRAM + ".sha256"), unpack) / name

    def prepare(self):
        config = self.folder / "config"
        if not config.exists():
            shutil.copytree(self.program / "config", config)
            options = (config / "jvm.options").read_text().splitlines()
            (config / "jvm.options").write_text("".join(line + "\n" for line in options if not any(word in line for word in ELSEWHERE)))
        (self.folder / "tmp").mkdir(exist_ok=True)

    def variables(self):
        return {
            self.PREFIX + "_PATH_CONF": str(self.folder / "config"),
            self.PREFIX + "_JAVA_HOME": str(java()),
            self.PREFIX + "_JAVA_OPTS": "-Xms%s -Xmx%s" % (HEAP, HEAP),
            self.PREFIX + "_TMPDIR": str(self.folder / "tmp"),
        }

    def settings(self):
        return {
            "discovery.type": "single-node", "network.host": "127.0.0.1", "cluster.name": self.name, "node.name": self.name,
            "http.port": self.port(), "transport.port": self.port("transport"), "path.data": self.data, "path.logs": self.folder / "logs",
            # Tests make more indices than a node of this size should have; a full disk of the machine is not their subject.
            "cluster.max_shards_per_node": 5000, "cluster.routing.allocation.disk.threshold_enabled": "false", **self.SETTINGS,
        }

    def command(self):
        return [self.program / "bin" / self.PROGRAM, *(word for key, value in self.settings().items() for word in ("-E", "%s=%s" % (key, value)))]

    def ready(self):
        try:
            with urllib.request.urlopen(self.request("/_cluster/health"), timeout=5, context=self.trusted()) as answer:
                return json.load(answer)["status"] in ("green", "yellow")
        except (urllib.error.HTTPError, ValueError, KeyError):
            return False

    def request(self, path):
        return urllib.request.Request(self.url() + path)

    def trusted(self):
        return None

    def url(self):
        return "http://" + self.address()

    def environment(self):
        return {self.VARIABLE: self.url()}


class Elasticsearch(Search):
    PROGRAM, COORDINATES, VERSION = "elasticsearch", "org.elasticsearch.distribution.integ-test-zip", "8.19.0"
    PREFIX, VARIABLE = "ES", "ZENTRAL_TEST_ELASTICSEARCH"
    SETTINGS = {"xpack.security.enabled": "false"}


class ElasticsearchTls(Elasticsearch):
    VARIABLE = "ZENTRAL_TEST_ELASTICSEARCH_TLS"
    SETTINGS = {
        "xpack.security.enabled": "true", "xpack.security.http.ssl.enabled": "true", "xpack.security.http.ssl.key": "tls/server.key",
        "xpack.security.http.ssl.certificate": "tls/server.pem", "xpack.security.autoconfiguration.enabled": "false",
    }

    def prepare(self):
        super().prepare()
        tls.certificates(self.folder / "tls")
        # It reads keys only from its own configuration.
        shutil.copytree(self.folder / "tls", self.folder / "config/tls", dirs_exist_ok=True)
        tls.password(self.folder)
        if not (self.folder / "config/elasticsearch.keystore").exists():
            self.as_server([self.program / "bin/elasticsearch-keystore", "create"])
            self.as_server(["sh", "-c", 'exec "$0" add -xf bootstrap.password <"$1"', self.program / "bin/elasticsearch-keystore", self.folder / "password"])

    def request(self, path):
        login = base64.b64encode(("%s:%s" % (USER, tls.password(self.folder))).encode()).decode()
        return urllib.request.Request(self.url() + path, headers={"Authorization": "Basic " + login})

    def trusted(self):
        return ssl.create_default_context(cafile=self.folder / "tls/ca.pem")

    def url(self):
        return "https://" + self.address()

    def environment(self):
        return {self.VARIABLE: self.url(), **tls.environment(self.VARIABLE, self.folder, USER)}


class OpenSearch(Search):
    PROGRAM, COORDINATES, VERSION = "opensearch", "org.opensearch.distribution.integ-test-zip", "2.19.3"
    PREFIX, VARIABLE = "OPENSEARCH", "ZENTRAL_TEST_OPENSEARCH"
