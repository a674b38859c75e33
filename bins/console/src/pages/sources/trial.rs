//! What a new rule of Santa's would have blocked of what machines ran of late, before it is served.

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;

use super::Count;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, Question};
use crate::pages::Head;
use crate::pages::chart::{SPAN_WORDS, SPANS};
use crate::pages::events::{Line, lines};
use crate::text;

/// How far back it looks, if nobody says.
const SINCE: &str = "7d";
/// Executions that are shown, the newest.
const LINES: u64 = 20;
/// Machines and programs that are shown.
const COUNTS_MAX: usize = 50;
/// Bytes of an identifier.
const IDENTIFIER_MAX: usize = 1024;

/// What a rule can be about.
#[derive(Debug)]
pub struct Type {
    /// The word of the protocol.
    pub word: &'static str,
    /// How events name it.
    object: &'static str,
    /// Digits of its hash; 0: it is a name.
    hex: usize,
}

/// All of them; of two that name the same file Santa obeys the one that stands first here
/// (<https://northpole.dev/features/binary-authorization/#rule-precedence>).
pub const TYPES: [Type; 5] = [
    Type { word: "CDHASH", object: "file:cdhash", hex: 40 },
    Type { word: "BINARY", object: "file:sha256", hex: 64 },
    Type { word: "SIGNINGID", object: "signingid", hex: 0 },
    Type { word: "CERTIFICATE", object: "certificate:sha256", hex: 64 },
    Type { word: "TEAMID", object: "team", hex: 0 },
];

/// What programs may ask.
pub const WORDS: &[Word] = &[
    Word::new(
        "type",
        Kind::OneOf(&[TYPES[0].word, TYPES[1].word, TYPES[2].word, TYPES[3].word, TYPES[4].word]),
        "What the rule is about",
    )
    .needed()
    .like("TEAMID"),
    Word::new("id", Kind::Text(IDENTIFIER_MAX), "Its identifier: a hash, a team, a signing id")
        .needed()
        .like("EQHXZ8M8AV"),
    Word::new("unit", TEXT, "Machines of a unit"),
    Word::new("since", Kind::OneOf(SPAN_WORDS), "How far back it looks; 7d").like("30d"),
];

/// What a blocking rule would have made of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It ran, and would not have.
    Blocked,
    /// It ran, and would have run: a rule that goes before allowed it.
    Allowed,
    /// It did not run.
    Already,
    /// Santa says something that does not tell.
    Unclear,
}

/// By what Santa decided, for a rule at this place in [`TYPES`].
fn fate(decision: &str, rank: usize) -> Fate {
    match decision.split_once('_') {
        Some(("BLOCK", _)) => Fate::Already,
        // No rule at all, or a pattern of paths, which is asked when no rule fits.
        Some(("ALLOW", "UNKNOWN" | "SCOPE")) => Fate::Blocked,
        Some(("ALLOW", by)) => match TYPES.iter().position(|one| one.word == by) {
            Some(own) if own < rank => Fate::Allowed,
            // A rule for the same gives way to the new one; one that goes after is not asked.
            Some(_) => Fate::Blocked,
            None => Fate::Unclear,
        },
        _ => Fate::Unclear,
    }
}

/// Executions by what would have become of them.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "RuleSums")]
pub struct Sums {
    /// Would have been blocked.
    blocked: u64,
    /// Are allowed by a rule that goes before.
    allowed: u64,
    /// Were blocked as it is.
    already: u64,
    /// Of which nothing can be said.
    unclear: u64,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "santa_trial.html")]
#[schemars(rename = "RuleTrial")]
pub struct Trial {
    /// Something was asked; else there is a form alone.
    #[serde(skip)]
    tried: bool,
    #[serde(skip)]
    head: Head,
    rule_type: &'static str,
    identifier: String,
    unit: String,
    since: String,
    #[serde(flatten)]
    sums: Sums,
    /// Of what would have been blocked: by machine, by program.
    machines: Vec<Count>,
    programs: Vec<Count>,
    /// Executions on machines that are not shown.
    machines_left: u64,
    #[serde(skip)]
    lines: Vec<Line>,
    #[serde(skip)]
    link: String,
    /// What to write into a file to serve the rule.
    toml: String,
    #[serde(skip)]
    units: Vec<String>,
    #[serde(skip)]
    spans: Vec<(&'static str, &'static str)>,
    #[serde(skip)]
    types: Vec<&'static str>,
}

impl Trial {
    fn left(&self) -> String {
        text::number(self.machines_left)
    }

    fn blocked(&self) -> String {
        text::number(self.sums.blocked)
    }

    fn allowed(&self) -> String {
        text::number(self.sums.allowed)
    }

    fn already(&self) -> String {
        text::number(self.sums.already)
    }

    fn unclear(&self) -> String {
        text::number(self.sums.unclear)
    }
}

/// The type of the rule, its place, and its identifier as events have it.
fn wanted(asked: &Asked) -> Result<(usize, &'static Type, String), Wrong> {
    let known = || TYPES.iter().map(|one| one.word).collect::<Vec<_>>().join(", ");
    let found = TYPES.iter().enumerate().find(|(_, one)| one.word == asked.word("type"));
    let (rank, kind) = found.ok_or_else(|| Wrong::new(400, format!("type: say one of {}.", known()), ""))?;
    let id = asked.word("id");
    let hex = id.len() == kind.hex && id.bytes().all(|b| b.is_ascii_hexdigit());
    match kind.hex {
        0 if !id.is_empty() && id.len() <= IDENTIFIER_MAX => Ok((rank, kind, id.to_owned())),
        0 => Err(Wrong::new(400, "id: say a team, or a signing id as TEAM:ID or platform:ID.", "")),
        _ if hex => Ok((rank, kind, id.to_ascii_lowercase())),
        n => Err(Wrong::new(400, format!("id: of {} it has {n} hex digits.", kind.word), "")),
    }
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    // Whoever comes by a link has not said yet what to try.
    if asked.word("id").is_empty() && !asked.json {
        return Answer::page(asked, &form(app, asked));
    }
    let (rank, kind, identifier) = wanted(asked)?;
    let config = app.live().config.clone();
    let page = form(app, asked);
    let (since, unit) = (page.since.as_str(), page.unit.as_str());
    let mut query = format!("type:santa_event AND {}", text::is("objects", &format!("{}:{identifier}", kind.object)));
    if !unit.is_empty() {
        query = format!("{query} AND {}", text::is("machine.unit", unit));
    }
    let events = Events::of(&config, asked.who.as_ref());
    let question = |query| Question { query, since, ..Question::default() };
    let (mut sums, mut decisions) = (Sums::default(), Vec::new());
    let counts = events.by(&question(&query), "payload.decision")?;
    for one in &counts.values {
        match fate(&one.value, rank) {
            Fate::Blocked => {
                sums.blocked += one.count;
                decisions.push(text::is("payload.decision", &one.value));
            }
            Fate::Allowed => sums.allowed += one.count,
            Fate::Already => sums.already += one.count,
            Fate::Unclear => sums.unclear += one.count,
        }
    }
    sums.unclear += counts.other + counts.missing;
    let blocked = format!("{query} AND ({})", decisions.join(" OR "));
    let (mut machines, mut programs, mut machines_left, mut shown) = (Vec::new(), Vec::new(), 0, Vec::new());
    if !decisions.is_empty() {
        let by = events.by(&question(&blocked), "machine.serial_number")?;
        let left = by.values.iter().skip(COUNTS_MAX).map(|one| one.count).sum::<u64>();
        machines_left = left + by.other + by.missing;
        let link = |value: &str| format!("/machines/{}", text::part(value));
        machines = top(by.values, link);
        let find = |value: &str| {
            let query = format!("{blocked} AND {}", text::is("payload.file_name", value));
            format!("/events?{}", text::query(&[("q", &query), ("since", since)]))
        };
        programs = top(events.by(&question(&blocked), "payload.file_name")?.values, find);
        shown = events.page(&question(&blocked), LINES, "")?.events;
    }
    let value = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let scope = if unit.is_empty() { String::new() } else { format!("scope = {{ units = [{}] }}\n", value(unit)) };
    let link = format!("/events?{}", text::query(&[("q", &blocked), ("since", since)]));
    let page = Trial {
        tried: true,
        toml: format!(
            "[rules.NAME]\n{scope}rules = [ {{ type = \"{}\", id = {}, policy = \"BLOCKLIST\" }} ]",
            kind.word,
            value(&identifier)
        ),
        identifier,
        sums,
        machines,
        programs,
        machines_left,
        lines: lines(&shown),
        link,
        ..page
    };
    Answer::page(asked, &page)
}

/// The form, with nothing tried yet.
fn form(app: &App, asked: &Asked) -> Trial {
    let said = |all: &[&'static str], word: &str, else_: &'static str| {
        all.iter().find(|one| **one == asked.word(word)).copied().unwrap_or(else_)
    };
    let types: Vec<&str> = TYPES.iter().map(|one| one.word).collect();
    let spans: Vec<(&str, &str)> = SPANS.iter().map(|(word, _, name)| (*word, *name)).collect();
    let sees = |unit: &&String| asked.who.as_ref().is_some_and(|who| who.sees(Some(unit)));
    let words: Vec<&str> = spans.iter().map(|(word, _)| *word).collect();
    Trial {
        tried: false,
        head: Head::new(asked, "Try a rule"),
        rule_type: said(&types, "type", "TEAMID"),
        identifier: String::new(),
        unit: asked.word("unit").to_owned(),
        since: said(&words, "since", SINCE).to_owned(),
        sums: Sums::default(),
        machines: Vec::new(),
        programs: Vec::new(),
        machines_left: 0,
        lines: Vec::new(),
        link: String::new(),
        toml: String::new(),
        units: app.live().config.units.keys().filter(sees).cloned().collect(),
        spans,
        types,
    }
}

fn top(values: Vec<crate::events::ValueCount>, link: impl Fn(&str) -> String) -> Vec<Count> {
    let count = |one: crate::events::ValueCount| Count {
        link: link(&one.value),
        value: text::short(&one.value),
        count: one.count,
    };
    values.into_iter().take(COUNTS_MAX).map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_particular_rule_goes_before() {
        let rank = |word: &str| TYPES.iter().position(|one| one.word == word).unwrap_or(9);
        for (decision, rule, want) in [
            ("ALLOW_UNKNOWN", "TEAMID", Fate::Blocked),
            ("ALLOW_SCOPE", "TEAMID", Fate::Blocked),
            ("ALLOW_BINARY", "TEAMID", Fate::Allowed),
            ("ALLOW_BINARY", "BINARY", Fate::Blocked),
            ("ALLOW_BINARY", "CDHASH", Fate::Blocked),
            ("ALLOW_CERTIFICATE", "SIGNINGID", Fate::Blocked),
            ("ALLOW_CERTIFICATE", "TEAMID", Fate::Allowed),
            ("ALLOW_TEAMID", "BINARY", Fate::Blocked),
            ("BLOCK_UNKNOWN", "BINARY", Fate::Already),
            ("BLOCK_BINARY_MISMATCH", "BINARY", Fate::Already),
            ("ALLOW_PLATFORM", "BINARY", Fate::Unclear),
            ("BUNDLE_BINARY", "BINARY", Fate::Unclear),
            ("", "BINARY", Fate::Unclear),
        ] {
            assert_eq!(fate(decision, rank(rule)), want, "{decision} {rule}");
        }
    }
}
