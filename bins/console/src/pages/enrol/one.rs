//! One enrolment: who came by it, its packages, and how it ends.

use askama::Template;
use enrol::{Agent, Format};
use event::Time;
use hyper::header::CONTENT_DISPOSITION;
use registry::enrolments::{self, Enrolment};
use registry::tally::{self, Used};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Row, edits};
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::pages::Head;
use crate::text;

/// Machines that are shown, the last that came.
const MACHINES_MAX: u64 = 100;

/// What is taken of a package.
pub const PACKAGE_WORDS: &[Word] = &[Word::new(
    "format",
    Kind::OneOf(&["pkg", "deb", "rpm", "sh", "ps1", "zip", "mobileconfig"]),
    "Its form; `formats` of the enrolment says which there are",
)
.needed()
.like("sh")];
/// Types of packages.
pub const TYPES: &[&str] = &[
    "application/octet-stream",
    "application/vnd.debian.binary-package",
    "application/x-rpm",
    "text/x-shellscript",
    "text/plain",
    "application/zip",
    "application/x-apple-aspen-config",
];

/// A machine that came by it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Came {
    key: String,
    hostname: Option<String>,
    enrolled: Time,
    seen: Time,
    #[serde(skip)]
    link: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "enrolment.html")]
#[schemars(rename = "EnrolmentWhole")]
pub struct One {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    row: Row,
    /// Forms that a package may have.
    formats: Vec<&'static str>,
    #[serde(skip)]
    forms: Vec<Format>,
    machines: Vec<Came>,
    /// Why nothing is known of machines.
    machines_away: Option<String>,
    /// Who signs installers of macOS.
    signed_by: Option<String>,
    /// What the configuration lacks for packages.
    #[serde(skip)]
    notes: Vec<String>,
    #[serde(skip)]
    agent: &'static str,
    #[serde(skip)]
    editor: bool,
}

/// The enrolment of the path, if this person sees its unit.
fn find(app: &App, asked: &Asked) -> Result<Enrolment, Wrong> {
    let found = app.registry(|db| enrolments::get(db, asked.part("id")))?;
    let seen = |one: &Enrolment| asked.who.as_ref().is_some_and(|who| who.sees(Some(&one.unit)));
    found.filter(seen).ok_or_else(|| Wrong::not_found("enrolment"))
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (config, found) = (app.live().config.clone(), find(app, asked)?);
    let counted = |db: &_| {
        let used = tally::by_enrolment(db)?.remove(&found.id).unwrap_or_default();
        Ok((used, tally::of_enrolment(db, &found.id, MACHINES_MAX)?))
    };
    let ((used, came), machines_away) = match app.machines(|known| known.enrolled(counted)) {
        Ok(told) => (told.unwrap_or_default(), None),
        Err(why) => ((Used::default(), Vec::new()), Some(Wrong::from(why).text)),
    };
    let machine = |one: tally::Came| Came {
        link: format!("/machines/{}", text::part(&one.key)),
        key: one.key,
        hostname: one.hostname,
        enrolled: one.enrolled,
        seen: one.seen,
    };
    let mut notes = Vec::new();
    if config.url.is_none() {
        notes.push("The configuration has no `url`: a package cannot say where the hub is.".to_owned());
    }
    if let Some(path) = enrol::believes_machines(&config) {
        notes.push(format!("There is no {}: packages trust the authorities of each machine.", path.display()));
    }
    let signed_by = match enrol::signer(&config) {
        Ok(None) => None,
        Ok(Some(signer)) => {
            let doubts = signer.doubts(Time::now()).into_iter();
            notes.extend(doubts.map(|doubt| format!("Installers of macOS are signed: {doubt}.")));
            Some(signer.identity.name().to_owned())
        }
        Err(why) => {
            notes.push(format!("Installers of macOS are to be signed and cannot be: {why}."));
            None
        }
    };
    let agent = Agent::of(&found.source);
    let forms: Vec<Format> = agent.map(|agent| agent.formats().to_vec()).unwrap_or_default();
    let page = One {
        head: Head::new(asked, format!("Enrolment {}", found.id)),
        row: Row::of(found, used, Time::now().ms()),
        formats: forms.iter().map(|form| form.name()).collect(),
        forms,
        machines: came.into_iter().map(machine).collect(),
        machines_away,
        signed_by,
        notes,
        agent: agent.map_or("", Agent::name),
        editor: edits(asked),
    };
    Answer::page(asked, &page)
}

/// The package as a file. It holds the secret: nothing on the way keeps it (`no-store`), and its address tells nothing.
pub fn package(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (config, found) = (app.live().config.clone(), find(app, asked)?);
    let known = || Format::ALL.map(Format::name).join(", ");
    let format = Format::ALL.into_iter().find(|format| format.name() == asked.field("format"));
    let format = format.ok_or_else(|| Wrong::new(400, format!("format: say one of {}", known()), ""))?;
    let made = app.write(|tx, now| enrol::package(&config, tx, &found, format, &asked.by(), now))?;
    let file = made.package;
    let name = format!("attachment; filename=\"{}\"", file.name);
    Ok(Answer::file(file.content_type, file.bytes).header(CONTENT_DISPOSITION, &name))
}

pub fn revoke(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let found = find(app, asked)?;
    app.write(|tx, now| enrol::revoke(tx, &found, &asked.by(), now))?;
    Ok(Answer::done(asked, &format!("/enrol/{}", text::part(&found.id))))
}
