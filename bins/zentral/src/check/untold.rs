//! Probes of which nobody is told, and which do not say that this is meant.

use pipe::config::{Config, Finding, ProbeConf, StageKind};

/// Names that are said.
const SHOWN: usize = 5;

/// One note for all of them, at the first. Where no stage acts, nobody expects to be told.
pub fn look(config: &Config) -> Option<Finding> {
    config.stages.iter().find(|stage| stage.runs(StageKind::Act))?;
    let all: Vec<&ProbeConf> = config.probes.values().filter(|probe| tells_nobody(probe)).collect();
    let names: Vec<&str> = all.iter().take(SHOWN).map(|probe| probe.name.as_str()).collect();
    let (names, more) = (names.join(", "), all.len().saturating_sub(SHOWN));
    let who = match (all.len(), more) {
        (1, _) => format!("probe {names} tells nobody"),
        (n, 0) => format!("{n} probes tell nobody: {names}"),
        (n, more) => format!("{n} probes tell nobody: {names} and {more} more"),
    };
    let text =
        format!("{who}; name actions in `act`, for all probes in `[probes] act`, or say act = [] where it is meant");
    all.first()?.settings.finding("filter", text).map(Finding::note)
}

/// What a match is for is not only to tell: a tag, how a check stands, an incident; `severity = "info"` is a mark on events.
fn tells_nobody(probe: &ProbeConf) -> bool {
    let says_so = probe.settings.has("act") || probe.shadow || probe.until.is_some();
    let is_mark = probe.settings.has("severity") && probe.severity == "info";
    let is_result = probe.query.as_ref().is_some_and(|query| query.tag.is_some() || query.compliance);
    let never = matches!(probe.filter.source.trim(), "false" | "empty" | "null");
    probe.act.is_empty() && !(says_so || is_mark || is_result || never)
}
