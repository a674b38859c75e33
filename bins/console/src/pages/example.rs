//! A stored event becomes an example of a probe's filter: should it match, or should it not?

use askama::Template;
use probe::clauses::draw::{negation, one_line, words};
use probe::clauses::{Clauses, now};
use probe::{Decision, Limits, examples};
use registry::users;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use super::play::fixed;
use super::probe::of;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::edit::{Disk, EXAMPLE_MAX, Unsaved};
use crate::events::Events;
use crate::play::Hit;
use crate::text;

/// Characters of a reason.
const WHY_MAX: usize = 500;

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "example.html")]
#[schemars(rename = "ExampleAsked")]
pub struct Page {
    #[serde(skip)]
    head: Head,
    probe: String,
    #[serde(flatten)]
    event: Hit,
    /// What the filter on disk says: a match or not, and by which clause.
    says: String,
    /// The answer that it disagrees with: asked once more.
    #[serde(skip)]
    against: Option<bool>,
    #[serde(skip)]
    why: String,
    /// Why it cannot be added here; none: it can.
    fixed: Option<String>,
    #[serde(skip)]
    back: String,
}

const PROBE: Word = Word::new("probe", TEXT, "The probe").needed();
const EVENT: Word = Word::new("event", TEXT, "Id of a stored event").needed();
/// What is asked of an event.
pub const ASK_WORDS: &[Word] = &[PROBE, EVENT];
/// What is taken of a new example.
pub const ADD_WORDS: &[Word] = &[
    PROBE,
    EVENT,
    Word::new("match", Kind::OneOf(&["yes", "no"]), "Whether it should match").needed().like("yes"),
    Word::new("why", Kind::Text(WHY_MAX), "The reason, as the file says it"),
    Word::new("force", Kind::Flag, "Also if the filter says otherwise"),
];

/// What was added.
#[derive(Serialize, JsonSchema)]
pub struct Added {
    probe: String,
    /// Its file and line.
    place: String,
    event: String,
    r#match: bool,
}

/// The event and what the filter says of it.
struct Judged {
    line: String,
    bare: String,
    yes: Option<bool>,
    says: String,
}

/// A word of the form, or of the address.
fn word<'a>(asked: &'a Asked, name: &str) -> &'a str {
    if asked.form.contains_key(name) { asked.field(name) } else { asked.word(name) }
}

fn judged(app: &App, asked: &Asked, disk: Option<&Disk>) -> Result<Judged, Wrong> {
    let config = app.live().config.clone();
    let conf = of(&config, word(asked, "probe"))?;
    let missing = || Wrong::not_found("event");
    let line = Events::of(&config, asked.who.as_ref()).event(word(asked, "event"))?.ok_or_else(missing)?;
    let line = String::from_utf8(line).map_err(|_| missing())?;
    let bare = examples::bare(line.trim_end()).ok_or_else(missing)?;
    if bare.len() > EXAMPLE_MAX {
        let most = EXAMPLE_MAX >> 10;
        return Err(Wrong::new(
            413,
            format!("An example has at most {most} kB."),
            "Write a shorter one into the file.",
        ));
    }
    let unread = |e: String| Wrong::new(400, format!("The event cannot be judged: {e}"), "");
    let on_disk = disk.and_then(|disk| disk.filter(&conf.name).ok()).map(|filter| filter.text);
    let (from, text) = match (disk, on_disk) {
        (Some(disk), Some(text)) => (disk.config(), text),
        _ => (&*config, conf.filter.source.clone()),
    };
    let look = || {
        let val = probe::parse(bare.as_bytes()).map_err(|e| e.to_string())?;
        let clauses = Clauses::new(&text, &conf.name, &|path: &str| from.module(path)).map_err(|e| e.to_string())?;
        let explained = clauses.explain(&val, now(&val, 0), &Limits::default());
        let decided = explained.decided.and_then(|i| Some((clauses.clauses().get(i)?, explained.seen.get(i)?)));
        let by = decided.map(|(clause, seen)| {
            format!(": {} ({}{})", one_line(&clause.text), words(clause, seen), negation(clause, seen))
        });
        Ok::<_, String>((explained.decision, by.unwrap_or_default()))
    };
    let (decision, by) = probe::with_stack(look).map_err(|e| unread(e.to_string()))?.map_err(unread)?;
    let (yes, says) = match decision {
        Decision::Yes(_) => (Some(true), format!("a match{by}")),
        Decision::No => (Some(false), format!("no match{by}")),
        Decision::Failed(text) => (None, format!("an error: {text}")),
        Decision::Exceeded(limit) => (None, Limits::default().exceeded(limit)),
    };
    Ok(Judged { line, bare, yes, says: text::short(&says) })
}

fn page(app: &App, asked: &Asked, judged: &Judged, against: Option<bool>) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let conf = of(&config, word(asked, "probe"))?;
    let words = [("probe", conf.name.as_str()), ("event", word(asked, "event"))];
    let page = Page {
        head: Head { address: format!("/examples?{}", text::query(&words)), ..Head::new(asked, "Make it a test") },
        event: Hit::new(&judged.line, None),
        says: judged.says.clone(),
        against,
        why: word(asked, "why").to_owned(),
        fixed: fixed(app, asked.who.as_ref(), Some(conf)),
        back: format!("/probes/{}", text::part(&conf.name)),
        probe: conf.name.clone(),
    };
    Answer::page(asked, &page)
}

pub fn form(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let disk = app.disk().ok();
    page(app, asked, &judged(app, asked, disk.as_deref())?, None)
}

pub fn add(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let conf = of(&config, asked.field("probe"))?;
    if let Some(why) = fixed(app, asked.who.as_ref(), Some(conf)) {
        return Err(Wrong::new(403, why, "At a shell: `zentral test add PROBE EVENT-ID yes`."));
    }
    let want = match asked.field("match") {
        "yes" | "true" => true,
        "no" | "false" => false,
        _ => return Err(Wrong::new(400, "Should it match, yes or no?", "")),
    };
    if asked.field("why").chars().count() > WHY_MAX {
        return Err(Wrong::new(400, format!("A reason has at most {WHY_MAX} letters."), ""));
    }
    let _leave = app.writing();
    let no = |why: String| Wrong::new(409, why, "Nothing was written.");
    let disk = Disk::read(&config).map_err(no)?;
    let judged = judged(app, asked, Some(&disk))?;
    if judged.yes != Some(want) && !asked.says_yes("force") {
        if asked.json {
            let why = format!("The filter says {}; with `force` it is added all the same.", judged.says);
            return Err(Wrong::new(409, why, ""));
        }
        return Ok(page(app, asked, &judged, Some(want))?.status(409));
    }
    let val = probe::parse(judged.bare.as_bytes()).map_err(|e| no(e.to_string()))?;
    let (ready, place) = disk
        .prepare_example(&conf.name, |before| match examples::with_event(before, &val) {
            Some(known) => Err(format!("Line {} of its examples has this event already.", known.line)),
            None => Ok(examples::added(before, want, asked.field("why"), &judged.bare)),
        })
        .map_err(no)?;
    let added = Added { probe: conf.name.clone(), place, event: asked.field("event").to_owned(), r#match: want };
    let told = serde_json::to_value(&added).unwrap_or_default();
    let done = app.write(|tx, now| {
        users::audit(tx, &asked.by(), "probe_example_added", told, now)?;
        ready.write()
    });
    match done {
        Ok(()) if asked.json => Ok(Answer::json(&added)?.status(201)),
        Ok(()) => Ok(Answer::to(&format!("/probes/{}?added=1", text::part(&conf.name)))),
        Err(Unsaved::Registry(e)) => Err(e.into()),
        Err(Unsaved::Not(why)) => Err(no(why)),
        Err(Unsaved::Changed(_) | Unsaved::Wrong(_)) => Err(no("The file is another by now.".into())),
    }
}
