//! What Jamf does with a computer: it goes into a static group or out of it, an extension attribute says something, a
//! command is sent to it. Which group, attribute and command the configuration says literally; of a match only the
//! computer is taken, and what the attribute says.
//!
//! The computer is looked up first. Until then nothing is changed, so trouble before is tried again; a member that is put
//! into a group twice is in it once, so a change of which nobody knows is made again. A command is not.
//!
//! Of an incident it is noted who was put into a group and was not in it before: that is what its end undoes.

mod noted;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipe::config::{Secret, Settings};
use remote::http::{Http, Trouble};
use remote::jamf::changes::{self, Body, Change, Named};
use remote::jamf::{Jamf, Which};
use serde_json::{Map, Value, json};

use self::noted::{Moved, Noted};
use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec, Trying, Verdict};
use crate::call::Call;
use crate::jq::Jq;
use crate::told::Phase;

/// The kind.
pub const KIND: Kind =
    Kind { name: "jamf", repeatable: false, timeout: Duration::from_secs(60), changes_machines: true, read };

/// The commands that may be sent; those marked take the machine from whoever sits before it, and are spelled out twice.
const COMMANDS: [(&str, bool); 8] = [
    ("BLANK_PUSH", false),
    ("RESTART_DEVICE", false),
    ("SHUT_DOWN_DEVICE", false),
    ("LOG_OUT_USER", false),
    ("ENABLE_REMOTE_DESKTOP", false),
    ("DISABLE_REMOTE_DESKTOP", false),
    ("DEVICE_LOCK", true),
    ("ERASE_DEVICE", true),
];
/// By these a server says that it did not begin; by any other it may have failed after it did what was asked.
const NOT_TAKEN: [u16; 3] = [425, 429, 503];
/// Digits of the PIN that unlocks a Mac.
const PIN_LEN: usize = 6;
const NO_GROUP: &str = "there is no such group in Jamf";
/// The longest value of an extension attribute, in bytes.
const VALUE_MAX: usize = 32 << 10;

struct Conf {
    url: String,
    id: String,
    secret: Secret,
    ca: Option<PathBuf>,
    what: What,
    pin: Option<Secret>,
}

/// What is done.
#[derive(Clone)]
enum What {
    /// In or out of a static group; at the end of an incident what was changed goes the other way if `undo`.
    Group { group: Named, into: bool, undo: bool },
    /// What an attribute says; at the end of an incident `closed`, if that is there.
    Attribute { attribute: Named, value: Arc<str>, closed: Option<Arc<str>> },
    /// A command.
    Command(&'static str),
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    let server = server(settings, reading);
    if settings.has("digest") {
        settings.fail("digest", "is many matches in one: each is of a computer of its own");
    }
    let kinds: Vec<&str> = ["group", "attribute", "command"].into_iter().filter(|key| settings.has(key)).collect();
    if kinds.len() != 1 {
        settings.fail("", "needs one of the keys `group`, `attribute`, `command`");
    }
    let what = match *kinds.first()? {
        "group" => Some(What::Group {
            group: named(settings, "group")?,
            into: !settings.bool("remove").unwrap_or(false),
            undo: settings.bool("undo").unwrap_or(true),
        }),
        "attribute" => {
            let attribute = named(settings, "attribute");
            if !settings.has("value") {
                settings.fail("", "needs the key `value`, jq that gives what the attribute says");
            }
            let (value, closed) = (reading.program(settings, "value"), reading.program(settings, "closed"));
            Some(What::Attribute { attribute: attribute?, value: value?, closed })
        }
        _ => command(settings).map(What::Command),
    };
    let pin = match &what {
        Some(What::Command(_)) => settings.secret("pin"),
        _ => None,
    };
    if let Some(What::Command("DEVICE_LOCK")) = &what
        && !settings.has("pin")
    {
        settings.fail("", "needs the key `pin`: without it nobody can unlock the machine");
    }
    let (url, id, secret, ca) = server?;
    Some(Box::new(Conf { url, id, secret, ca, what: what?, pin }))
}

/// Whom to ask, and as whom: `source`, or `url` and `client`.
fn server(settings: &mut Settings, reading: &Reading<'_>) -> Option<(String, String, Secret, Option<PathBuf>)> {
    let Some(name) = settings.str("source") else {
        if !settings.has("url") || !settings.has("client") {
            settings.fail("", "needs the keys `url` and `client`, or `source`, the name of a [source.*] with both");
        }
        return table(settings);
    };
    for key in ["url", "client", "ca"].into_iter().filter(|key| settings.has(key)).collect::<Vec<_>>() {
        settings.fail(key, "the source says it already");
    }
    let source = reading.config.sources.get(&name).filter(|_| reading.config.source_kind(&name) == "jamf");
    let Some(mut source) = source.cloned() else {
        settings.fail("source", format!("there is no [source.{name}] of the kind jamf"));
        return None;
    };
    let read = table(&mut source);
    if read.is_none() {
        settings.fail("source", format!("[source.{name}] does not say whom to ask, and who asks (`url`, `client`)"));
    }
    read
}

fn table(table: &mut Settings) -> Option<(String, String, Secret, Option<PathBuf>)> {
    let ca = table.path("ca");
    let url = table.str("url").and_then(|text| match remote::address(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            table.fail("url", why);
            None
        }
    });
    let mut client = table.table("client")?;
    let (id, secret) = (client.required_str("id"), client.secret("secret"));
    if secret.is_none() && !client.has("secret") {
        client.fail("", "needs the key `secret`");
    }
    table.absorb(client);
    Some((url?, id?, secret?, ca))
}

/// A name, or the server's number.
fn named(settings: &mut Settings, key: &str) -> Option<Named> {
    if settings.peek(key).is_some() {
        let name = settings.str(key)?;
        if name.trim().is_empty() {
            settings.fail(key, "is the name or the number that it has in Jamf");
        }
        return Some(Named::Name(name));
    }
    let id = settings.int(key)?;
    let id = u64::try_from(id).ok().filter(|id| *id > 0);
    if id.is_none() {
        settings.fail(key, "is the name or the number that it has in Jamf");
    }
    id.map(Named::Id)
}

fn command(settings: &mut Settings) -> Option<&'static str> {
    let word = settings.word("command", &COMMANDS.map(|(word, _)| word))?;
    let confirmed = settings.str("confirm");
    let grave = COMMANDS.iter().any(|(own, grave)| *own == word && *grave);
    if grave && confirmed.as_deref() != Some(word) {
        let text = format!("{word} takes the machine from its user: say it twice, confirm = \"{word}\"");
        settings.fail(if settings.has("confirm") { "confirm" } else { "command" }, text);
    } else if !grave && confirmed.is_some() {
        settings.fail("confirm", "belongs to DEVICE_LOCK and ERASE_DEVICE");
    }
    Some(word)
}

impl Spec for Conf {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let secret = opening.secret(&self.secret, STAND_IN)?;
        let pin = self.pin.as_ref().map(|pin| opening.secret(pin, &"0".repeat(PIN_LEN))).transpose()?;
        let pin = pin.map(|pin| pin.trim().to_owned());
        if pin.as_ref().is_some_and(|pin| pin.len() != PIN_LEN || !pin.bytes().all(|b| b.is_ascii_digit())) {
            return Err(format!("`pin` is not {PIN_LEN} digits"));
        }
        // The queue tries again, and knows when.
        let http = Http::new(self.ca.as_deref(), 1)?;
        let jamf = Jamf::new(http, &self.url, self.id.clone(), secret);
        Ok(Arc::new(Live { jamf, url: self.url.clone(), what: self.what.clone(), pin, jq: opening.jq.clone() }))
    }

    fn repeatable(&self) -> Option<bool> {
        Some(!matches!(self.what, What::Command(_)))
    }
}

struct Live {
    jamf: Jamf,
    url: String,
    what: What,
    pin: Option<String>,
    jq: Jq,
}

/// What this delivery asks for.
enum Asked {
    Membership(Named, bool),
    Undoes(Vec<Moved>),
    Says(Named, String),
    Sends(&'static str),
}

/// Why it was not done: before anything was changed, or when it was.
enum Failed {
    Before(Trouble, &'static str),
    Within(Trouble),
}

impl Live {
    /// None: nothing is to be done about this.
    async fn asked(&self, call: &Call) -> Result<Option<Asked>, String> {
        let closed = call.told.state == Some(Phase::Closed);
        Ok(match &self.what {
            What::Group { undo: false, .. } if closed => None,
            What::Group { .. } if closed => {
                let made = Noted::of(call).all;
                (!made.is_empty()).then_some(Asked::Undoes(made))
            }
            What::Group { group, into, .. } => Some(Asked::Membership(group.clone(), *into)),
            What::Attribute { closed: None, .. } if closed => None,
            What::Attribute { attribute, value, closed: over } => {
                let program = over.as_ref().filter(|_| closed).unwrap_or(value);
                Some(Asked::Says(attribute.clone(), self.value(program, call).await?))
            }
            // It was sent when the incident began.
            What::Command(_) if call.told.state.is_some_and(|state| state != Phase::Opened) => None,
            What::Command(command) => Some(Asked::Sends(command)),
        })
    }

    async fn value(&self, program: &Arc<str>, call: &Call) -> Result<String, String> {
        let said = self.jq.one(program, call.input(&Map::new()), call.event.received.ms()).await;
        let said = said.map_err(|why| format!("`value`: {why}"))?;
        let text = match serde_json::from_slice(&said) {
            Ok(Value::String(text)) => text,
            Ok(Value::Null) => String::new(),
            Ok(plain @ (Value::Number(_) | Value::Bool(_))) => plain.to_string(),
            _ => return Err("`value`: it is neither text nor a number".to_owned()),
        };
        if text.len() > VALUE_MAX {
            return Err(format!("`value`: it is longer than {VALUE_MAX} bytes"));
        }
        Ok(text)
    }

    /// `noted`: what is to be known of it at the end of the incident, if it is about one.
    async fn done(&self, call: &Call, asked: &Asked, noted: Option<&mut Noted>) -> Result<(), Failed> {
        if let Asked::Undoes(made) = asked {
            return self.undo(made, noted).await;
        }
        let which = &which(call).map_err(|why| Failed::Before(Trouble::Other(why), ""))?;
        let unknown = |why| Failed::Before(why, "Jamf does not know this computer");
        let computer = self.jamf.find(which).await.map_err(unknown)?;
        let change = match asked {
            Asked::Membership(group, into) => {
                let group = self.jamf.static_group(group).await;
                let group = group.map_err(|why| Failed::Before(why, NO_GROUP))?;
                if let Some(noted) = noted {
                    let members = self.jamf.members(group).await.map_err(|why| Failed::Before(why, NO_GROUP))?;
                    if members.contains(&computer) == *into {
                        return Ok(());
                    }
                    let moved = Moved { group, computer, into: *into };
                    noted.add(moved).map_err(|why| Failed::Before(Trouble::Other(why), ""))?;
                }
                changes::membership(&group.to_string(), &computer.to_string(), *into)
            }
            Asked::Says(attribute, value) => {
                let attribute = self.jamf.attribute(attribute).await;
                let attribute =
                    attribute.map_err(|why| Failed::Before(why, "there is no such extension attribute in Jamf"))?;
                changes::attribute(&attribute.to_string(), &computer.to_string(), value)
            }
            Asked::Undoes(_) => return Ok(()),
            Asked::Sends(command) => {
                let management = self.jamf.management(computer).await.map_err(unknown)?;
                changes::command(&management, command, &self.with(command, self.pin.as_deref()))
            }
        };
        self.jamf.make(&change).await.map_err(Failed::Within)
    }

    /// Each that is still as it was made goes back; those that could not be asked for stay noted.
    async fn undo(&self, made: &[Moved], noted: Option<&mut Noted>) -> Result<(), Failed> {
        let (mut members, mut left, mut failed) = (HashMap::new(), Vec::new(), None);
        for moved in made {
            match self.undo_one(moved, &mut members).await {
                // What is no longer there needs no undoing.
                Ok(()) | Err(Trouble::Missing) => {}
                Err(why) => {
                    left.push(moved.clone());
                    failed = failed.or(Some(why));
                }
            }
        }
        if let Some(noted) = noted {
            noted.leave(left);
        }
        failed.map_or(Ok(()), |why| Err(Failed::Within(why)))
    }

    async fn undo_one(&self, moved: &Moved, members: &mut HashMap<u64, HashSet<u64>>) -> Result<(), Trouble> {
        let Moved { group, computer, into } = moved;
        let members = match members.entry(*group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.jamf.members(*group).await?),
        };
        if members.contains(computer) != *into {
            return Ok(());
        }
        self.jamf.make(&changes::membership(&group.to_string(), &computer.to_string(), !into)).await
    }

    /// Where it is to be noted what was changed: of a group, for an incident.
    fn notes(&self, call: &Call) -> Option<Noted> {
        let undo = matches!(self.what, What::Group { undo: true, .. });
        (undo && call.told.incident.is_some()).then(|| Noted::of(call))
    }

    /// What belongs to a command.
    fn with<'a>(&self, command: &str, pin: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        let takes_pin = matches!(command, "DEVICE_LOCK" | "ERASE_DEVICE");
        pin.filter(|_| takes_pin).map(|pin| ("pin", pin)).into_iter().collect()
    }
}

/// The computer of a match.
fn which(call: &Call) -> Result<Which, String> {
    let machine = call.event.machine.as_ref();
    let said = |of: Option<&String>| of.filter(|text| !text.is_empty()).cloned();
    let serial = machine.and_then(|machine| said(machine.serial_number.as_ref()));
    let udid = machine.and_then(|machine| said(machine.hardware_uuid.as_ref()));
    serial.map(Which::Serial).or(udid.map(Which::Udid)).ok_or_else(|| {
        "the match names no computer that Jamf could know: neither a serial number nor a hardware UUID".to_owned()
    })
}

fn answer(failed: Failed, asked: &Asked) -> Answer {
    let (trouble, missing, changed) = match failed {
        Failed::Before(trouble, missing) => (trouble, missing, false),
        Failed::Within(trouble) => (trouble, "there is no such computer or group in Jamf", true),
    };
    let why = trouble.to_string();
    match trouble {
        Trouble::Missing => Answer::never(Some(404), missing),
        Trouble::Denied(status) | Trouble::Refused(status) => Answer::never(Some(i64::from(status)), why),
        Trouble::Other(why) => Answer::never(None, why),
        // Only a command is something else the second time.
        Trouble::Busy { status: Some(status), why, .. }
            if changed && matches!(asked, Asked::Sends(_)) && !NOT_TAKEN.contains(&status) =>
        {
            Answer { status: Some(i64::from(status)), ..Answer::unsure(why) }
        }
        Trouble::Busy { status, after, why } => {
            let verdict = Verdict::Later { after, unsure: false };
            Answer { verdict, ..Answer::later(status.map(i64::from), why) }
        }
        Trouble::Unsure(why) if changed && matches!(asked, Asked::Sends(_)) => Answer::unsure(why),
        Trouble::Unsure(why) => Answer::later(None, why),
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let asked = match self.asked(call).await {
                Ok(Some(asked)) => asked,
                Ok(None) => return Answer::done(None),
                Err(why) => return Answer::never(None, why),
            };
            let mut noted = self.notes(call);
            let answer = match self.done(call, &asked, noted.as_mut()).await {
                Ok(()) => Answer::done(None),
                Err(failed) => answer(failed, &asked),
            };
            // Whatever came of it: a change of which no answer arrived may have been made.
            Answer { reference: noted.and_then(|noted| noted.text()), ..answer }
        })
    }

    /// What is looked up first stands in braces.
    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let Some(asked) = self.asked(call).await? else { return Ok(json!({"nothing": "it stays as it is"})) };
            let id = |named: &Named| match named {
                Named::Id(id) => id.to_string(),
                Named::Name(name) => format!("{{{name}}}"),
            };
            let change = match &asked {
                Asked::Undoes(made) => return Ok(json!({ "undoes": made })),
                Asked::Membership(group, into) => changes::membership(&id(group), "{computer}", *into),
                Asked::Says(attribute, value) => changes::attribute(&id(attribute), "{computer}", value),
                Asked::Sends(command) => {
                    let hidden = self.pin.as_ref().map(|_| "***");
                    changes::command("{computer}", command, &self.with(command, hidden))
                }
            };
            let Change { method, path, body } = change;
            let body = match body {
                Body::Xml(xml) => Value::String(xml),
                Body::Json(json) => json,
            };
            let computer = format!("{}{}", self.url, changes::lookup(&which(call)?));
            let url = format!("{}{path}", self.url);
            Ok(json!({"computer": computer, "method": method.as_str(), "url": url, "body": body}))
        })
    }

    fn keeps_reference(&self) -> bool {
        matches!(self.what, What::Group { undo: true, .. })
    }

    fn online(&self) -> Option<Trying<'_>> {
        Some(Box::pin(async move { self.jamf.greet().await.map_err(|why| why.to_string()) }))
    }
}
