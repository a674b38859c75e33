//! Enrolment as people ask for it, at the command line and in the console: what they want, held against the configuration;
//! the secret; the package that carries it to a machine. Whatever is made, handed out or revoked is an `audit` event of the
//! same transaction.

mod package;
mod refused;
mod signer;

pub use package::{Made, believes_machines, package};
pub use packages::{Agent, Format};
pub use refused::Refused;
pub use signer::{Signer, signer};

use event::Time;
use pipe::config::{Config, StageKind, is_name, parse_duration};
use registry::changes;
use registry::db::{Schema, Tx};
use registry::enrolments::{self, Enrolment, ServerKey};
use registry::server_key;
use registry::users::{By, audit};
use serde_json::{Value, json};

/// The tables that all of this needs.
pub const SCHEMAS: [Schema; 3] = [enrolments::SCHEMA, enrolments::CERTIFICATES, changes::SCHEMA];

/// Machines that one enrolment may let in, if it says a number.
pub const QUOTA_MAX: u64 = 10_000_000;
/// The longest time until an enrolment ends, in ms: a hundred years.
const EXPIRES_MAX: i64 = 36_525 * 86_400_000;
/// Tags that an enrolment gives its machines.
const TAGS_MAX: usize = 100;

/// What is asked for; words as somebody wrote them.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The unit of the machines; none: the only one.
    pub unit: Option<String>,
    /// Who speaks.
    pub source: String,
    /// How many distinct machines may come; none: any number.
    pub quota: Option<u64>,
    /// When it ends: an age from now on, such as `30d`; none: when it is revoked.
    pub expires: Option<String>,
    /// Tags of the machines.
    pub tags: Vec<String>,
    /// The machines must show a certificate of `tls.client_ca`, with every request.
    pub client_certificate: bool,
}

/// Makes an enrolment.
pub fn make(config: &Config, tx: &mut Tx<'_>, wanted: Wanted, by: &By, now: Time) -> Result<Enrolment, Refused> {
    let wanted = checked(config, wanted, now)?;
    let made = enrolments::make_in(tx, wanted, now.ms())?;
    audit(tx, by, "enrolment_made", about(&made), now)?;
    Ok(made)
}

/// Makes every copy of its secret worthless; machines that are enrolled stay.
pub fn revoke(tx: &mut Tx<'_>, enrolment: &Enrolment, by: &By, now: Time) -> Result<(), Refused> {
    if !enrolments::revoke_in(tx, &enrolment.id)? {
        return Err(Refused::Unknown(enrolment.id.clone()));
    }
    let Enrolment { id, unit, source, .. } = enrolment;
    let what = json!({"enrolment": id, "unit": unit, "source": source});
    Ok(audit(tx, by, "enrolment_revoked", what, now)?)
}

/// The secret of an enrolment: computed, kept nowhere.
pub fn secret(config: &Config, enrolment: &Enrolment) -> Result<String, Refused> {
    let file = config.data.join(server_key::FILE);
    let fail = |e: std::io::Error| Refused::Key(format!("{}: {e}", file.display()));
    let key: ServerKey = server_key::read_or_make(&config.data).map_err(fail)?;
    Ok(key.secret(&enrolment.id, enrolment.generation))
}

/// The sources that machines enrol with.
pub fn sources() -> Vec<&'static str> {
    sources::ALL.iter().filter(|source| source.enrols()).map(|source| source.name()).collect()
}

/// Whether agents are asked for certificates of their own.
pub fn asks_for_certificates(config: &Config) -> bool {
    let mut stages = config.stages.iter().filter(|stage| stage.runs(StageKind::Receive));
    stages.any(|stage| stage.settings.clone().table("tls").is_some_and(|tls| tls.has("client_ca")))
}

/// What the audit tells of an enrolment.
fn about(e: &Enrolment) -> Value {
    let expires = e.expires.map(|ms| Time::from_ms(ms).to_string());
    json!({"enrolment": e.id, "unit": e.unit, "source": e.source, "quota": e.quota, "expires": expires, "tags": e.tags,
        "client_certificate": e.client_certificate})
}

fn checked(config: &Config, wanted: Wanted, now: Time) -> Result<Enrolment, Refused> {
    let Wanted { unit, source, quota, expires, tags, client_certificate } = wanted;
    let unit = unit_of(config, unit)?;
    if !sources().contains(&source.as_str()) {
        let known = sources().join(", ");
        let text = format!("`{source}` is no source that machines enrol with; there is {known}");
        return Err(Refused::Asked("source", text));
    }
    if quota.is_some_and(|n| !(1..=QUOTA_MAX).contains(&n)) {
        return Err(Refused::Asked("quota", format!("is a number from 1 to {QUOTA_MAX}")));
    }
    let expires = expires.map(|age| end(&age, now)).transpose()?;
    let mut tags: Vec<String> = tags.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
    tags.dedup();
    if let Some(odd) = tags.iter().find(|tag| !is_name(tag)) {
        return Err(Refused::Asked("tags", format!("`{odd}` is no tag ([a-z0-9][a-z0-9-]{{0,62}})")));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refused::Asked("tags", format!("there are more than {TAGS_MAX}")));
    }
    if client_certificate && !asks_for_certificates(config) {
        let text = "`tls` of `[stage.receive]` has no `client_ca`".to_owned();
        return Err(Refused::Asked("client-certificate", text));
    }
    Ok(Enrolment { unit, source, quota, expires, tags, client_certificate, ..Enrolment::default() })
}

fn unit_of(config: &Config, unit: Option<String>) -> Result<String, Refused> {
    let known: Vec<&str> = config.units.keys().map(String::as_str).collect();
    let wrong = |text: String| Err(Refused::Asked("unit", text));
    match (unit, known.as_slice()) {
        (_, []) => wrong("the configuration has no unit: add `[unit.default]`".to_owned()),
        (Some(unit), known) if known.contains(&unit.as_str()) => Ok(unit),
        (Some(unit), known) => wrong(format!("the configuration has no unit `{unit}`; it has {}", known.join(", "))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, known) => wrong(format!("say one of {}", known.join(", "))),
    }
}

/// When an age from now on is over, in ms since 1970.
fn end(age: &str, now: Time) -> Result<i64, Refused> {
    let ms = parse_duration(age).and_then(|age| i64::try_from(age.as_millis()).ok());
    let ms = ms.filter(|ms| (1..=EXPIRES_MAX).contains(ms));
    let end = ms.and_then(|ms| now.ms().checked_add(ms));
    end.ok_or_else(|| Refused::Asked("expires", format!("`{age}` is no age such as 30d or 12h")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
