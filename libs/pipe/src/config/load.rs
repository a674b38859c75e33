//! From files to a configuration: each table is read once, then what they say of each other is checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry::db::Server;

use super::cross::{self, Named};
use super::settings::Begin;
use super::{
    Config, Contact, Files, Finding, Kafka, Metrics, ProbeConf, Settings, Signing, SourceFile, StageConf, TopicConf,
    Topics, Unit,
};

/// Tables that an included file may hold.
const INCLUDED: [&str; 5] = ["unit", "contact", "probe", "pack", "rules"];

pub(super) fn load(files: &mut Files, data: Option<&Path>) -> Result<Config, Vec<Finding>> {
    let main = files.main().to_owned();
    let mut table = parse(files, &main).map_err(|f| vec![f])?;
    let (config, named) = (Config::empty(None), Named::default());
    let mut reading = Reading { config, places: Places::new(), named, findings: Vec::new() };
    reading.main(&mut table, files, data);
    let includes = table.strings("include");
    reading.findings.extend(table.clone().finish());
    for pattern in includes {
        reading.include(&table, &pattern, files);
    }
    reading.findings.extend(cross::check(&reading.config, &reading.named));
    if reading.findings.is_empty() { Ok(reading.config) } else { Err(reading.findings) }
}

/// The probes of a file such as others include, whatever other tables they name.
///
/// # Errors
/// All that is wrong with the file, as far as its probes go.
pub fn probes_in(path: &Path) -> Result<Vec<ProbeConf>, Vec<Finding>> {
    let mut files = Files::open(path).map_err(|f| vec![f])?;
    let mut table = parse(&mut files, path).map_err(|f| vec![f])?;
    let (mut probes, mut findings) = (Vec::new(), Vec::new());
    for mut probe in table.tables("probe") {
        probes.extend(ProbeConf::read(&mut probe, &mut files));
        findings.extend(probe.finish());
    }
    if findings.is_empty() { Ok(probes) } else { Err(findings) }
}

fn parse(files: &mut Files, path: &Path) -> Result<Settings, Finding> {
    let text = files.read(path).map_err(|why| Finding::file(path, why))?;
    Settings::parse(Arc::new(SourceFile { path: path.to_owned(), text }))
}

struct Reading {
    config: Config,
    places: Places,
    named: Named,
    findings: Vec<Finding>,
}

impl Reading {
    fn main(&mut self, table: &mut Settings, files: &mut Files, data: Option<&Path>) {
        let config = &mut self.config;
        config.file = Some(files.main().to_owned());
        config.files = Some(files.clone());
        config.base = table.base();
        match table.int("version") {
            Some(1) => {}
            Some(n) => table.fail("version", format!("version {n} is not known; this program reads version 1")),
            None if table.has("version") => {}
            None => table.fail("", "needs `version = 1`"),
        }
        config.url = table.str("url").map(|url| url.trim_end_matches('/').to_owned());
        if config.url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            table.fail("url", "agents speak https only: the URL begins with https://");
        }
        let own = table.path("data").unwrap_or_else(|| config.base.join("data"));
        config.data = data.map_or(own, Path::to_owned);
        self.registry(table);
        self.topics(table);
        if let Some(mut kafka) = table.table("kafka") {
            self.config.kafka = Kafka::read(&mut kafka);
            // Without its secrets it cannot be judged, and need not: the file may be right on another machine.
            let whole = self.config.kafka.as_ref().filter(|kafka| kafka.missing().is_none());
            if let Some(Err(why)) = whole.map(crate::kafka::check) {
                kafka.fail("", why);
            }
            table.absorb(kafka);
        }
        if let Some(mut metrics) = table.table("metrics") {
            let bearer = metrics.secret("bearer");
            if let Some(listen) = metrics.required_str("listen") {
                self.config.metrics = Some(Metrics { listen, bearer });
            }
            table.absorb(metrics);
        }
        if let Some(mut packages) = table.table("packages") {
            self.config.signing = Signing::read(&mut packages);
            table.absorb(packages);
        }
        for stage in table.tables("stage") {
            let (stage, rest) = StageConf::read(stage);
            // Unknown keys are for the program of the stage to report; what was found wrong here is not.
            match stage {
                Some(mut stage) => {
                    self.findings.append(&mut stage.settings.take_findings());
                    self.config.stages.push(stage);
                }
                None => self.findings.append(&mut rest.clone().take_findings()),
            }
        }
        if let Some(mut probes) = table.table("probes") {
            self.named.act = probes.strings("act");
            self.named.probes = Some(probes.clone());
            table.absorb(probes);
        }
        for action in table.tables("action") {
            self.config.actions.insert(action.name().to_owned(), action);
        }
        for source in table.tables("source") {
            self.config.sources.insert(source.name().to_owned(), source);
        }
        self.shared(table, files);
    }

    /// Where state is. A secret that is not there is told to whoever needs it: the file may be right on another machine.
    fn registry(&mut self, table: &mut Settings) {
        let Some(mut registry) = table.table("registry") else { return };
        if let Some(secret) = registry.secret("postgres") {
            self.config.server = Some(match secret.resolve() {
                Ok(url) => Server::parse(&url).unwrap_or_else(|why| {
                    registry.fail("postgres", why.clone());
                    Server::unknown(why)
                }),
                Err(why) => Server::unknown(format!("registry.postgres: {why}")),
            });
        } else if !registry.has("postgres") {
            registry.fail("", "needs the key `postgres`; without the table state is in files");
        }
        self.config.server_variables = registry.variables().collect();
        table.absorb(registry);
    }

    fn topics(&mut self, table: &mut Settings) {
        let mut topics = Topics::default();
        if let Some(mut defaults) = table.table("topics") {
            topics.defaults = TopicConf::read(&mut defaults, &TopicConf::default());
            table.absorb(defaults);
        }
        for mut named in table.tables("topic") {
            let conf = TopicConf::read(&mut named, &topics.defaults);
            topics.named.insert(named.name().to_owned(), conf);
            self.named.topics.push(named.clone());
            table.absorb(named);
        }
        self.config.topics = topics;
    }

    /// The tables that may stand in the main file and in included ones.
    fn shared(&mut self, table: &mut Settings, files: &mut Files) {
        for mut unit in table.tables("unit") {
            let read = Unit { title: unit.str("title"), tags: unit.strings("tags") };
            put(&mut self.config.units, &mut self.places, &mut unit, read);
            table.absorb(unit);
        }
        for mut contact in table.tables("contact") {
            let read = Contact::read(&mut contact);
            put(&mut self.config.contacts, &mut self.places, &mut contact, read);
            table.absorb(contact);
        }
        for mut probe in table.tables("probe") {
            let silent = !probe.has("act");
            if let Some(mut read) = ProbeConf::read(&mut probe, files) {
                if silent {
                    read.act = self.named.act.clone();
                }
                put(&mut self.config.probes, &mut self.places, &mut probe, read);
            }
            table.absorb(probe);
        }
        for mut pack in table.tables("pack") {
            let read = pack.places();
            put(&mut self.config.packs, &mut self.places, &mut pack, read);
            self.findings.append(&mut pack.take_findings());
        }
        for mut rules in table.tables("rules") {
            let read = rules.places();
            put(&mut self.config.rules, &mut self.places, &mut rules, read);
            self.findings.append(&mut rules.take_findings());
        }
    }

    fn include(&mut self, main: &Settings, pattern: &str, files: &mut Files) {
        let mut fail = |text: String| {
            let mut at = main.clone();
            at.take_findings();
            at.fail("include", text);
            self.findings.extend(at.take_findings());
        };
        let paths: Vec<PathBuf> = match files.glob(&main.base().join(pattern)) {
            Ok(paths) => paths,
            Err(why) => return fail(format!("`{pattern}`: {why}")),
        };
        for path in paths {
            match parse(files, &path) {
                Ok(mut table) => {
                    self.shared(&mut table, files);
                    for key in table.keys() {
                        if !INCLUDED.contains(&key.as_str()) {
                            table.fail(&key, "an included file holds units, contacts, probes, packs and rules only");
                            let _ = table.table(&key);
                        }
                    }
                    self.findings.extend(table.finish());
                }
                Err(finding) => self.findings.push(finding),
            }
        }
    }
}

/// Where each table stands.
type Places = BTreeMap<String, Begin>;

/// A name is used once, whatever file it stands in.
fn put<T>(map: &mut BTreeMap<String, T>, places: &mut Places, table: &mut Settings, value: T) {
    map.insert(table.name().to_owned(), value);
    if let Some(first) = places.insert(table.full(""), table.begin()) {
        table.fail("", format!("`{}` stands in another file already: {first}", table.name()));
    }
}
