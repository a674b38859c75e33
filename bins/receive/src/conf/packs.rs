//! `[pack.*]`: packs of osquery, from a file in osquery's own format or inline, and whom they are for.

use pipe::config::{Config, Finding, Scope, Settings, SourceFile};
use sources::osquery::{Flaw, Pack, Query, query_name_flaw};

/// A pack and whom it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// The machines that are told of it.
    pub scope: Scope,
    /// What they are told.
    pub pack: Pack,
}

/// Keys of the table that a file says in osquery's own words.
const INLINE: [&str; 5] = ["queries", "discovery", "platform", "version", "shard"];

const IN_FILE: &str = "stands in the file of the pack";

/// All packs of the configuration.
pub(super) fn read(config: &Config, findings: &mut Vec<Finding>) -> Vec<Served> {
    let mut all = Vec::new();
    for (name, table) in &config.packs {
        let mut table = table.clone();
        let scope = Scope::read(&mut table);
        units(&scope, &mut table, config);
        let pack = if table.has("file") { file(config, &mut table, findings) } else { Some(inline(&mut table)) };
        all.extend(pack.map(|pack| Served { name: name.clone(), scope, pack }));
        let wrong = table.finish();
        let told: Vec<String> = wrong.iter().filter(|f| f.text == IN_FILE).map(|f| f.key.clone()).collect();
        findings.extend(wrong.into_iter().filter(|f| !(told.contains(&f.key) && f.text.starts_with("unknown key"))));
    }
    all
}

/// A scope names units that there are.
fn units(scope: &Scope, table: &mut Settings, config: &Config) {
    let Some(mut said) = table.clone().table("scope") else { return };
    for (key, list) in [("units", &scope.units), ("not_units", &scope.not_units)] {
        for odd in list.iter().filter(|unit| !config.units.contains_key(*unit)) {
            let near = pipe::config::nearest(odd, config.units.keys().map(String::as_str));
            said.fail_word(key, odd, format!("there is no unit `{odd}`{near}"));
        }
    }
    let wrong = said.finish();
    // Unknown keys of it have been told.
    for finding in wrong.into_iter().filter(|f| !f.text.starts_with("unknown key")) {
        table.fail("scope", finding.text);
    }
}

fn file(config: &Config, table: &mut Settings, findings: &mut Vec<Finding>) -> Option<Pack> {
    for key in INLINE {
        if table.has(key) {
            table.fail(key, IN_FILE);
        }
    }
    let path = table.path("file")?;
    let text = match config.text(&path) {
        Ok(text) => text,
        Err(why) => {
            table.fail("file", format!("{}: {why}", path.display()));
            return None;
        }
    };
    match Pack::read(&text) {
        Ok(pack) => Some(pack),
        Err(flaws) => {
            let file = SourceFile { path, text };
            findings.extend(flaws.into_iter().map(|flaw| placed(&file, table.name(), flaw)));
            None
        }
    }
}

/// A flaw at its line of the file.
fn placed(file: &SourceFile, pack: &str, flaw: Flaw) -> Finding {
    let lines = file.text.split_inclusive('\n');
    let start: usize = lines.clone().take(flaw.line.saturating_sub(1)).map(str::len).sum();
    let line = lines.skip(flaw.line.saturating_sub(1)).map(str::trim_end).next().unwrap_or_default();
    let start = start + (line.len() - line.trim_start().len());
    let dot = if flaw.key.is_empty() { "" } else { "." };
    Finding::at(file, start..start + line.trim().len(), format!("pack.{pack}{dot}{}", flaw.key), flaw.text)
}

/// A pack that stands in the configuration itself.
fn inline(table: &mut Settings) -> Pack {
    let mut pack = Pack {
        discovery: table.strings("discovery"),
        shard: shard(table),
        platform: table.str("platform"),
        version: table.str("version"),
        ..Pack::default()
    };
    if !table.has("queries") {
        table.fail("", "needs the key `file` or `queries`");
    }
    if let Some(mut queries) = table.table("queries") {
        for name in queries.keys() {
            if let Some(why) = query_name_flaw(&name) {
                queries.fail(&name, why);
            }
            let Some(mut one) = queries.table(&name) else { continue };
            let read = query(&mut one);
            queries.absorb(one);
            pack.queries.insert(name, read);
        }
        table.absorb(queries);
    }
    for (key, why) in pack.flaws() {
        if table.has(key) {
            table.fail(key, why);
        }
    }
    pack
}

fn query(table: &mut Settings) -> Query {
    let mut query = Query { sql: table.required_str("sql").unwrap_or_default(), ..Query::default() };
    if let Some(time) = table.duration("interval") {
        // What is beyond every bound, and what is no whole second, osquery does not take.
        let whole = if time.subsec_nanos() == 0 { time.as_secs() } else { 0 };
        query.interval_s = u32::try_from(whole).unwrap_or(u32::MAX);
    }
    query.snapshot = table.bool("snapshot").unwrap_or(false);
    query.removed = table.bool("removed").unwrap_or(true);
    query.denylist = table.bool("denylist").unwrap_or(true);
    query.shard = shard(table);
    query.platform = table.str("platform");
    query.version = table.str("version");
    query.tag = table.str("tag");
    query.compliance = table.bool("compliance").unwrap_or(false);
    for (key, why) in query.flaws() {
        let key = if key == "query" { "sql" } else { key };
        if table.has(key) {
            table.fail(key, why);
        }
    }
    query
}

fn shard(table: &mut Settings) -> Option<u32> {
    let number = table.int("shard")?;
    Some(u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX }))
}
