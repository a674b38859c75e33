//! `zentral import`: probes of Zentral, packs and configurations of osquery become probes with filters and examples.
//!
//! A file is read into a tree that remembers its lines (`node`, `json`, `yaml`); the readers of each kind (`zentral`,
//! `pack`, `fleet`) make drafts and name what cannot be said; a draft is named, its filter compiled and held against
//! examples made of its conditions (`cond`, `examples`), then written (`toml`, `write`).

mod cond;
mod draft;
mod examples;
mod fleet;
mod pack;
mod query;
mod toml;
mod write;
mod yaml;
mod zentral;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pipe::cli::{Global, complain};
use pipe::config::{Config, is_name};
use pipe::{Exit, StageError};
use serde_json::json;
use sources::relaxed::{json, node};

use self::draft::{Draft, Import, Names, Ready};
use self::fleet::Fleet;
use self::node::{Documents, Spot};
use self::toml::Place;
use self::write::Written;
use crate::status::table::plural;

/// The longest file that is read, in bytes: what osquery takes for a configuration.
const FILE_MAX: u64 = 4 << 20;
/// The most probes of one run.
const PROBES_MAX: usize = 10_000;

/// Command line of `import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Probes of Zentral (JSON, YAML), packs and configurations of osquery, packs of Fleet
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write probes/NAME.toml, filters/NAME.jq and its examples into this folder instead of TOML to stdout
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long, requires = "out")]
    pub force: bool,
    /// The tag that has this number in Zentral; may be repeated
    #[arg(long, value_name = "NUMBER=NAME", value_parser = numbered)]
    pub tag: Vec<(String, String)>,
    /// The unit that has this number among Zentral's business units; may be repeated
    #[arg(long, value_name = "NUMBER=NAME", value_parser = numbered)]
    pub unit: Vec<(String, String)>,
    /// With -o: one JSON object a file, also on a terminal
    #[arg(long)]
    pub json: bool,
}

fn numbered(text: &str) -> Result<(String, String), String> {
    let (number, name) = text.split_once('=').ok_or("expected NUMBER=NAME")?;
    number.parse::<u64>().map_err(|_| format!("`{number}` is no number"))?;
    if is_name(name) { Ok((number.into(), name.into())) } else { Err(format!("`{name}` may not be a name")) }
}

/// Imports.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("import");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let mut import = Import {
        units: args.unit.iter().cloned().collect(),
        tags: args.tag.iter().cloned().collect(),
        known_units: config.units.keys().cloned().collect(),
        actions: config.actions.keys().cloned().collect(),
        ..Import::default()
    };
    // Evaluation of filters needs a big stack, and so may the trees of deep files.
    let ran = probe::with_stack(|| {
        read(args, &mut import);
        finish(&config, args, &mut import)
    });
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(e.to_string()))))
}

/// Reads all files, then makes drafts of what they say: packs of Fleet name queries of other files.
fn read(args: &Args, import: &mut Import) {
    let mut all: Vec<(Rc<str>, &Path, Documents)> = Vec::new();
    for path in &args.files {
        match documents(path) {
            Ok(documents) => all.push((path.display().to_string().into(), path, documents)),
            Err(why) => import.refused.push((path.display().to_string(), why)),
        }
    }
    let given: BTreeSet<String> =
        args.files.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    let mut fleet = Fleet::default();
    for (file, _, documents) in &all {
        documents.roots.iter().for_each(|root| fleet.learn(&Spot::root(file, root)));
    }
    for (file, path, documents) in &all {
        for (line, key) in &documents.twice {
            let why = format!("the key `{}` stands here a second time; the first one counts", draft::line(key));
            import.refused.push((format!("{file}:{line}"), why));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        for root in &documents.roots {
            document(&Spot::root(file, root), &stem, &given, &mut fleet, import);
        }
        if documents.roots.is_empty() {
            import.refused.push((file.to_string(), "is empty".into()));
        }
    }
    fleet.rest(import);
}

/// The documents of a file.
fn documents(path: &Path) -> Result<Documents, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("is longer than {FILE_MAX} bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let yaml = path.extension().is_some_and(|e| e == "yml" || e == "yaml");
    let read = match json::first(text) {
        Some('{' | '[') if !yaml => json::read(text),
        _ => yaml::read(text),
    };
    read.map_err(|broken| format!("line {}, column {}: {}", broken.line, broken.column, broken.text))
}

/// One document, of whichever kind it is.
fn document<'a>(at: &Spot<'a>, stem: &str, given: &BTreeSet<String>, fleet: &mut Fleet<'a>, import: &mut Import) {
    // Lists: of probes as the API prints them, by pages or not; feeds and exports.
    let pages = at.get("results").filter(Spot::is_list);
    let feed = at.get("probes").filter(|probes| probes.is_map() || probes.is_list());
    if at.is_list() || pages.is_some() || feed.is_some() {
        let list = pages.or(feed).unwrap_or_else(|| at.clone());
        let items = list.items().into_iter().chain(list.members().into_iter().map(|(_, item)| item));
        return items.for_each(|item| single(&item, stem, given, fleet, import));
    }
    single(at, stem, given, fleet, import);
}

fn single<'a>(at: &Spot<'a>, stem: &str, given: &BTreeSet<String>, fleet: &mut Fleet<'a>, import: &mut Import) {
    let name = at.get("name").or(at.get("slug")).and_then(|name| name.text()).unwrap_or(stem);
    if fleet::is_one(at) {
        fleet.import(at, given, import);
    } else if zentral::is_one(at) {
        zentral::probe(at, import);
    } else if pack::CONFIGURATION.iter().any(|key| at.get(key).is_some()) {
        pack::configuration(at, given, import);
    } else if at.get("queries").is_some() {
        pack::pack(at, name, &query::Around::default(), import);
    } else if at.get("rules").is_some() {
        import.refuse(at, "is a set of Santa rules, which are not imported: write them as [rules.NAME]");
    } else {
        import.refuse(at, "is neither a probe of Zentral's, nor a pack or a configuration of osquery's");
    }
}

/// Names, tests and writes what was made.
fn finish(config: &Config, args: &Args, import: &mut Import) -> Result<Exit, StageError> {
    let mut names = Names::default();
    let drafts = std::mem::take(&mut import.drafts);
    let too_many = drafts.len().saturating_sub(PROBES_MAX);
    let mut ready = Vec::new();
    for draft in drafts.into_iter().take(PROBES_MAX) {
        let origin = draft.origin.clone();
        match prepare(draft, &mut names) {
            Ok(probe) => ready.push(probe),
            Err(why) => import.refused.push((origin, why)),
        }
    }
    if too_many > 0 {
        let why = format!("{too_many} more probes than the {PROBES_MAX} of one run");
        import.refused.push(("import".into(), why));
    }
    let (mut written, mut files) = (0, 0);
    match &args.out {
        None => {
            let tables: Vec<String> = ready.iter().map(|probe| probe.table(&Place::Inline)).collect();
            pipe::write_stdout(tables.join("\n").as_bytes()).map_err(crate::stdout_error)?;
            written = ready.len();
        }
        Some(dir) => {
            let people = std::io::stdout().is_terminal() && !args.json;
            for probe in &ready {
                match write::write(probe, dir, args.force)? {
                    Written::Same => written += 1,
                    Written::Files(paths) => {
                        written += 1;
                        files += paths.len();
                        let said: String = paths.iter().map(|path| said(probe, path, people)).collect();
                        pipe::write_stdout(said.as_bytes()).map_err(crate::stdout_error)?;
                    }
                    Written::Other(path) => {
                        let why =
                            format!("{} is there and says something else; --force writes over it", path.display());
                        import.refused.push((probe.draft.origin.clone(), why));
                    }
                }
            }
        }
    }
    for (place, why) in &import.refused {
        complain(&format!("zentral import: {}: {why}", draft::line(place)));
    }
    let refused = import.refused.len();
    let probes = plural(written, "probe");
    let Some(dir) = &args.out else {
        complain(&format!("zentral import: {probes}, {refused} refused"));
        return Ok(exit(import));
    };
    let there = if files == 0 && written > 0 { " (all are there already)" } else { "" };
    complain(&format!("zentral import: {probes}, {} written{there}, {refused} refused", plural(files, "file")));
    if let Some(pattern) = missing(config, dir).filter(|_| written > 0) {
        complain(&format!("zentral import: add to `include` in pipeline.toml: {pattern:?}"));
    }
    Ok(exit(import))
}

fn exit(import: &Import) -> Exit {
    if import.refused.is_empty() { Exit::Done } else { Exit::Refused }
}

/// What `include` has to name so that the configuration takes in the probes of this folder; nothing if it does.
fn missing(config: &Config, dir: &Path) -> Option<String> {
    let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let pattern = whole(dir.join("probes/*.toml"));
    if config.includes().into_iter().any(|known| whole(known) == pattern) {
        return None;
    }
    let base = whole(config.base.clone());
    Some(pattern.strip_prefix(&base).unwrap_or(&pattern).display().to_string())
}

fn prepare(draft: Draft, names: &mut Names) -> Result<Ready, String> {
    let name = names.give(&draft.name);
    let program = draft.cond.program();
    let mut ready = Ready { name, draft, program, examples: Vec::new() };
    // As it will lie in its file: the comments above the program are part of what must compile.
    ready.examples = examples::make(&ready.draft, &ready.name, &ready.filter_text())?;
    Ok(ready)
}

fn said(probe: &Ready, path: &Path, people: bool) -> String {
    if people {
        return format!("{}\n", path.display());
    }
    format!("{}\n", json!({"file": path, "probe": probe.name, "from": probe.draft.origin}))
}
