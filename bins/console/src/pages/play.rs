//! The playground: a filter that somebody writes, over events of the past, beside the one that runs; and saving it.

use askama::Template;
use event::steers;
use hyper::header::CONTENT_DISPOSITION;
use pipe::config::{Config, ProbeConf, is_name};
use registry::users;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Head;
use super::chart::{SPAN_WORDS, SPANS};
use super::probe::{of, place};
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::edit::{self, Disk, FILTER_MAX, Unsaved};
use crate::events::Events;
use crate::examples::{self, Checked};
use crate::play::{self, Ran, Trial, Untried};
use crate::specs::Gate;
use crate::text;

/// How far back a trial looks, if nobody says.
const SINCE: &str = "24h";
/// Mistakes that are shown.
const PROBLEMS_MAX: usize = 20;
/// What a filter of nobody begins with.
const BLANK: &str = "# What this finds, in one line\nselect(.type == \"osquery_result\")\n| {title: \"\\(.type) on \\(.machine.hostname)\"}\n";

const FILTER: Word = Word::new("filter", Kind::Text(FILTER_MAX), "The filter, in jq")
    .needed()
    .like("select(.type == \"osquery_result\")");
/// What is taken to try one.
pub const TRY_WORDS: &[Word] =
    &[FILTER, Word::new("since", Kind::OneOf(SPAN_WORDS), "How far back it looks; 24h").like("1h")];
/// What is taken to save one.
pub const SAVE_WORDS: &[Word] =
    &[FILTER, Word::new("seen", TEXT, "SHA-256, in base64url, of the text that is to be replaced").needed()];

/// What was saved.
#[derive(Serialize, JsonSchema)]
pub struct Saved {
    saved: bool,
    probe: String,
    /// Where it stands.
    file: String,
    /// SHA-256, in base64url, of the text.
    seen: String,
}

/// Somebody else has saved meanwhile.
#[derive(Serialize, JsonSchema)]
pub struct Theirs {
    error: &'static str,
    /// Their text.
    filter: String,
    /// SHA-256, in base64url, of it.
    seen: String,
}

/// The form, and what came of the last try.
#[derive(Template, Serialize, Default, JsonSchema)]
#[template(path = "play.html")]
#[schemars(rename = "Trial")]
pub struct Bench {
    #[serde(skip)]
    head: Head,
    /// The probe; empty: of nobody yet.
    probe: String,
    /// What is wrong with the filter, each with line, column and caret.
    problems: Vec<String>,
    /// What is most likely not meant.
    doubts: Vec<String>,
    #[serde(flatten)]
    ran: Option<Ran>,
    examples: Option<Checked>,
    /// Why there is nothing to tell.
    error: Option<String>,
    /// The filter as markup.
    #[serde(skip)]
    program: String,
    /// Somebody else's, saved meanwhile, as markup.
    #[serde(skip)]
    theirs: Option<String>,
    /// Which text is to be replaced.
    #[serde(skip)]
    seen: String,
    #[serde(skip)]
    place: String,
    /// Why it cannot be saved; none: it can.
    #[serde(skip)]
    fixed: Option<String>,
    #[serde(skip)]
    spans: Vec<(&'static str, &'static str, bool)>,
    #[serde(skip)]
    to_try: String,
    #[serde(skip)]
    to_save: String,
    #[serde(skip)]
    back: String,
}

impl Bench {
    /// The tables of events, each with what it is.
    fn groups(&self) -> Vec<(&'static str, &'static str, usize, &[play::Hit])> {
        let Some(ran) = &self.ran else { return Vec::new() };
        let all: [(&str, &str, usize, &[play::Hit]); 3] = if ran.compared {
            [
                ("new", "New matches", ran.new, &ran.new_hits),
                ("lost", "Lost matches", ran.lost, &ran.lost_hits),
                ("same", "Match with both", ran.same, &ran.same_hits),
            ]
        } else {
            [("same", "Matches", ran.same, &ran.same_hits), ("", "", 0, &[]), ("", "", 0, &[])]
        };
        all.into_iter().filter(|(id, ..)| !id.is_empty()).collect()
    }

    fn example_link(&self, hit: &play::Hit) -> String {
        format!("/examples?{}", text::query(&[("probe", &self.probe), ("event", &hit.id)]))
    }
}

/// What the page is about.
struct About<'c> {
    conf: Option<&'c ProbeConf>,
    gate: Gate,
}

fn about<'c>(config: &'c Config, asked: &Asked) -> Result<About<'c>, Wrong> {
    let name = asked.part("name");
    let conf = if name.is_empty() { None } else { Some(of(config, name)?) };
    Ok(About { conf, gate: conf.map_or_else(Gate::open, Gate::of) })
}

/// The page without anything tried.
fn bench(app: &App, asked: &Asked, about: &About<'_>, text: &str, seen: &str) -> Bench {
    let since = span(asked);
    let name = about.conf.map(|conf| conf.name.clone()).unwrap_or_default();
    let path = |end: &str| format!("/probes/{}/{end}", text::part(&name));
    let own = !name.is_empty();
    let edit_path = if own { path("edit") } else { "/playground".to_owned() };
    Bench {
        head: Head { address: edit_path, ..Head::new(asked, if own { "Try a filter" } else { "Playground" }) },
        program: text::program(text),
        seen: seen.to_owned(),
        place: about.conf.map(|conf| place(&app.live().config, conf)).unwrap_or_default(),
        fixed: fixed(app, asked.who.as_ref(), about.conf),
        spans: SPANS.iter().map(|(word, _, name)| (*word, *name, *word == since)).collect(),
        to_try: if own { path("try") } else { "/playground".to_owned() },
        to_save: if own { path("save") } else { String::new() },
        back: if own { format!("/probes/{}", text::part(&name)) } else { "/probes".to_owned() },
        probe: name,
        ..Bench::default()
    }
}

fn span(asked: &Asked) -> &'static str {
    let said = asked.field("since");
    SPANS.iter().map(|(word, ..)| *word).find(|word| *word == said).unwrap_or(SINCE)
}

/// Why this person cannot save this filter here; none: they can.
pub fn fixed(app: &App, who: Option<&Who>, conf: Option<&ProbeConf>) -> Option<String> {
    let live = app.live();
    let Some(conf) = conf else {
        return Some("It belongs to no probe yet: put it into a file NAME.jq, and a table [probe.NAME] with filter = \"NAME.jq\" into an included file.".into());
    };
    if !live.conf.edit {
        return Some("The console does not write files here: `edit = true` under [stage.console] lets it.".into());
    }
    if who.is_none_or(|who| !who.units.is_empty()) {
        return Some("A probe is about machines of all units: who is kept to some changes none.".into());
    }
    app.disk().and_then(|disk| disk.file(&conf.name)).err()
}

/// The filter that was sent, with the ends of lines that files have.
fn sent(asked: &Asked) -> Result<String, Wrong> {
    let text = asked.field("filter").replace("\r\n", "\n");
    if text.len() > FILTER_MAX {
        let most = FILTER_MAX >> 10;
        return Err(Wrong::new(
            413,
            format!("A filter has at most {most} kB here."),
            "Longer ones are for a file and `zentral plan`.",
        ));
    }
    Ok(text)
}

/// A character that a page does not show, and so would lose.
fn unshown(text: &str) -> Option<String> {
    let odd = |line: &str| line.chars().find(|c| steers(*c) && *c != '\t');
    let (line, odd) = (1..).zip(text.split('\n')).find_map(|(n, line)| Some((n, odd(line)?)))?;
    Some(format!(
        "Line {line} holds the character U+{:04X}, which is not shown here and would be lost.",
        u32::from(odd)
    ))
}

pub fn form(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let about = about(&config, asked)?;
    let disk = about.conf.map(|conf| app.disk().and_then(|disk| disk.filter(&conf.name)));
    let (text, seen, error) = match (disk, about.conf) {
        (Some(Ok(disk)), _) => (disk.text, disk.seen, None),
        (Some(Err(why)), Some(conf)) => (conf.filter.source.clone(), String::new(), Some(why)),
        _ => (BLANK.to_owned(), String::new(), None),
    };
    let mut page = bench(app, asked, &about, &text, &seen);
    page.error = unshown(&text).or(error);
    if page.error.is_some() && page.fixed.is_none() {
        page.fixed = Some("Edit it with an editor of your own.".into());
    }
    Answer::page(asked, &page)
}

pub fn tried(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let (about, text) = (about(&config, asked)?, sent(asked)?);
    let who = asked.by().who;
    let leave = app.play(&who).ok_or_else(|| {
        Wrong::new(
            429,
            "A filter runs already.",
            "One at a time for each person, and few at all: try again in some seconds.",
        )
    })?;
    let mut page = bench(app, asked, &about, &text, asked.field("seen"));
    let events = Events::of(&config, asked.who.as_ref());
    let running = about.conf.map(|conf| conf.filter.source.as_str());
    let trial = Trial { gate: &about.gate, filter: &text, running, since: span(asked) };
    let mut status = 200;
    if let Some(odd) = unshown(&text) {
        (page.error, status) = (Some(odd), 400);
        return Ok(Answer::page(asked, &page)?.status(status));
    }
    match play::run(&config, &events, &trial) {
        Ok(ran) => page.ran = Some(ran),
        Err(Untried::Wrong(error)) => {
            page.problems = problems(&[error]);
            status = 400;
        }
        Err(Untried::Away(why)) => (page.error, status) = (Some(why.text().to_owned()), why.status()),
        Err(Untried::Broken(why)) => return Err(Wrong::new(500, format!("The filter could not be run: {why}"), "")),
    }
    if page.problems.is_empty() {
        page.doubts = about.gate.doubts(&text, &config);
        // Examples may be of machines of any unit.
        let sees_all = asked.who.as_ref().is_some_and(|who| who.units.is_empty());
        page.examples = about.conf.filter(|_| sees_all).map(|conf| examples::check(&config, conf, &text));
    }
    drop(leave);
    Ok(Answer::page(asked, &page)?.status(status))
}

/// Each mistake once, with its line and caret.
fn problems(errors: &[probe::CompileError]) -> Vec<String> {
    let mut all: Vec<String> = errors.iter().flat_map(|error| &error.problems).map(ToString::to_string).collect();
    all.sort();
    all.dedup();
    all.truncate(PROBLEMS_MAX);
    all
}

pub fn save(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let (about, text) = (about(&config, asked)?, sent(asked)?);
    let conf = about.conf.ok_or_else(|| Wrong::not_found("probe"))?;
    if let Some(why) = fixed(app, asked.who.as_ref(), Some(conf)) {
        return Err(Wrong::new(403, why, "The text can be copied, or taken as a file."));
    }
    let mut page = bench(app, asked, &about, &text, asked.field("seen"));
    if let Some(odd) = unshown(&text) {
        page.error = Some(odd);
        return Ok(Answer::page(asked, &page)?.status(400));
    }
    match write(app, asked, conf, &text) {
        Ok(()) => {
            if asked.json {
                let (probe, seen) = (conf.name.clone(), edit::digest(&text));
                return Answer::json(&Saved { saved: true, probe, file: page.place, seen });
            }
            Ok(Answer::to(&format!("{}?saved=1", page.back)))
        }
        Err(Unsaved::Changed(now)) => {
            let why = "Somebody else has saved this filter meanwhile: nothing was written, and nothing is lost.";
            if asked.json {
                return Ok(Answer::json(&Theirs { error: why, filter: now.text, seen: now.seen })?.status(409));
            }
            // Whoever saves now has seen theirs.
            (page.error, page.theirs, page.seen) = (Some(why.into()), Some(text::program(&now.text)), now.seen);
            Ok(Answer::page(asked, &page)?.status(409))
        }
        Err(Unsaved::Wrong(errors)) => {
            page.problems = problems(&errors);
            page.error = Some("Nothing was written: with this text the filters do not compile.".into());
            Ok(Answer::page(asked, &page)?.status(400))
        }
        Err(Unsaved::Not(why)) => Err(Wrong::new(409, why, "Nothing was written.")),
        Err(Unsaved::Registry(e)) => Err(e.into()),
    }
}

/// Writes the file, and who did it into the same transaction: what cannot be told is not done.
fn write(app: &App, asked: &Asked, conf: &ProbeConf, text: &str) -> Result<(), Unsaved> {
    let _leave = app.writing();
    let config = app.live().config.clone();
    let disk = Disk::read(&config).map_err(Unsaved::Not)?;
    let ready = disk.prepare(&conf.name, asked.field("seen"), text)?;
    let what = json!({"probe": conf.name, "file": place(&config, conf), "bytes": text.len()});
    app.write(|tx, now| {
        users::audit(tx, &asked.by(), "probe_saved", what, now)?;
        ready.write()
    })
}

/// The text as a file.
pub fn file(_: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = Some(asked.field("probe")).filter(|name| is_name(name)).unwrap_or("filter");
    let answer = Answer::file("text/plain; charset=utf-8", sent(asked)?.into_bytes());
    Ok(answer.header(CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}.jq\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_would_lose_is_named() {
        assert_eq!(unshown("# ü\n\t.a\n"), None);
        assert_eq!(unshown(BLANK), None);
        let odd = unshown(".a\n.b \u{202e}").unwrap_or_default();
        assert!(odd.starts_with("Line 2 holds the character U+202E"), "{odd}");
        assert!(unshown("\u{1b}").is_some_and(|odd| odd.contains("U+001B")));
    }
}
