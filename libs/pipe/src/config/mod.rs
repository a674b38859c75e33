//! `pipeline.toml`: read, checked, and every mistake named by file, line, key and caret.
//!
//! The tables that all programs share (stages, topics, units, contacts, probes) are understood here; the settings of
//! an action, a source or a stage belong to the program that uses them and are handed on as [`Settings`].

mod apart;
mod console;
mod cross;
mod files;
mod finding;
mod foreign;
mod joined;
mod kafka;
mod last_good;
mod load;
mod mask;
mod people;
mod probes;
mod settings;
mod signing;
mod stages;
mod syntax;
mod variables;
mod whom;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry::db::{Home, Homes, Server};

pub use console::CONSOLE;
pub use files::Files;
pub use finding::{Finding, Level, SourceFile, once, render};
pub use foreign::Foreign;
pub(crate) use joined::words;
pub use kafka::{Kafka, KafkaTls, Sasl};
pub use last_good::copy_in_force;
pub use load::probes_in;
pub use people::{Channel, Contact, EMAIL, PHONE, PUSH, Person};
pub use probes::{FilterText, PLATFORMS, ProbeConf, Query, SEVERITIES, Scope, Window};
pub use settings::{Settings, nearest};
pub use signing::Signing;
pub use stages::{Lag, Place, StageConf, StageKind, TopicConf, process_name};
pub use whom::Whom;
pub use words::{Secret, is_name, parse_duration, parse_size};

/// A configuration that was read and found right as far as this crate can tell.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file, as people write its path; none when there is no file and none is needed.
    pub file: Option<PathBuf>,
    /// Where it was read from; none without a file.
    pub files: Option<Files>,
    /// The folder that relative paths of the main file count from.
    pub base: PathBuf,
    /// Base of the URLs that agents, packages and links use.
    pub url: Option<String>,
    /// The data folder.
    pub data: PathBuf,
    /// The database that holds all state; none: files in the data folder.
    pub server: Option<Server>,
    /// The environment variables that `[registry]` names.
    server_variables: Vec<String>,
    /// Stages in the order of the file.
    pub stages: Vec<StageConf>,
    /// Defaults and overrides of topics.
    pub topics: Topics,
    /// How Kafka is reached, if it is used.
    pub kafka: Option<Kafka>,
    /// Where all stages' metrics are served, and the bearer that is asked for.
    pub metrics: Option<Metrics>,
    /// Who signs installers of macOS; none: nobody.
    pub signing: Option<Signing>,
    /// Business units.
    pub units: BTreeMap<String, Unit>,
    /// People.
    pub contacts: BTreeMap<String, Contact>,
    /// Actions, to be understood by `act`.
    pub actions: BTreeMap<String, Settings>,
    /// Sources, to be understood by whoever speaks with them.
    pub sources: BTreeMap<String, Settings>,
    /// Probes by name.
    pub probes: BTreeMap<String, ProbeConf>,
    /// Packs of osquery, to be understood by whoever serves them.
    pub packs: BTreeMap<String, Settings>,
    /// Sets of rules, to be understood by whoever serves them.
    pub rules: BTreeMap<String, Settings>,
}

/// Limits of topics.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    /// What holds where nothing else is said.
    pub defaults: TopicConf,
    /// `[topic.NAME]`.
    pub named: BTreeMap<String, TopicConf>,
}

impl Topics {
    /// What holds for this topic.
    pub fn of(&self, name: &str) -> &TopicConf {
        self.named.get(name).unwrap_or(&self.defaults)
    }
}

/// `[metrics]`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Address to listen on.
    pub listen: String,
    /// Bearer that a reader must show.
    pub bearer: Option<Secret>,
}

/// `[unit.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name for people.
    pub title: Option<String>,
    /// Tags that all its machines have.
    pub tags: Vec<String>,
}

impl Config {
    /// Reads the file (or a copy made by `up`: a folder) and everything it includes.
    ///
    /// All that is wrong comes back at once. `data` overrides the data folder of the file.
    pub fn load(path: &Path, data: Option<&Path>) -> Result<(Self, Files), Vec<Finding>> {
        let mut files = Files::open(path).map_err(|f| vec![f])?;
        let config = load::load(&mut files, data)?;
        Ok((config, files))
    }

    /// What holds where there is no file: no stages, data in `./data`.
    pub fn empty(data: Option<&Path>) -> Self {
        Self {
            file: None,
            files: None,
            base: PathBuf::from("."),
            url: None,
            data: data.map_or_else(|| PathBuf::from("data"), Path::to_owned),
            server: None,
            server_variables: Vec::new(),
            stages: Vec::new(),
            topics: Topics::default(),
            kafka: None,
            metrics: None,
            signing: None,
            units: BTreeMap::new(),
            contacts: BTreeMap::new(),
            actions: BTreeMap::new(),
            sources: BTreeMap::new(),
            probes: BTreeMap::new(),
            packs: BTreeMap::new(),
            rules: BTreeMap::new(),
        }
    }

    /// Of which kind the source of this name is: `jamf` of `[source.berlin]` with `kind = "jamf"`. Without a `kind`, or
    /// without the table, the name says it.
    pub fn source_kind<'n>(&'n self, name: &'n str) -> &'n str {
        self.sources.get(name).and_then(|table| table.peek("kind")).unwrap_or(name)
    }

    /// The groups of the contact with this address.
    pub fn groups_of(&self, user: &str) -> &[String] {
        let own = |contact: &&Contact| contact.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(user));
        self.contacts.values().find(own).map_or(&[], |contact| contact.groups.as_slice())
    }

    /// The text of another file of the configuration (a preset, a jq module), from the copy if this is one. The error is
    /// a lower-case fragment without the path.
    pub fn text(&self, path: &Path) -> Result<String, String> {
        match &self.files {
            Some(files) => files.read(path),
            None => std::fs::read_to_string(path).map_err(|e| e.to_string()),
        }
    }

    /// The text of a jq module: imports resolve inside `filters/` beside the configuration only.
    pub fn module(&self, path: &str) -> Option<String> {
        self.text(&self.base.join("filters").join(path)).ok()
    }

    /// The patterns of `include` as paths, for whoever watches the files.
    pub fn includes(&self) -> Vec<PathBuf> {
        let (Some(files), Some(main)) = (&self.files, &self.file) else { return Vec::new() };
        let text = files.read(main).unwrap_or_default();
        let Ok(mut table) = Settings::parse(SourceFile { path: main.clone(), text }.into()) else { return Vec::new() };
        let base = table.base();
        table.strings("include").iter().map(|pattern| base.join(pattern)).collect()
    }

    /// The tags that all machines of a unit have.
    pub fn unit_tags(&self, unit: &str) -> Vec<String> {
        self.units.get(unit).map(|unit| unit.tags.clone()).unwrap_or_default()
    }

    /// The store that answers for all: the one with `search = true`, else the only one.
    pub fn searched(&self) -> Option<&StageConf> {
        let stores: Vec<_> = self.stages.iter().filter(|s| s.runs(StageKind::Store)).collect();
        let marked = stores.iter().find(|s| s.settings.clone().bool("search") == Some(true));
        let only = if stores.len() == 1 { stores.first() } else { None };
        marked.or(only).copied()
    }

    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&StageConf> {
        self.stages.iter().find(|s| s.name == name)
    }

    /// Where the authority of the hub's own certificate lies, if it has one: `ca.pem` beside what `receive` shows. No such
    /// file: a certificate that everybody believes.
    pub fn authority(&self) -> Option<PathBuf> {
        let receive = self.stages.iter().find(|s| s.runs(StageKind::Receive))?;
        Some(receive.settings.clone().table("tls")?.path("cert")?.with_file_name("ca.pem"))
    }

    /// The stage that writes this topic.
    pub fn writer(&self, topic: &str) -> Option<&StageConf> {
        self.stages.iter().find(|s| s.writes().any(|t| t == topic))
    }

    /// The stages that read this topic: each holds a claim on its lines.
    pub fn readers<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a StageConf> {
        self.stages.iter().filter(move |s| s.from.iter().any(|p| p.topic() == Some(topic)))
    }

    /// The stages that read this place.
    pub fn readers_of<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a StageConf> {
        self.stages.iter().filter(move |s| s.from.contains(place))
    }

    /// The folder of a topic.
    pub fn topic_dir(&self, topic: &str) -> PathBuf {
        self.data.join("topics").join(topic)
    }

    /// The name of a stage's state; that of receive, normalize and act is named after its kind, whatever the stage is
    /// called and whatever is joined with it.
    pub fn state_name<'s>(&self, stage: &'s StageConf) -> &'s str {
        let named = |kind: &&StageKind| matches!(kind, StageKind::Receive | StageKind::Normalize | StageKind::Act);
        stage.kinds.iter().find(named).map_or(stage.name.as_str(), |kind| kind.word())
    }

    /// The state of a stage.
    pub fn state(&self, stage: &StageConf) -> Home {
        self.homes().state(self.state_name(stage))
    }

    /// The state that people, the console and actions write.
    pub fn registry(&self) -> Home {
        self.homes().registry()
    }

    /// Where all states are.
    pub fn homes(&self) -> Homes {
        Homes::new(&self.data, self.server.clone())
    }

    /// The lock of a stage's state on this machine.
    pub fn state_lock(&self, home: &Home) -> PathBuf {
        self.data.join("state").join(format!("{}.lock", home.name()))
    }

    /// Whether several processes may own a state together; a file has one owner.
    pub fn shares_state(&self) -> bool {
        self.homes().are_shared()
    }

    /// The socket on which a stage answers.
    pub fn socket(&self, stage: &str) -> PathBuf {
        self.data.join("run").join(format!("{stage}.sock"))
    }
}

/// How long a stage may take to stop before it is ended.
pub const DRAIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
