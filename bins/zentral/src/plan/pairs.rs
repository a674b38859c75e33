//! The probes of the old and the new configuration, by name: which are the same, and what is to be run for each side.

use std::collections::{BTreeMap, BTreeSet};

use act::conditions::{Conditions, Rules};
use pipe::StageError;
use pipe::config::{Config, ProbeConf, render};
use probe::{FilterSet, Spec};

/// How a probe stands in the two configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In both, with the same text, options and actions.
    Same,
    /// In both.
    Changed,
    /// Only in the new one.
    New,
    /// Only in the old one.
    Removed,
}

impl Kind {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Removed => "removed",
        }
    }
}

/// One probe.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Its name.
    pub name: String,
    /// See [`Kind`].
    pub kind: Kind,
    /// The keys of its table that differ.
    pub keys: Vec<&'static str>,
    /// `rev` in the old configuration.
    pub old: Option<String>,
    /// `rev` in the new one.
    pub new: Option<String>,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
}

/// Probes that run together, and what they ask for.
pub struct Side {
    /// Compiled.
    pub set: FilterSet,
    /// The pair of each, by its place in the set.
    pub pairs: Vec<usize>,
    /// Numbers of the actions of each, by its place in the set.
    pub acts: Vec<Vec<usize>>,
    /// What has to hold for a match to be acted upon.
    pub conditions: Conditions,
}

/// Everything that runs. Whatever is the same in both runs once.
pub struct Pairs {
    /// By name.
    pub pairs: Vec<Pair>,
    /// Names of all actions.
    pub actions: Vec<String>,
    /// For how long each of them gathers, old and new, in ms.
    pub digests: Vec<[Option<i64>; 2]>,
    /// The same in both.
    pub shared: Side,
    /// Of the old configuration only.
    pub old: Side,
    /// Of the new one only.
    pub new: Side,
}

impl Pairs {
    /// Compares the probes and compiles them.
    ///
    /// # Errors
    /// A filter of the old configuration does not compile; those of the new one have been checked.
    pub fn of(old: &Config, new: &Config) -> Result<Self, StageError> {
        let names: BTreeSet<&String> = old.probes.keys().chain(new.probes.keys()).collect();
        let mut actions = BTreeMap::new();
        let (mut shared, mut olds, mut news) = (Planned::default(), Planned::default(), Planned::default());
        let mut pairs = Vec::new();
        for (i, name) in names.into_iter().enumerate() {
            let (was, is) = (old.probes.get(name), new.probes.get(name));
            let (was_spec, mut is_spec) = (was.map(|p| filter::spec(old, p)), is.map(|p| filter::spec(new, p)));
            let pair = Pair::of(name, was.zip(was_spec.as_ref()), is.zip(is_spec.as_ref()));
            if let (Some(was), Some(is)) = (&was_spec, &mut is_spec)
                && was.query_name.is_some()
                && is.query_name.is_some()
            {
                // Results of the new query do not exist yet: those of the old one stand for them.
                is.query_name.clone_from(&was.query_name);
            }
            match pair.kind {
                Kind::Same => shared.add(i, is_spec.zip(is), &mut actions),
                _ => {
                    olds.add(i, was_spec.zip(was), &mut actions);
                    news.add(i, is_spec.zip(is), &mut actions);
                }
            }
            pairs.push(pair);
        }
        let actions = numbered(actions);
        let digests = actions.iter().map(|name| [old, new].map(|config| digest(config, name))).collect();
        let (shared, old, new) = (shared.build(new)?, olds.build(old)?, news.build(new)?);
        Ok(Self { pairs, actions, digests, shared, old, new })
    }

    /// Whether no probe differs, nor how what they ask for is told: then there is nothing to run.
    pub fn same(&self) -> bool {
        self.pairs.iter().all(|pair| pair.kind == Kind::Same) && !self.gather_otherwise()
    }

    /// Whether an action gathers matches for another time than it did.
    pub fn gather_otherwise(&self) -> bool {
        self.digests.iter().any(|[old, new]| old != new)
    }
}

impl Pair {
    fn of(name: &str, old: Option<(&ProbeConf, &Spec)>, new: Option<(&ProbeConf, &Spec)>) -> Self {
        let (mut keys, mut notes) = (Vec::new(), Vec::new());
        let kind = match (old, new) {
            (Some(old), Some(new)) => {
                keys = differing(old, new);
                if keys.is_empty() { Kind::Same } else { Kind::Changed }
            }
            (None, _) => Kind::New,
            (_, None) => Kind::Removed,
        };
        let query = |side: Option<(&ProbeConf, &Spec)>| side.and_then(|(_, spec)| spec.query_name.clone());
        match (query(old), query(new)) {
            (Some(old), Some(new)) if old != new => {
                notes.push("its query is another: judged by the results of the old one".to_owned());
            }
            _ => {}
        }
        let rev = |side: Option<(&ProbeConf, &Spec)>| side.map(|(_, spec)| spec.rev.clone());
        Self { name: name.to_owned(), kind, keys, old: rev(old), new: rev(new), notes }
    }
}

/// The keys in which two probes differ, as far as they decide what matches and what is done about it.
fn differing((old, was): (&ProbeConf, &Spec), (new, is): (&ProbeConf, &Spec)) -> Vec<&'static str> {
    let until = |probe: &ProbeConf| probe.until.as_ref().map(|until| until.source.clone());
    let all = [
        ("filter", old.filter.source != new.filter.source),
        ("until", until(old) != until(new)),
        ("scope", old.scope != new.scope),
        ("query", was.query_name != is.query_name),
        ("by", was.by != is.by),
        ("first_run", was.first_run != is.first_run),
        ("severity", was.severity != is.severity),
        ("shadow", was.shadow != is.shadow),
        ("act", old.act != new.act),
        ("window", old.window != new.window),
        ("throttle", old.throttle != new.throttle),
    ];
    let mut keys: Vec<&'static str> = all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    if keys.is_empty() && was.rev != is.rev {
        keys.push("import");
    }
    keys
}

/// What goes into a side.
#[derive(Default)]
struct Planned {
    specs: Vec<Spec>,
    pairs: Vec<usize>,
    acts: Vec<Vec<usize>>,
    rules: Vec<(String, Rules)>,
}

impl Planned {
    fn add(&mut self, pair: usize, probe: Option<(Spec, &ProbeConf)>, actions: &mut BTreeMap<String, usize>) {
        let Some((spec, conf)) = probe else { return };
        self.rules.push((spec.name.clone(), Rules::of(conf)));
        let number = |name: &String| {
            let next = actions.len();
            *actions.entry(name.clone()).or_insert(next)
        };
        self.acts.push(spec.act.iter().map(number).collect());
        self.pairs.push(pair);
        self.specs.push(spec);
    }

    fn build(self, config: &Config) -> Result<Side, StageError> {
        let set = FilterSet::build(self.specs, &|path: &str| config.module(path))
            .map_err(|_| StageError::usage(format!("filters are wrong:\n{}", render(&filter::findings(config)))))?;
        Ok(Side { set, pairs: self.pairs, acts: self.acts, conditions: self.rules.into_iter().collect() })
    }
}

/// For how long an action gathers matches; what else stands in its table is for `act` to read.
fn digest(config: &Config, action: &str) -> Option<i64> {
    let time = config.actions.get(action)?.clone().duration("digest")?;
    i64::try_from(time.as_millis()).ok()
}

fn numbered(actions: BTreeMap<String, usize>) -> Vec<String> {
    let mut names: Vec<(usize, String)> = actions.into_iter().map(|(name, i)| (i, name)).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n[action.a]\nkind = \"file\"\n{text}")).unwrap();
        Config::load(&path, None).map_err(|found| render(&found)).unwrap().0
    }

    #[test]
    fn every_difference_is_named_by_its_key() {
        let base = "filter = 'true'\nscope = { units = [] }\nquery = { sql = \"select 1\" }\n";
        let old = config(&format!("[probe.p]\n{base}[probe.gone]\nfilter = '1'\n"));
        for (text, keys) in [
            (base.to_owned(), &[][..]),
            (base.replace("true", "false"), &["filter"]),
            (base.replace("units = []", "platforms = [\"macos\"]"), &["scope"]),
            (base.replace("select 1", "select 2"), &["query"]),
            (format!("{base}by = '.id'\n"), &["by"]),
            (format!("{base}first_run = true\nseverity = \"major\"\n"), &["first_run", "severity"]),
            (format!("{base}shadow = true\nact = [\"a\"]\n"), &["shadow", "act"]),
            (format!("{base}until = 'false'\nthrottle = \"1h\"\n"), &["until", "throttle"]),
            (format!("{base}window = {{ count = 2, within = \"1m\" }}\n"), &["window"]),
        ] {
            let new = config(&format!("[probe.p]\n{text}[probe.one]\nfilter = '1'\n"));
            let pairs = Pairs::of(&old, &new).unwrap();
            let kinds: Vec<Kind> = pairs.pairs.iter().map(|p| p.kind).collect();
            let same = if keys.is_empty() { Kind::Same } else { Kind::Changed };
            assert_eq!(kinds, [Kind::Removed, Kind::New, same], "{text}");
            assert_eq!(pairs.pairs[2].keys, keys, "{text}");
            let sizes = [pairs.shared.set.len(), pairs.old.set.len(), pairs.new.set.len()];
            assert_eq!(sizes, if keys.is_empty() { [1, 1, 1] } else { [0, 2, 2] }, "{text}");
            // A query that has never run is stood for by the one that has.
            let names: Vec<_> =
                [&pairs.old, &pairs.new].iter().map(|s| s.set.spec(1).map(|s| s.query_name.clone())).collect();
            assert_eq!(names[0], names[1]);
            assert_eq!(pairs.pairs[2].notes.len(), usize::from(keys == ["query"]));
        }
    }
}
