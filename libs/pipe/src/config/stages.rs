//! `[stage.*]`, `[topics]` and `[topic.*]`: what runs, what it reads and writes, and how much is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::{Foreign, Settings, joined};
use crate::topic::Class;

/// A machine is not called silent sooner.
const SILENT_MIN: Duration = Duration::from_secs(30 * 60);

/// The most instances of a stage on one machine.
const REPLICAS_MAX: i64 = 64;

/// Which program a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// Listens to agents.
    Receive,
    /// Asks other servers what they know of machines.
    Pull,
    /// Makes events of one shape.
    Normalize,
    /// Asks jq which events matter.
    Filter,
    /// Tells people and machines.
    Act,
    /// Keeps everything searchable.
    Store,
    /// Shows people what there is. No line passes it.
    Console,
    /// A program of the user's own: `run` is a list, no word.
    Foreign,
}

impl StageKind {
    /// All of them, by the word that `run` takes.
    pub const ALL: [(&'static str, Self); 7] = [
        ("receive", Self::Receive),
        ("pull", Self::Pull),
        ("normalize", Self::Normalize),
        ("filter", Self::Filter),
        ("act", Self::Act),
        ("store", Self::Store),
        ("console", Self::Console),
    ];

    /// How long its outputs still take lines when room gets scarce (design § 3).
    pub fn class(self) -> Class {
        match self {
            Self::Receive | Self::Pull | Self::Foreign => Class::Source,
            Self::Act => Class::Outcome,
            Self::Normalize | Self::Filter | Self::Store | Self::Console => Class::Between,
        }
    }

    /// The word that `run` takes; of a foreign program what it is called.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, k)| *k == self).map_or("foreign", |(w, _)| w)
    }

    /// The kind that this word of `run` means.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(w, _)| *w == word).map(|(_, kind)| *kind)
    }

    /// The place of a kind in the flow of lines; a foreign program is a source, and they stand first.
    pub fn flow(self) -> usize {
        Self::ALL.iter().position(|(_, kind)| *kind == self).unwrap_or(0)
    }
}

/// What was changed in the registry, as an input.
const CHANGES: &str = "registry:changes";

/// Where lines come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// stdin or stdout.
    Standard,
    /// A disk topic.
    Topic(String),
    /// A topic of Kafka.
    Kafka(String),
    /// What was changed in the registry; only to be read.
    Changes,
}

impl Place {
    /// `-`, `topic:NAME`, `kafka:NAME` or `registry:changes`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        if text == CHANGES {
            return Ok(Self::Changes);
        }
        match text.split_once(':') {
            Some(("topic", name)) if super::is_name(name) => Ok(Self::Topic(name.to_owned())),
            Some(("kafka", name)) if super::is_name(name) => Ok(Self::Kafka(name.to_owned())),
            Some(("topic" | "kafka", name)) => {
                Err(format!("`{name}` is no name of a topic ([a-z0-9][a-z0-9-]{{0,62}})"))
            }
            Some(("registry", _)) => Err(format!("of the registry there is only `{CHANGES}`")),
            _ => Err(format!("`{text}` is neither -, topic:NAME nor kafka:NAME")),
        }
    }

    /// The name of the disk topic, if it is one.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Topic(name) => Some(name),
            Self::Standard | Self::Kafka(_) | Self::Changes => None,
        }
    }

    /// The name of the topic of Kafka, if it is one.
    pub fn kafka(&self) -> Option<&str> {
        match self {
            Self::Kafka(name) => Some(name),
            Self::Standard | Self::Topic(_) | Self::Changes => None,
        }
    }

    /// Whether lines stay there, to be read by others.
    pub fn is_topic(&self) -> bool {
        matches!(self, Self::Topic(_) | Self::Kafka(_))
    }

    /// As an output: whatever can be written to.
    pub fn output(text: &str) -> Result<Self, String> {
        match Self::parse(text)? {
            Self::Changes => Err(format!("`{CHANGES}` is written by whoever changes something, not by a stage")),
            place => Ok(place),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Topic(name) => write!(f, "topic:{name}"),
            Self::Kafka(name) => write!(f, "kafka:{name}"),
            Self::Changes => f.write_str(CHANGES),
        }
    }
}

/// What a stage does when a topic that it reads is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lag {
    /// Pressure goes up to `receive`.
    #[default]
    Block,
    /// Passed over to the oldest line kept, with an event and a count.
    Skip,
}

/// One stage.
#[derive(Debug, Clone)]
pub struct StageConf {
    /// Its name: of its state, its socket, its metrics.
    pub name: String,
    /// Its programs, in the order in which lines pass them; several are joined in one process.
    pub kinds: Vec<StageKind>,
    /// The source that it asks, if it is a `pull`.
    pub source: Option<String>,
    /// The program of the user's own, if it is one.
    pub foreign: Option<Foreign>,
    /// Inputs.
    pub from: Vec<Place>,
    /// Main output.
    pub to: Option<Place>,
    /// Output of a filter's matches.
    pub matches: Option<Place>,
    /// At a topic's limit.
    pub lag: Lag,
    /// Of a stage that normalises: a machine of which a source has not heard for so long is silent.
    pub silent: Option<Duration>,
    /// Of a stage that normalises: the file that says where addresses are.
    pub geo: Option<PathBuf>,
    /// So many instances of it share the partitions of what it reads.
    pub replicas: u32,
    /// Where a new reader starts: `first`, `last` or an age; none: the kind's default.
    pub start: Option<String>,
    /// All keys of the table; those above are marked as known.
    pub settings: Settings,
}

impl StageConf {
    /// Whether it runs this program, alone or joined with others.
    pub fn runs(&self, kind: StageKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// What `run` says: `filter`, or `normalize | filter`.
    pub fn words(&self) -> String {
        joined::words(&self.kinds)
    }

    /// How long its outputs still take lines when room gets scarce (design § 3).
    pub fn class(&self) -> Class {
        self.kinds.last().map_or(Class::Between, |kind| kind.class())
    }

    /// Its place in the flow of lines, from 0.
    pub fn flow(&self) -> usize {
        self.kinds.first().map_or(0, |kind| kind.flow())
    }

    /// The processes that it is, each by its number: one without, or `replicas` of them from 1.
    pub fn instances(&self) -> impl Iterator<Item = Option<u32>> + use<> {
        let several = self.replicas > 1;
        (1..=self.replicas).map(move |n| several.then_some(n))
    }

    /// What a process of it is called in status, metrics, logs and at its socket: `sift`, or `sift-2` of several.
    pub fn process(&self, instance: Option<u32>) -> String {
        process_name(&self.name, instance)
    }

    /// The name of its first process, which answers as well as any other.
    pub fn first(&self) -> String {
        self.process((self.replicas > 1).then_some(1))
    }

    /// Names of the disk topics that it writes.
    pub fn writes(&self) -> impl Iterator<Item = &str> {
        self.outputs().filter_map(Place::topic)
    }

    /// Where it writes to.
    pub fn outputs(&self) -> impl Iterator<Item = &Place> {
        self.to.iter().chain(&self.matches)
    }

    /// The topics that it reads, on disk and in Kafka.
    pub fn inputs(&self) -> impl Iterator<Item = &Place> {
        self.from.iter().filter(|place| place.is_topic())
    }

    /// Whether it reads or writes a topic of Kafka.
    pub fn uses_kafka(&self) -> bool {
        self.from.iter().chain(self.outputs()).any(|place| place.kafka().is_some())
    }

    pub(super) fn read(mut table: Settings) -> (Option<Self>, Settings) {
        let name = table.name().to_owned();
        let (kinds, source) = kinds(&mut table, &name);
        let mut places = |key: &str| {
            let texts = table.strings(key);
            let mut all = Vec::new();
            let parse = if key == "from" { Place::parse } else { Place::output };
            for text in &texts {
                match parse(text) {
                    Ok(Place::Changes) if all.contains(&Place::Changes) => {
                        table.fail_word(key, text, format!("`{text}` stands here twice"));
                    }
                    Ok(Place::Standard) => table.fail(key, "a stage of a pipeline reads and writes topics, not -"),
                    Ok(place) => all.push(place),
                    Err(why) => table.fail(key, why),
                }
            }
            all
        };
        let (from, mut to, mut matches) = (places("from"), places("to"), places("matches"));
        for (key, list) in [("to", &to), ("matches", &matches)] {
            if list.len() > 1 {
                table.fail(key, "one output, not a list");
            }
        }
        let lag = match table.word("lag", &["block", "skip"]) {
            Some("skip") => Lag::Skip,
            _ => Lag::Block,
        };
        let replicas = table.int("replicas").unwrap_or(1);
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            table.fail("replicas", format!("from 1 to {REPLICAS_MAX}"));
        }
        let replicas = u32::try_from(replicas).unwrap_or(1);
        let start = table.str("start");
        if let Some(start) = &start
            && !matches!(start.as_str(), "first" | "last")
            && super::parse_duration(start).is_none()
        {
            table.fail("start", "`start` is \"first\", \"last\" or an age such as \"7d\"");
        }
        let Some(kinds) = kinds else { return (None, table) };
        let normalizes = kinds.contains(&StageKind::Normalize);
        let (silent, geo) = if normalizes { (table.duration("silent"), table.path("geo")) } else { (None, None) };
        if silent.is_some_and(|after| after < SILENT_MIN) {
            table.fail("silent", "at least 30m: what tells that a machine speaks is said every 10 minutes");
        }
        let runs = |kind| kinds.contains(&kind);
        let foreign = if runs(StageKind::Foreign) { Foreign::read(&mut table) } else { None };
        if runs(StageKind::Foreign) && foreign.is_none() {
            return (None, table);
        }
        if runs(StageKind::Foreign) && !from.is_empty() {
            table.fail("from", "a program of your own is a source in this version, and a source reads no topic");
        }
        if runs(StageKind::Receive) && !from.is_empty() {
            table.fail("from", "receive listens and reads no topic");
        }
        for (key, places) in [("from", &from), ("to", &to)] {
            if runs(StageKind::Console) && !places.is_empty() {
                table.fail(key, "no line passes the console: it asks the store and the state");
            }
        }
        let sourceless = [StageKind::Receive, StageKind::Pull, StageKind::Foreign, StageKind::Console];
        if !sourceless.into_iter().any(runs) && from.is_empty() {
            table.fail("", "needs the key `from`");
        }
        if runs(StageKind::Store) && !to.is_empty() {
            table.fail("to", "a store writes no topic");
        }
        if ![StageKind::Act, StageKind::Store, StageKind::Console].into_iter().any(runs) && to.is_empty() {
            table.fail("", "needs the key `to`");
        }
        if !runs(StageKind::Filter) && !matches.is_empty() {
            table.fail("matches", "only a filter has matches");
        }
        let (to, matches, settings) = (to.pop(), matches.pop(), table.clone());
        (
            Some(Self { name, kinds, source, foreign, from, to, matches, lag, silent, geo, replicas, start, settings }),
            table,
        )
    }
}

/// See [`StageConf::process`].
pub fn process_name(stage: &str, instance: Option<u32>) -> String {
    instance.map_or_else(|| stage.to_owned(), |instance| format!("{stage}-{instance}"))
}

/// What a stage runs: the words of `run`, else its own name. A `pull` says what it asks as well.
fn kinds(table: &mut Settings, name: &str) -> (Option<Vec<StageKind>>, Option<String>) {
    let words = StageKind::ALL.map(|(word, _)| word);
    if table.has("run") && table.peek("run").is_none() {
        return (Some(vec![StageKind::Foreign]), None);
    }
    let run = table.str("run");
    let asked = run.as_ref().and_then(|run| run.trim().strip_prefix("pull ")).map(|source| source.trim().to_owned());
    let word = match run {
        Some(run) if run.contains('|') => return (joined::read(table, &run), None),
        Some(_) if asked.is_some() => Some(StageKind::Pull.word()),
        _ if table.has("run") => table.word("run", &words),
        _ => {
            let word = words.into_iter().find(|word| *word == name);
            if word.is_none() {
                table.fail("", format!("needs the key `run` (one of {})", words.join(", ")));
            }
            word
        }
    };
    let kind = word.and_then(StageKind::of);
    if kind == Some(StageKind::Pull) && asked.as_deref().is_none_or(|source| !super::is_name(source)) {
        table.fail("run", "`pull` needs the name of a source: run = \"pull NAME\"");
    }
    (kind.map(|kind| vec![kind]), asked)
}

/// How much of a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConf {
    /// What every stage has read goes when it is older …
    pub keep_age: Duration,
    /// … or when the topic is larger, in bytes.
    pub keep_size: u64,
    /// At this size nothing more is taken, in bytes.
    pub limit: u64,
    /// Nor when the disk has less room than this, in bytes.
    pub reserve: u64,
}

impl Default for TopicConf {
    fn default() -> Self {
        Self { keep_age: Duration::from_secs(7 * 86_400), keep_size: 20 << 30, limit: 50 << 30, reserve: 2 << 30 }
    }
}

impl TopicConf {
    pub(super) fn read(table: &mut Settings, defaults: &Self) -> Self {
        let mut conf = defaults.clone();
        if let Some(mut keep) = table.table("keep") {
            conf.keep_age = keep.duration("age").unwrap_or(conf.keep_age);
            conf.keep_size = keep.size("size").unwrap_or(conf.keep_size);
            table.absorb(keep);
        }
        conf.limit = table.size("limit").unwrap_or(conf.limit);
        conf.reserve = table.size("reserve").unwrap_or(conf.reserve);
        conf
    }
}
