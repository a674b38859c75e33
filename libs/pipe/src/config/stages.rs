//! `[stage.*]`, `[topics]` and `[topic.*]`: what runs, what it reads and writes, and how much is kept.

use std::time::Duration;

use super::Settings;
use crate::topic::Class;

/// Which program a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// Listens to agents.
    Receive,
    /// Makes events of one shape.
    Normalize,
    /// Asks jq which events matter.
    Filter,
    /// Tells people and machines.
    Act,
    /// Keeps everything searchable.
    Store,
}

impl StageKind {
    /// All of them, by the word that `run` takes.
    pub const ALL: [(&'static str, Self); 5] = [
        ("receive", Self::Receive),
        ("normalize", Self::Normalize),
        ("filter", Self::Filter),
        ("act", Self::Act),
        ("store", Self::Store),
    ];

    /// How long its outputs still take lines when room gets scarce (design § 3).
    pub fn class(self) -> Class {
        match self {
            Self::Receive => Class::Source,
            Self::Act => Class::Outcome,
            Self::Normalize | Self::Filter | Self::Store => Class::Between,
        }
    }

    /// The word that `run` takes.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, k)| *k == self).map_or("", |(w, _)| w)
    }
}

/// Where lines come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// stdin or stdout.
    Standard,
    /// A disk topic.
    Topic(String),
}

impl Place {
    /// `-` or `topic:NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Standard);
        }
        match text.split_once(':') {
            Some(("topic", name)) if super::is_name(name) => Ok(Self::Topic(name.to_owned())),
            Some(("topic", name)) => Err(format!("`{name}` is no name of a topic ([a-z0-9][a-z0-9-]{{0,62}})")),
            Some(("kafka" | "registry", _)) => Err(format!("`{text}` is not supported by this version")),
            _ => Err(format!("`{text}` is neither - nor topic:NAME")),
        }
    }

    /// The topic's name, if it is one.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Topic(name) => Some(name),
            Self::Standard => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Topic(name) => write!(f, "topic:{name}"),
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
    /// Its program.
    pub kind: StageKind,
    /// Inputs.
    pub from: Vec<Place>,
    /// Main output.
    pub to: Option<Place>,
    /// Output of a filter's matches.
    pub matches: Option<Place>,
    /// At a topic's limit.
    pub lag: Lag,
    /// Where a new reader starts: `first`, `last` or an age; none: the kind's default.
    pub start: Option<String>,
    /// All keys of the table; those above are marked as known.
    pub settings: Settings,
}

impl StageConf {
    /// Names of the topics that it writes.
    pub fn writes(&self) -> impl Iterator<Item = &str> {
        self.to.iter().chain(&self.matches).filter_map(Place::topic)
    }

    pub(super) fn read(mut table: Settings) -> (Option<Self>, Settings) {
        let name = table.name().to_owned();
        let words: Vec<&'static str> = StageKind::ALL.iter().map(|(w, _)| *w).collect();
        let word = if table.has("run") {
            if table.str("run").is_some_and(|run| run.contains('|')) {
                table.fail("run", "joined stages are not supported by this version");
                return (None, table);
            }
            table.word("run", &words)
        } else {
            table.str("run");
            let word = words.iter().find(|w| **w == name).copied();
            if word.is_none() {
                table.fail("", format!("needs the key `run` (one of {})", words.join(", ")));
            }
            word
        };
        let kind = StageKind::ALL.iter().find(|(w, _)| Some(*w) == word).map(|(_, k)| *k);
        let mut places = |key: &str| {
            let texts = table.strings(key);
            let mut all = Vec::new();
            for text in &texts {
                match Place::parse(text) {
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
        let start = table.str("start");
        if let Some(start) = &start
            && !matches!(start.as_str(), "first" | "last")
            && super::parse_duration(start).is_none()
        {
            table.fail("start", "`start` is \"first\", \"last\" or an age such as \"7d\"");
        }
        let Some(kind) = kind else { return (None, table) };
        if kind == StageKind::Receive && !from.is_empty() {
            table.fail("from", "receive listens and reads no topic");
        }
        if kind != StageKind::Receive && from.is_empty() {
            table.fail("", "needs the key `from`");
        }
        if kind == StageKind::Store && !to.is_empty() {
            table.fail("to", "a store writes no topic");
        }
        if matches!(kind, StageKind::Receive | StageKind::Normalize | StageKind::Filter) && to.is_empty() {
            table.fail("", "needs the key `to`");
        }
        if kind != StageKind::Filter && !matches.is_empty() {
            table.fail("matches", "only a filter has matches");
        }
        let (to, matches, settings) = (to.pop(), matches.pop(), table.clone());
        (Some(Self { name, kind, from, to, matches, lag, start, settings }), table)
    }
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
