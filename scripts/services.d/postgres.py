"""PostgreSQL: the installed one, in a cluster of its own."""
import pathlib
import shutil
import signal
import subprocess
import time

import tls
from files import Refused, have
from server import Server

WANTED = "15"
USER = DATABASE = "zentral"
# Who administers the server. USER owns the database, and may make roles and databases, as a hosted server allows.
ADMIN = "postgres"
# Login of the plain one: whoever reaches the port. Login of the other: TLS and a password, nothing else.
OPEN = "host all,replication all 127.0.0.1/32 trust\n"
CLOSED = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
SETTINGS = {
    "listen_addresses": "127.0.0.1", "max_connections": "300", "shared_buffers": "64MB", "password_encryption": "scram-sha-256",
    # Tests stop it and start it often.
    "checkpoint_timeout": "30s", "log_checkpoints": "off",
}


def programs():
    """Where initdb and postgres lie: version 15, else the newest that is there."""
    def found():
        folders = [at.parent for at in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        folders.sort(key=lambda at: (at.parent.name == WANTED, float(at.parent.name)))
        on_path = shutil.which("initdb")
        return folders[-1] if folders else on_path and pathlib.Path(on_path).resolve().parent

    there = found()
    if not there:
        try:
            have("initdb", "postgresql", "the tests of state run on it")
        except Refused:
            pass  # Debian installs it beside PATH
        there = found()
    if not there:
        raise Refused("PostgreSQL is missing; install it: apt-get install postgresql")
    return there


class Postgres(Server):
    STOP = signal.SIGINT  # "fast": sessions are ended, not waited for
    WHOLE_GROUP = False
    LOGIN = OPEN

    def fetch(self):
        programs()

    def prepare(self):
        self.secrets()
        self.settle()
        if not (self.data / "PG_VERSION").exists():
            self.data.chmod(0o700)
            self.make()
        (self.data / "pg_hba.conf").write_text(self.LOGIN)

    def make(self):
        """Its data, where there is none."""
        self.as_server([programs() / "initdb", "-D", self.data, "-U", ADMIN, "-E", "UTF8", "--locale=C", "-A", "trust"])
        # By the server alone before it listens, a statement a line. Over a file: a command line shows the password to all.
        first = self.folder / "first.sql"
        first.touch(mode=0o600)
        first.write_text("CREATE ROLE %s LOGIN CREATEDB CREATEROLE%s\nCREATE DATABASE %s OWNER %s\n" % (USER, self.password(), DATABASE, USER))
        self.as_server(["sh", "-c", '"$0" --single -D "$1" postgres <"$2"', programs() / "postgres", self.data, first])
        first.unlink()

    def secrets(self):
        """Makes keys and passwords, where it has any."""

    def settle(self):
        """After SIGKILL: waits for the orphaned backends, and removes the lock file. Its owner may still be a zombie, which
        PostgreSQL takes for a running server."""
        until = time.monotonic() + 10
        while any(self.working(process) for process in pathlib.Path("/proc").glob("[0-9]*/cwd")) and time.monotonic() < until:
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def working(self, process):
        try:
            return process.readlink() == self.data
        except OSError:
            return False

    def password(self):
        return ""

    def settings(self):
        return {**SETTINGS, "port": self.port(), "unix_socket_directories": ""}

    def command(self):
        return [programs() / "postgres", "-D", self.data, *(word for key, value in self.settings().items() for word in ("-c", "%s=%s" % (key, value)))]

    def ready(self):
        asked = [programs() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port()), "-U", USER, "-d", DATABASE]
        return subprocess.run(asked, stdin=subprocess.DEVNULL, check=False).returncode == 0

    def url(self):
        return "postgres://%s@%s/%s" % (USER, self.address(), DATABASE)

    def environment(self):
        return {"ZENTRAL_TEST_POSTGRES": self.url()}


class PostgresStandby(Postgres):
    """Follows the plain one of the same word, and takes its place where it is told to by `SELECT pg_promote()`."""

    def make(self):
        first = Postgres(self.name.replace("postgres-standby", "postgres"))
        if not first.pid():
            raise Refused("%s is to be followed, and does not run" % first.name)
        self.as_server([programs() / "pg_basebackup", "-h", "127.0.0.1", "-p", str(first.port()), "-U", ADMIN, "-D", self.data, "-R", "-c", "fast"])

    def environment(self):
        return {}


class PostgresTls(Postgres):
    LOGIN = CLOSED

    def secrets(self):
        tls.certificates(self.folder / "tls")
        tls.password(self.folder)

    def password(self):
        return " PASSWORD '%s'" % tls.password(self.folder)

    def settings(self):
        folder = self.folder / "tls"
        return {**super().settings(), "ssl": "on", "ssl_cert_file": folder / "server.pem", "ssl_key_file": folder / "server.key", "ssl_ca_file": folder / "ca.pem"}

    def environment(self):
        return {"ZENTRAL_TEST_POSTGRES_TLS": self.url(), **tls.environment("ZENTRAL_TEST_POSTGRES_TLS", self.folder, USER)}
