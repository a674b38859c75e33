//! The probes that ship, read as those of a configuration are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::json;
use pipe::config::{Config, ProbeConf, render};
use probe::examples::{self, Want};
use probe::{Cost, FilterSet, Standing};
use shipped::probes::{PROBES, Probe};

use crate::app::held;
use crate::specs::Gate;

/// CPU time that is spent on measuring a filter.
const SPEND: Duration = Duration::from_millis(3);
/// Examples that it is measured over.
const MEASURED_MAX: usize = 20;

/// One of them.
#[derive(Debug)]
pub struct Item {
    /// Its files.
    pub files: &'static Probe,
    /// Its table.
    pub conf: ProbeConf,
    /// What its filter's comment begins with, and the rest of that comment.
    pub title: String,
    pub why: String,
    /// Who tells what it matches, by its examples: `osquery`, `santa`, …, `zentral` where the hub itself does.
    pub sources: Vec<String>,
}

/// All of them, by name. What was read once stays; what could not be read is tried again when it is asked for again.
static SHELF: Mutex<Option<Arc<Vec<Item>>>> = Mutex::new(None);

/// All of them. The error is what to tell a person.
pub fn all() -> Result<Arc<Vec<Item>>, String> {
    let mut shelf = held(&SHELF);
    if let Some(all) = shelf.as_ref() {
        return Ok(all.clone());
    }
    let all = Arc::new(read()?);
    *shelf = Some(all.clone());
    Ok(all)
}

/// A configuration is read from files, so they are written for a moment.
fn read() -> Result<Vec<Item>, String> {
    let cannot = |e: std::io::Error| format!("The probes that ship cannot be read: {e}.");
    let dir = tempfile::Builder::new().prefix("zentral-shipped-").tempdir().map_err(cannot)?;
    let main = dir.path().join("pipeline.toml");
    std::fs::write(&main, "version = 1\ninclude = [\"probes/*.toml\"]\n").map_err(cannot)?;
    let folder = dir.path().join("probes");
    std::fs::create_dir(&folder).map_err(cannot)?;
    for (name, text) in PROBES.iter().flat_map(Probe::files) {
        std::fs::write(folder.join(name), text).map_err(cannot)?;
    }
    let loaded = Config::load(&main, None);
    let (mut config, _) = loaded.map_err(|found| format!("The probes that ship are wrong:\n{}", render(&found)))?;
    let item = |files: &'static Probe| {
        let conf = config.probes.remove(files.name)?;
        let (title, why) = probe::describe(files.filter);
        Some(Item { files, sources: sources(files), conf, title, why })
    };
    Ok(PROBES.iter().filter_map(item).collect())
}

fn sources(files: &Probe) -> Vec<String> {
    let matching = examples::read(files.examples).examples;
    let matching = matching.iter().filter(|example| example.want != Want::Match(false));
    let source = |line: &str| json::get(line.as_bytes(), "source").and_then(json::parse_str).map(|s| s.into_owned());
    // A source may be called anything, `jamf-prod`; its kind comes first.
    let kind = |name: String| name.split('-').next().unwrap_or_default().to_owned();
    let all: BTreeSet<String> = matching.filter_map(|example| source(&example.event)).map(kind).collect();
    all.into_iter().collect()
}

impl Item {
    /// How its filter is decided, and what jq costs for one event: over the events of its own examples.
    pub fn cost(&self, config: &Config) -> Option<(Standing, Cost)> {
        let spec = Gate::of(&self.conf).spec(self.files.filter);
        let set = FilterSet::build(vec![spec], &|path: &str| config.module(path)).ok()?;
        let events = examples::read(self.files.examples).examples;
        let events: Vec<&str> = events.iter().take(MEASURED_MAX).map(|example| example.event.as_str()).collect();
        Some((set.standing(0)?, set.cost(0, &events, SPEND)?))
    }

    /// Its table, with these actions to tell.
    pub fn table(&self, act: &[&str]) -> String {
        let names: Vec<String> = act.iter().map(|name| format!("\"{name}\"")).collect();
        match names.is_empty() {
            true => self.files.table.to_owned(),
            false => {
                self.files.table.replacen("\nseverity", &format!("\nact      = [{}]\nseverity", names.join(", ")), 1)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_and_can_be_told_of() {
        let all = all().unwrap();
        assert_eq!(
            all.iter().map(|item| item.conf.name.as_str()).collect::<Vec<_>>(),
            PROBES.iter().map(|p| p.name).collect::<Vec<_>>()
        );
        for item in all.iter() {
            let name = &item.conf.name;
            assert!(!item.title.is_empty() && !item.why.is_empty() && !item.sources.is_empty(), "{name}");
            assert_eq!(
                item.conf.query.is_some(),
                item.sources == ["osquery"] && item.files.table.contains(".query]"),
                "{name}"
            );
            assert!(item.table(&["a", "b"]).contains("\nact      = [\"a\", \"b\"]\nseverity"), "{name}");
            assert_eq!(item.table(&[]), item.files.table);
        }
        let told: BTreeSet<&str> = all.iter().flat_map(|item| &item.sources).map(String::as_str).collect();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), ["jamf", "munki", "osquery", "santa", "zentral"]);
    }

    #[test]
    fn a_cost_is_measured() {
        let all = all().unwrap();
        let item = all.iter().find(|item| item.conf.name == "usb-device").unwrap();
        let (_, cost) = item.cost(&Config::empty(None)).unwrap();
        assert!(cost.each > Duration::ZERO && cost.exceeded.is_none(), "{cost:?}");
    }
}
