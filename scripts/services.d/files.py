"""Folders, downloads, packages, the user that servers run as."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import pwd
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Maven's plugin that fetches; the newest that Maven 3.6 takes.
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
DOWNLOAD = 900  # seconds that one download may take


class Refused(Exception):
    """Something that a person must be told."""


def say(text):
    print("scripts/services: %s" % text, file=sys.stderr, flush=True)


def is_root():
    return os.geteuid() == 0


def reachable(folder):
    """Whether other users can get into it."""
    return all(at.stat().st_mode & 0o001 for at in [folder, *folder.parents] if at.exists())


def home():
    """Where everything lies. What root keeps to itself cannot be used by the user that servers run as."""
    given = os.environ.get("ZENTRAL_SERVICES")
    folder = pathlib.Path(given).resolve() if given else ROOT / "target/services"
    if is_root() and not reachable(folder):
        if given:
            raise Refused("%s: only root gets there, and servers run as `nobody`" % folder)
        folder = pathlib.Path("/var/tmp/zentral-services-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def runner():
    """What `subprocess` takes to run something as the servers' user."""
    if not is_root():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def give(folder):
    """Gives a folder and all in it to the servers' user."""
    if not is_root():
        return
    nobody = pwd.getpwnam("nobody")
    for at, _, names in os.walk(folder):
        for path in [at, *(os.path.join(at, name) for name in names)]:
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


@contextlib.contextmanager
def locked(name):
    """One at a time, among all processes that use this folder."""
    folder = home() / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / name, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command, **more):
    """Runs a command to its end; a failure is told with what it printed."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Refused("%s failed (%d):\n%s" % (command[0], done.returncode, (done.stdout + done.stderr)[-2000:].strip()))
    return done.stdout


def have(command, packages, why):
    """The path of a program; where it is missing and apt may be used, it is installed."""
    found = shutil.which(command)
    become = [] if is_root() else ["sudo", "-n"]
    may = shutil.which("apt-get") and (is_root() or shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0)
    if not found and may:
        with locked("apt"):
            say("installing %s (%s)" % (packages, why))
            subprocess.run([*become, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
            run([*become, *install, *packages.split()], timeout=DOWNLOAD)
        found = shutil.which(command)
    if not found:
        raise Refused("`%s` is missing (%s); install it: apt-get install %s" % (command, why, packages))
    return found


def checked(folder, sums):
    """Compares the files of a folder with a list `SHA-256  NAME`; nothing else may be there."""
    wanted = dict(reversed(line.split()) for line in sums.read_text().splitlines())
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise Refused("%s: SHA-256 is %s, %s says %s" % (folder / name, found.get(name), sums, wanted.get(name)))


def fetched(name, fetch, sums, unpack=None):
    """The folder `dist/NAME`, made once: fetched into a folder beside it, compared with its checksums, then renamed."""
    folder = home() / "dist" / name
    if folder.exists():
        return folder
    with locked("dist-" + name):
        if folder.exists():
            return folder
        loading, made = folder.with_suffix(".loading"), folder.with_suffix(".made")
        for left in (loading, made):
            shutil.rmtree(left, ignore_errors=True)
        loading.mkdir(parents=True)
        say("downloading %s" % name)
        fetch(loading)
        if sums:
            checked(loading, sums)
        if unpack:
            unpack(loading, made)
            shutil.rmtree(loading)
        else:
            made = loading
        made.rename(folder)
        return folder


def java():
    """A JDK's folder: Debian's 17, which all the servers run on, else the one that is there."""
    for folder in sorted(pathlib.Path("/usr/lib/jvm").glob("java-17-openjdk-*")) if pathlib.Path("/usr/lib/jvm").exists() else []:
        if (folder / "bin/java").exists():
            return folder
    given = os.environ.get("JAVA_HOME")
    if given and (pathlib.Path(given) / "bin/java").exists():
        return pathlib.Path(given)
    return pathlib.Path(have("java", "default-jdk-headless", "the servers run on it")).resolve().parent.parent


def maven(arguments, folder):
    have("mvn", "maven", "it fetches the servers")
    run(["mvn", "-q", "-B", *arguments], cwd=folder, timeout=DOWNLOAD)
