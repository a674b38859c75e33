//! What an editor changes about a machine: tags, a clean sync of its Santa, leave to enrol.

use event::Machine;
use pipe::config::is_name;
use registry::by_hand::Change;
use registry::db::{DbError, Tx};
use registry::known::{Found, Known, Unread};
use registry::pending::Pending;
use registry::tags;
use registry::users::Role;

use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::text;

/// Tags that one form gives or takes.
const TAGS_MAX: usize = 100;
/// The source whose syncs can be ordered.
const SANTA: &str = "santa";
/// Kinds of sync that can be ordered: the word of a form, and that of the protocol.
const SYNCS: [(&str, &str); 2] = [("clean", "CLEAN"), ("clean-all", "CLEAN_ALL")];

/// What is taken of tags.
pub const TAG_WORDS: &[Word] = &[
    Word::new("add", Kind::List, "Tags that it is given, at most 100").like("lab"),
    Word::new("remove", Kind::List, "Tags that are taken away, at most 100"),
];
/// What is taken of a sync.
pub const SYNC_WORDS: &[Word] =
    &[Word::new("kind", Kind::OneOf(&["clean", "clean-all"]), "Which").needed().like("clean")];
/// What is taken of leave to enrol.
pub const APPROVE_WORDS: &[Word] =
    &[Word::new("hardware", TEXT, "What waits, as `pending` of the machine says it").needed()];

/// A machine that this person sees.
pub struct Seen {
    pub key: String,
    pub machine: Machine,
}

/// The machine of the path, if this person sees it, and what else `look` finds.
pub fn find<T>(
    app: &App,
    asked: &Asked,
    look: impl FnOnce(&Known, &str) -> Result<T, Unread>,
) -> Result<(Seen, T), Wrong> {
    called(app, asked, asked.part("key"), look)
}

/// The machine that is called so.
pub fn called<T>(
    app: &App,
    asked: &Asked,
    name: &str,
    look: impl FnOnce(&Known, &str) -> Result<T, Unread>,
) -> Result<(Seen, T), Wrong> {
    let found = app.machines(|known| {
        let Found::One(key) = known.find(name) else { return Ok(None) };
        let machine = known.block(&key);
        if asked.who.as_ref().is_none_or(|who| !who.sees(machine.unit.as_deref())) {
            return Ok(None);
        }
        let more = look(known, &key)?;
        Ok(Some((Seen { key, machine }, more)))
    })?;
    found.ok_or_else(|| {
        // Events may name what never enrolled: a webhook's do.
        let name = asked.part("key");
        let query = format!("{} OR {}", text::is("machine.hostname", name), text::is("machine.serial_number", name));
        let path = format!("/events?{}", text::query(&[("q", &query), ("since", "30d")]));
        let advice = "It may have been forgotten, or never have enrolled: a webhook's events make no machines.";
        Wrong::new(404, "There is no such machine.", advice).or_look(path, "Events that name it")
    })
}

/// Changes it; what is known of machines is looked at anew afterwards.
pub fn change(
    app: &App,
    asked: &Asked,
    seen: &Seen,
    what: impl FnOnce(Change<'_>, &mut Tx<'_>) -> Result<(), DbError>,
) -> Result<(), Wrong> {
    let by = asked.by();
    app.write(|tx, now| what(Change { key: &seen.key, machine: &seen.machine, by: &by, now }, tx))?;
    app.look_anew();
    Ok(())
}

/// Back to the machine; a program hears that it is done.
fn done(asked: &Asked, seen: &Seen) -> Answer {
    Answer::done(asked, &format!("/machines/{}", text::part(&seen.key)))
}

/// The forms on a machine's page.
#[derive(Debug, Default)]
pub struct Forms {
    /// Where the forms of this machine lead, without their last word.
    pub base: String,
    /// Tags that were given by hand, which can be taken away.
    pub by_hand: Vec<String>,
    /// Those that come from the unit, the enrolment or a query.
    pub others: Vec<String>,
    /// It has a Santa.
    pub santa: bool,
    /// What tries to enrol as this machine and waits for leave: the word of the form, and the whole of it.
    pub waits: Vec<(String, String)>,
    pub editor: bool,
    pub admin: bool,
}

impl Forms {
    pub fn of(app: &App, asked: &Asked, seen: &Seen, santa: bool, waits: &[Pending]) -> Result<Self, Wrong> {
        let by_hand = app.registry(|db| tags::of(db, &seen.key))?;
        let is = |least| asked.who.as_ref().is_some_and(|who| who.role >= least);
        let wait = |one: &Pending| {
            let what = format!("{} of {} ({})", one.source, one.hardware, one.why);
            (one.hardware.clone(), text::short(&what))
        };
        Ok(Self {
            base: format!("/machines/{}", text::part(&seen.key)),
            others: seen.machine.tags.iter().filter(|tag| !by_hand.contains(tag)).cloned().collect(),
            by_hand,
            santa,
            waits: waits.iter().filter(|one| one.approved.is_none()).map(wait).collect(),
            editor: is(Role::Editor),
            admin: is(Role::Admin),
        })
    }
}

/// Whether a source knows the machine whose syncs can be ordered, and what waits for leave.
pub fn look(known: &Known, key: &str) -> Result<(bool, Vec<Pending>), Unread> {
    Ok((known.has_source(key, SANTA), known.details()?.pending(key)?))
}

fn words(asked: &Asked, field: &str) -> Result<Vec<String>, Wrong> {
    let words = asked.field(field).split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    if words.len() > TAGS_MAX {
        return Err(Wrong::new(400, format!("{field}: at most {TAGS_MAX} tags at once."), ""));
    }
    match words.iter().find(|word| !is_name(word)) {
        Some(odd) => Err(Wrong::new(
            400,
            format!("{field}: `{}` is no tag.", text::short(odd)),
            "A tag is made of a-z, 0-9 and -, at most 63 of them.",
        )),
        None => Ok(words),
    }
}

pub fn tag(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (add, remove) = (words(asked, "add")?, words(asked, "remove")?);
    let (seen, ()) = find(app, asked, |_, _| Ok(()))?;
    if add.is_empty() && remove.is_empty() {
        return Err(Wrong::new(400, "Say tags in `add` or in `remove`.", ""));
    }
    change(app, asked, &seen, |change, tx| change.tag(tx, &add, &remove).map(|_| ()))?;
    Ok(done(asked, &seen))
}

pub fn sync(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (seen, (santa, _)) = find(app, asked, look)?;
    let kind = SYNCS.iter().find(|(word, _)| *word == asked.field("kind"));
    let (_, kind) = kind.ok_or_else(|| Wrong::new(400, "kind: say clean or clean-all.", ""))?;
    if !santa {
        return Err(Wrong::new(409, "No Santa of this machine has synced yet.", ""));
    }
    change(app, asked, &seen, |change, tx| change.sync(tx, kind))?;
    Ok(done(asked, &seen))
}

pub fn approve(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (seen, (_, waits)) = find(app, asked, look)?;
    let hardware = asked.field("hardware");
    let one = waits.iter().find(|one| one.approved.is_none() && one.hardware == hardware);
    let one = one.ok_or_else(|| Wrong::new(409, "Nothing like that waits for leave.", "It may have been given."))?;
    change(app, asked, &seen, |change, tx| change.approve(tx, one))?;
    Ok(done(asked, &seen))
}
