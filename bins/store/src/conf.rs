//! `[stage.*]` of a store: the keys that every kind has, and which kind reads the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipe::config::{Config, Finding, Settings};
use probe::{CompileError, Program};

use crate::stores::{self, Reading, Store};

/// How long events are kept unless `keep` says otherwise.
pub const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// A store as it is configured, ready to take events.
pub struct Conf {
    /// Where events are kept.
    pub store: Box<dyn Store>,
    /// The word of its kind.
    pub kind: &'static str,
    /// How long they are kept.
    pub keep: Duration,
    /// Which are kept at all.
    pub chosen: Chosen,
}

/// Which events a store takes.
#[derive(Default)]
pub struct Chosen {
    /// Only what this matches.
    pub include: Option<Program>,
    /// Nothing that this matches.
    pub exclude: Option<Program>,
}

impl Conf {
    /// Reads one table.
    pub fn read(settings: &Settings, config: &Config) -> Result<Self, Vec<Finding>> {
        let mut settings = settings.clone();
        let words: Vec<&'static str> = stores::ALL.iter().map(|k| k.name).collect();
        let kind = match settings.has("kind") {
            true => settings.word("kind", &words),
            false => Some(stores::embedded::KIND.name),
        };
        let keep = settings.duration("keep").unwrap_or(KEEP);
        if keep < Duration::from_secs(86_400) {
            settings.fail("keep", "at least one day: retention goes by days");
        }
        // Whether it answers for all is the supervisor's and the search's business.
        let search = settings.bool("search").unwrap_or(false);
        let mut found = Vec::new();
        let mut program = |key: &str| read_program(&mut settings, key, config, &mut found);
        let chosen = Chosen { include: program("include"), exclude: program("exclude") };
        let Some(kind) = kind.and_then(stores::kind) else {
            // The other keys may belong to the kind that was meant: saying more would mislead.
            return Err(settings.finish().into_iter().filter(|f| f.key.ends_with("kind")).collect());
        };
        let store = (kind.open)(&mut settings, &Reading { config, keep });
        if search && store.as_ref().is_some_and(|store| store.finder().is_none()) {
            settings.fail("search", format!("a store of the kind `{}` cannot be searched", kind.name));
        }
        found.extend(settings.finish());
        match store {
            Some(store) if found.is_empty() => Ok(Self { store, kind: kind.name, keep, chosen }),
            _ => Err(found),
        }
    }
}

/// The jq program of a key: a string ending in `.jq` is a path, anything else a program.
fn read_program(settings: &mut Settings, key: &str, config: &Config, found: &mut Vec<Finding>) -> Option<Program> {
    let text = settings.str(key)?;
    let (source, name) = if text.ends_with(".jq") {
        let path = settings.base().join(&text);
        match config.text(&path) {
            Ok(source) => (source, path.display().to_string()),
            Err(why) => {
                settings.fail(key, format!("{}: {why}", path.display()));
                return None;
            }
        }
    } else {
        (text, format!("{key} of {}", settings.name()))
    };
    match probe::compile(&source, &name, &|path: &str| config.module(path)) {
        Ok(program) => Some(program),
        Err(CompileError { problems }) => {
            for p in problems {
                let drawn = p.to_string();
                let shown = drawn.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned());
                found.push(Finding::drawn(&p.file, p.line, p.column, key, &p.message, shown));
            }
            None
        }
    }
}

/// Where the embedded index of this configuration lies, for those who read it without its writer: of the store that
/// answers (`search = true`), else of the only one there is.
pub fn index_dir(config: &Config) -> Option<PathBuf> {
    let mut dirs = Vec::new();
    for stage in config.stages.iter().filter(|s| s.runs(pipe::config::StageKind::Store)) {
        let mut settings = stage.settings.clone();
        let kind = settings.str("kind").unwrap_or_else(|| stores::embedded::KIND.name.into());
        if kind == stores::embedded::KIND.name {
            let dir = settings.path("path").unwrap_or_else(|| stores::embedded::default_dir(config));
            dirs.push((settings.bool("search").unwrap_or(false), dir));
        }
    }
    // Without a configuration the usual place, if somebody has stored something there.
    let usual = || Some(stores::embedded::default_dir(config)).filter(|d: &PathBuf| Path::is_dir(d));
    dirs.sort_by_key(|(answers, _)| !answers);
    dirs.into_iter().next().map(|(_, dir)| dir).or_else(usual)
}
