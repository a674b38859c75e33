"""Sets of many probes, each said three times: as a configuration for us, as jq a line for jaq, as Sigma rules for rsigma.

names   `.type == … and .payload.name == "X" and (.payload.columns.k | test("…"))`, three probes a query name: hits grow with the set
quiet   the same, but all probes after the first ten ask for query names that no event has: hits held equal
present the same, but all probes after the first ten have a pattern that no event holds: hits held equal, candidates grow
ioc     `.type == … and (.payload.action | IN("added","snapshot")) and .payload.columns.sha256 == "…"`: ten of the hashes occur
regex   the same type and action for all, and a pattern with a literal in `cmdline`: ten of the literals occur
"""
import json
import random
import re
import shutil

from corpus import WORDS
from fleet import USB, query_names, table_of
from measure import WORK

# The event that shows that all before it has been dealt with, and the probe that chooses it.
MARKER = "bench_marker"
NAMES = 10_000  # query names in the corpus
HITTING = 10    # probes of `ioc` and `regex` that find something
A_FILE = 100    # probes in a file of the configuration
# Of each table a column and what a pattern for it is made of: about one event of the query in fifteen holds it.
APP = ("Firefox", "Slack", "Xcode", "Terminal", "Docker", "zoom\\.us", "Safari", "1Password", "Figma", "IntelliJ IDEA", "TeamViewer", "Übersicht")
PATTERNS = {
    "process": ("path", tuple("/%s\\.app/Contents" % app for app in APP)),
    "port": ("path", tuple("MacOS/%s$" % app for app in APP)), "launchd": ("program", tuple("^/[A-Z][a-z]+.*/%s\\.app" % app for app in APP)),
    "app": ("bundle_identifier", tuple("^com\\.vendor\\.%s" % app.lower().replace(" ", "") for app in APP)), "file": ("path", tuple("/%x[0-9a-f]+\\." % digit for digit in range(16))),
}


class Probe:
    """A name, and conditions that must all hold: (path, how, what). The second is the selective one."""

    def __init__(self, name, *conditions):
        self.name, self.conditions = name, conditions

    def ordered(self, order):
        """`type` as it is written (first), `selective` first, or `random`."""
        kind, selective, *rest = self.conditions
        if order == "type":
            return [kind, *rest, selective]
        if order == "selective":
            return [selective, *rest, kind]
        shuffled = list(self.conditions)
        random.Random(self.name).shuffle(shuffled)
        return shuffled

    def jq(self, order):
        return " and ".join(CONDITION_JQ[how](path, what) for path, how, what in self.ordered(order))

    def sigma(self, order):
        lines = ["title: %s" % self.name, "logsource: {product: bench}", "detection:", "  selection:"]
        lines += ["    " + CONDITION_SIGMA[how](path, what) for path, how, what in self.ordered(order)]
        return "\n".join(lines + ["  condition: selection", "level: low"])


# `json.dumps` writes what jq and YAML both read.
CONDITION_JQ = {
    "is": lambda path, what: ".%s == %s" % (path, json.dumps(what)),
    "in": lambda path, what: "(.%s | IN(%s))" % (path, ", ".join(json.dumps(one) for one in what)),
    "holds": lambda path, what: "(.%s | test(%s))" % (path, json.dumps(what, ensure_ascii=False)),
}
CONDITION_SIGMA = {
    "is": lambda path, what: "%s|cased: %s" % (path, json.dumps(what)),
    "in": lambda path, what: "%s|cased: [%s]" % (path, ", ".join(json.dumps(one) for one in what)),
    "holds": lambda path, what: "%s|re: %s" % (path, json.dumps(what, ensure_ascii=False)),
}
TYPE = ("type", "is", "osquery_result")


def names(count, _, kind="names"):
    """Three probes for each query name, each with a pattern of its own for the query's column."""
    # Without the first name: far more events have that one than any other.
    r, every, made = random.Random(3), query_names(NAMES)[1:], []
    for n in range(count):
        name = every[n // 3]
        column, patterns = PATTERNS[table_of(name)]
        pattern = patterns[int(r.random() * len(patterns))] if n % 3 else patterns[n // 3 % len(patterns)]
        if n >= HITTING and kind == "quiet":
            name = "other_" + name
        if n >= HITTING and kind == "present":
            pattern = "zz%d%s" % (n, pattern.strip("^$"))
        made.append(Probe("p%05d" % n, TYPE, ("payload.name", "is", name), ("payload.columns." + column, "holds", pattern)))
    return made


def ioc(count, corpus):
    """Hashes: those of ten events, and others."""
    r, seen = random.Random(4), some(corpus, rb'"sha256":"([0-9a-f]{64})"')
    hashes = seen + ["%064x" % r.getrandbits(256) for _ in range(count - len(seen))]
    action = ("payload.action", "in", ("added", "snapshot"))
    return [Probe("p%05d" % n, TYPE, ("payload.columns.sha256", "is", sha), action) for n, sha in enumerate(hashes[:count])]


def regex(count, corpus):
    """Patterns around a literal of its own each, in four shapes."""
    r, seen = random.Random(5), some(corpus, rb'field-trial-handle=([0-9a-f]{24})')
    literals = seen + ["%s_%s%d" % (WORDS[int(r.random() * len(WORDS))], WORDS[int(r.random() * len(WORDS))], n) for n in range(count - len(seen))]
    shapes = ("%s", "handle=%s( |$)", "[a-z]+=%s", "(^|[^0-9])%s")
    action = ("payload.action", "is", "added")
    return [Probe("p%05d" % n, TYPE, ("payload.columns.cmdline", "holds", shapes[n % 4] % literal), action) for n, literal in enumerate(literals[:count])]


def some(corpus, pattern):
    """What the first ten added results hold, each once."""
    found = []
    with open(corpus, "rb") as lines:
        for line in lines:
            if b'"type":"osquery_result"' in line and b'"action":"added","hostIdentifier"' in line:
                found += [hit.decode() for hit in re.findall(pattern, line)]
            if len(found) >= HITTING:
                return found[:HITTING]
    raise RuntimeError("%s holds too few of %s" % (corpus, pattern))


SCENARIOS = {"names": names, "ioc": ioc, "regex": regex, "quiet": lambda n, c: names(n, c, "quiet"), "present": lambda n, c: names(n, c, "present")}


class Rules:
    """Rules for the engines of `limits`, in files: `jaq` a line each, `sigma` as YAML."""

    def __init__(self, probes, folder, order="type"):
        self.jaq, self.sigma = folder / "filters.tsv", folder / "rules.yml"
        self.jaq.write_text("".join("%s\t%s\n" % (probe.name, probe.jq(order)) for probe in probes))
        self.sigma.write_text("\n---\n".join(probe.sigma(order) for probe in probes) + "\n")


def one_probe(folder):
    """`ONE_PROBE` as rules."""
    return Rules([Probe("one", TYPE, ("payload.name", "is", USB), ("payload.action", "is", "added"))], folder)


class Written(Rules):
    """A set in files: `config` for us besides."""

    def __init__(self, scenario, count, corpus, order="type"):
        probes = SCENARIOS[scenario](count, corpus) + [Probe("marker", ("type", "is", MARKER), ("payload.name", "is", MARKER))]
        self.folder = WORK / ("set-%s-%d-%s" % (scenario, count, order))
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "probes").mkdir(parents=True)
        self.config = self.folder / "pipeline.toml"
        self.config.write_text('version = 1\ndata = "none"\ninclude = ["probes/*.toml"]\n')
        for first in range(0, len(probes), A_FILE):
            tables = ["[probe.%s]\nfilter = '%s'\n" % (probe.name, probe.jq(order)) for probe in probes[first:first + A_FILE]]
            self.file(first).write_text("\n".join(tables))
        super().__init__(probes, self.folder, order)

    def file(self, probe):
        """Of the configuration, the one that holds this probe."""
        return self.folder / ("probes/%05d.toml" % (probe // A_FILE * A_FILE))

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
