//! An explanation as people read it: the event's way, the matches, the near misses, the rest in a line each.

use event::printable;
use std::fmt::Write as _;

use serde_json::Value;

use super::deeds::Deed;
use super::draw::{Paint, cut, draw, negation, one_line, words};
use super::find::RawLine;
use super::verdict::{Incident, Look, Says, Verdict};
use crate::status::table::plural;

/// Near misses that are drawn in full, the nearest first.
const NEAR_MAX: usize = 10;
/// Characters shown of what may be long: a raw line, a context, what a machine says of itself, an error.
const SHOWN: usize = 300;

/// Where the event comes from.
pub fn way(event: &Value, place: &str, raw: Option<&RawLine>, paint: Paint) -> String {
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |pointer: &str| -> String {
        let items = event.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    };
    let labelled = |label: &str, text: String| if text.is_empty() { text } else { format!("{label} {text}") };
    let joined = |parts: &[String]| parts.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join("  ");
    let id = at("/id");
    let title = if id.is_empty() { "an event without an id".to_owned() } else { format!("event {id}") };
    let mut out = format!("{}\n", paint.strong(&printable(&title)));
    let mut row = |label: &str, text: String| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {label:<9} {}", shown(&text));
        }
    };
    row("what", joined(&[at("/type"), at("/payload/name"), at("/payload/action")]));
    row("time", at("/time"));
    row("received", at("/received"));
    let key = ["/machine/serial_number", "/machine/hardware_uuid"].map(at).into_iter().find(|k| !k.is_empty());
    let machine = [
        key.unwrap_or_default(),
        at("/machine/hostname"),
        joined(&[at("/machine/platform"), at("/machine/os_version")]),
        labelled("unit", at("/machine/unit")),
        labelled("tags", list("/machine/tags")),
    ];
    row("machine", joined(&machine));
    row("request", joined(&[at("/request/ip"), at("/request/user_agent")]));
    if !at("/cause/event").is_empty() {
        row(
            "cause",
            format!("action {} of probe {} for event {}", at("/cause/action"), at("/cause/probe"), at("/cause/event")),
        );
    }
    row("found in", place.to_owned());
    match raw {
        Some(raw) => {
            let place = match raw.partition {
                None => format!("topic:{} at {}", raw.topic, raw.offset),
                Some(partition) => format!("kafka:{} partition {partition} at {}", raw.topic, raw.offset),
            };
            let _ = writeln!(out, "  {:<9} {place}  {}", "raw", shown(raw.line.get()));
        }
        None if place == "stdin" => {}
        None => row("raw", "none is kept that gave it".into()),
    }
    out
}

/// What the probes say.
pub fn probes(verdicts: &[Verdict], asked: bool, paint: Paint) -> String {
    let mut out = String::new();
    let (mut near, mut rest) = (Vec::new(), Vec::new());
    for verdict in verdicts {
        match verdict.says {
            Says::Matched { .. } => out.push_str(&in_full(verdict, paint)),
            Says::No | Says::Failed(_) => near.push(verdict),
            _ if asked => near.push(verdict),
            _ => rest.push(verdict),
        }
    }
    near.sort_by_key(|v| std::cmp::Reverse(v.look.as_ref().map_or(0, super::verdict::Look::nearness)));
    let most = if asked { near.len() } else { NEAR_MAX };
    for verdict in near.iter().take(most) {
        out.push_str(&in_full(verdict, paint));
    }
    let rest: Vec<_> = near.into_iter().skip(most).chain(rest).collect();
    if !rest.is_empty() {
        out.push('\n');
    }
    for verdict in rest {
        let _ = writeln!(out, "{} {}: {}", paint.dim("·"), verdict.spec.name, shown(&reason(&verdict.says)));
    }
    out
}

fn in_full(verdict: &Verdict, paint: Paint) -> String {
    let Verdict { spec, says, look, until, then, deeds, held, incident, outlook } = verdict;
    let (mark, word) = match says {
        Says::Matched { closes: true, .. } => (paint.good("✓"), paint.good("`until` matched: that ends an incident")),
        Says::Matched { .. } => (paint.good("✓"), paint.good("matched")),
        Says::No if until.is_some() => (paint.bad("✗"), format!("{}, and so does `until`", reason(says))),
        Says::Failed(_) => (paint.odd("!"), paint.odd(&shown(&reason(says)))),
        _ => (paint.bad("✗"), shown(&reason(says))),
    };
    let shadow = if spec.shadow { ", in shadow: not acted upon" } else { "" };
    let mut out = format!("\n{mark} {} {word}{shadow}\n", paint.strong(&spec.name));
    let about = format!("{}  rev {}  {}", spec.filter.name, spec.rev, spec.severity);
    let _ = writeln!(out, "  {}", paint.dim(&printable(about.trim_end())));
    let matched = matches!(says, Says::Matched { .. });
    match then {
        Some(rev) if !matched => {
            let _ = writeln!(out, "  when the event passed it matched (rev {})", printable(rev));
        }
        Some(rev) if *rev != spec.rev => {
            let _ = writeln!(out, "  when the event passed it matched, too, as rev {}", printable(rev));
        }
        _ => {}
    }
    if let Some(look) = look {
        if !matched && look.says_yes() {
            out.push_str("  the filter itself says yes\n");
        }
        let is_to_tell = matches!(says, Says::No | Says::Failed(_)) || until.is_some();
        out.push_str(&clauses(&spec.filter.text, look, is_to_tell, paint));
    }
    if let (Some(look), Some(program)) = (until, &spec.until) {
        let _ = writeln!(out, "  {}", paint.dim(&printable(&format!("until  {}", program.name))));
        out.push_str(&clauses(&program.text, look, !look.says_yes(), paint));
    }
    if let Says::Matched { key, context, .. } = says {
        if let Some(key) = key {
            let _ = writeln!(out, "  key      {}", shown(key));
        }
        if let Some(context) = context {
            let _ = writeln!(out, "  context  {}", shown(context));
        }
    }
    if let Some(incident) = incident {
        let Incident { id, status, opened, last, count } = incident;
        let matches = plural(*count, "match");
        let _ = writeln!(out, "  incident {id}  {}  opened {opened}  last {last}  {matches}", printable(status));
    }
    if let Some(why) = held {
        let _ = writeln!(out, "  held     {}", shown(why));
    }
    if let Some(outlook) = outlook {
        let _ = writeln!(out, "  now      {}", shown(&outlook.words()));
        for (action, why) in &outlook.waits {
            let _ = writeln!(out, "  action   {}", shown(&format!("{action}: {why}")));
        }
    }
    for deed in deeds {
        let _ = writeln!(out, "  action   {}", shown(&deed_words(deed)));
    }
    let is_silent = |action: &str| !deeds.iter().any(|deed| deed.action == action);
    let unknown = matched && held.is_none() && outlook.is_none();
    for action in spec.act.iter().filter(|action| unknown && is_silent(action)) {
        let _ = writeln!(out, "  action   {}: nothing is known of it", printable(action));
    }
    out
}

/// The source with its clauses, behind the clause after which it was decided if that is to be told.
fn clauses(text: &str, look: &Look, is_to_tell: bool, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(i) = look.explained.decided.filter(|_| is_to_tell)
        && let (Some(clause), Some(seen)) = (look.clauses.clauses().get(i), look.explained.seen.get(i))
    {
        let (place, text) = (format!("{}:{}", clause.line, clause.column), printable(&one_line(&clause.text)));
        let words = words(clause, seen) + negation(clause, seen);
        let _ = writeln!(out, "  decided at {place}: {text}   {words}");
    }
    out.push_str(&draw(text, look, paint));
    out
}

fn deed_words(deed: &Deed) -> String {
    let mut text = deed.action.clone();
    if !deed.target.is_empty() {
        let _ = write!(text, " to {}", deed.target);
    }
    let _ = write!(text, ": {}", deed.state);
    match (deed.tells.as_str(), deed.count, deed.digest) {
        ("", 0 | 1, _) => {}
        ("", count, true) => {
            let _ = write!(text, " in a digest of {count}");
        }
        ("", count, false) => {
            let _ = write!(text, ", as {count} matches");
        }
        (state, ..) => {
            let _ = write!(text, ", {state} incident {}", deed.incident);
        }
    }
    if let Some(at) = deed.at {
        let word = if ["pending", "gathering"].contains(&deed.state.as_str()) { "due " } else { "" };
        let _ = write!(text, "  {word}{at}");
    }
    if deed.tries > 1 {
        let _ = write!(text, "  {} tries", deed.tries);
    }
    if deed.dry_run {
        text.push_str("  dry run");
    }
    if !deed.error.is_empty() {
        let _ = write!(text, "  {}", deed.error);
    }
    if !deed.stopped.is_empty() {
        let _ = write!(text, "  {}", deed.stopped);
    }
    text
}

/// Safe for a terminal, and of a bounded length.
fn shown(text: &str) -> String {
    cut(&printable(text), SHOWN)
}

/// Why a probe did not match, in a few words.
pub fn reason(says: &Says) -> String {
    match says {
        Says::Matched { .. } => "matched".into(),
        Says::No => "the filter says no".into(),
        Says::Failed(text) => format!("the filter failed: {text}"),
        Says::Off(off) => format!("{}; it runs again in stage {} when its text changes", off.words, off.stage),
        Says::Kept(kept) => kept.to_string(),
    }
}
