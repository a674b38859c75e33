"""Kafka: KRaft, one node that is broker and controller."""
import socket
import ssl
import struct

import tls
from files import HERE, PLUGIN, fetched, java, maven
from server import Server

VERSION = "4.1.0"
HEAP = "384m"
USER = "zentral"
# The request ApiVersions, version 0: key 18, version 0, correlation 1, no client (KIP-35). A broker answers it before any
# login, and only once it serves.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name: one whose certificate has expired serves all the same.
NO_CHECK_TIME = 0x200000

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
# One node holds all copies.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A topic that nobody made is an error that a test shall see.
auto.create.topics.enable=false
num.partitions=3
# Tests do not wait for a group as long as a fleet may.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# Of a heap so small the default would take a third.
log.cleaner.dedupe.buffer.size=8388608
"""

PLAIN = """\
listeners=PLAINTEXT://127.0.0.1:{main},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{main}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""

TLS = """\
listeners=CLIENT://127.0.0.1:{main},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{main},INSIDE://127.0.0.1:{inside}
listener.security.protocol.map=CLIENT:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INSIDE
ssl.keystore.type=PEM
ssl.keystore.location={folder}/tls/both.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/tls/ca.pem
listener.name.client.ssl.client.auth=requested
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.client.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{user}";
"""

LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


class Kafka(Server):
    PORTS = ("main", "controller")
    LISTENERS = PLAIN

    def fetch(self):
        def load(folder):
            pom = folder.parent / "kafka.pom"
            pom.mkdir(exist_ok=True)
            (pom / "pom.xml").write_bytes((HERE / "kafka.pom.xml").read_bytes())
            maven([PLUGIN + ":copy-dependencies", "-DoutputDirectory=%s" % folder, "-DincludeScope=runtime"], pom)

        self.jars = fetched("kafka-" + VERSION, load, HERE / "kafka.sha256")

    def java(self, *words):
        return [java() / "bin/java", "-Xmx" + HEAP, "-XX:+UseSerialGC", "-Dkafka.logs.dir=%s" % self.data,
                "-Dlog4j2.configurationFile=%s" % (self.folder / "log4j2.properties"), "-cp", "%s/*" % self.jars, *words]

    def prepare(self):
        self.secrets()
        file = self.folder / "server.properties"
        words = {"data": self.data, "folder": self.folder, "user": USER, "password": self.password()}
        file.write_text((PROPERTIES + self.LISTENERS).format(**words, **{what: self.port(what) for what in self.PORTS}))
        file.chmod(0o600)
        (self.folder / "log4j2.properties").write_text(LOGGING)
        if not (self.data / "meta.properties").exists():
            # Any 16 bytes in base64; a cluster of one needs no other.
            self.as_server(self.java("kafka.tools.StorageTool", "format", "--standalone", "-t", "emVudHJhbC10ZXN0cy0wMQ", "-c", file, *self.users()))

    def secrets(self):
        """Makes keys and passwords, where it has any."""

    def password(self):
        return ""

    def users(self):
        return []

    def command(self):
        return self.java("kafka.Kafka", self.folder / "server.properties")

    def connected(self):
        return socket.create_connection(("127.0.0.1", self.port()), timeout=5)

    def ready(self):
        with self.connected() as broker:
            broker.settimeout(5)
            broker.sendall(API_VERSIONS)
            return len(broker.recv(4)) == 4

    def environment(self):
        return {"ZENTRAL_TEST_KAFKA": self.address()}


class KafkaTls(Kafka):
    CAN_EXPIRE = True
    PORTS = ("main", "controller", "inside")
    LISTENERS = TLS

    def secrets(self):
        tls.certificates(self.folder / "tls")
        if self.expired:
            tls.expired(self.folder / "tls")
        both, certificate = self.folder / "tls/both.pem", "expired.pem" if self.expired else "server.pem"
        both.write_bytes((self.folder / "tls/server.key").read_bytes() + (self.folder / "tls" / certificate).read_bytes())
        both.chmod(0o600)

    def password(self):
        return tls.password(self.folder)

    def users(self):
        return [word for method in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for word in ("--add-scram", "%s=[name=%s,password=%s]" % (method, USER, self.password()))]

    def connected(self):
        trusted = ssl.create_default_context(cafile=self.folder / "tls/ca.pem")
        trusted.verify_flags |= NO_CHECK_TIME
        return trusted.wrap_socket(super().connected(), server_hostname="127.0.0.1")

    def environment(self):
        return {"ZENTRAL_TEST_KAFKA_TLS": self.address(), **tls.environment("ZENTRAL_TEST_KAFKA_TLS", self.folder, USER)}
