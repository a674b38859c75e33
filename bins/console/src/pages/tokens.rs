//! Tokens for programs: made, shown once, revoked.

use event::Time;
use pipe::config::{is_name, parse_duration};
use registry::users::tokens::{self, Wanted};
use schemars::JsonSchema;
use serde::Serialize;

use super::users::{done, role_of, tell, words_of};
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::routes::Area;

/// One that was just made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenMade")]
pub struct Made {
    id: String,
    name: String,
    role: &'static str,
    /// It, told this once.
    token: String,
}

pub fn make(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = asked.field("name").trim().to_lowercase();
    if !is_name(&name) {
        return Err(Wrong::new(400, "A name is made of a-z, 0-9 and -, at most 63 of them.", ""));
    }
    let config = app.live().config.clone();
    let units = words_of(asked, "units", "unit", &|unit| config.units.contains_key(unit))?;
    let known = |word: &str| Area::SCOPES.iter().any(|area| area.word() == word);
    let scopes = words_of(asked, "scopes", "scope", &known)?;
    let wanted = Wanted { name: name.clone(), role: role_of(asked)?, units, scopes, expires: expires(asked)? };
    let (token, secret) = app.write(|tx, now| tokens::make(tx, wanted, &asked.by(), now))?;
    let what = Made { id: token.id, name: name.clone(), role: token.role.word(), token: secret.clone() };
    tell(app, asked, format!("The token {name}, shown this once"), secret, &what)
}

/// When it ends: an age from now on; not said: when it is revoked.
fn expires(asked: &Asked) -> Result<Option<i64>, Wrong> {
    let text = asked.field("expires").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let age = parse_duration(text).filter(|age| !age.is_zero()).and_then(|age| i64::try_from(age.as_millis()).ok());
    let end = age.and_then(|age| Time::now().ms().checked_add(age));
    end.map(Some).ok_or_else(|| Wrong::new(400, "It ends after a time such as 90d or 12h.", ""))
}

pub fn revoke(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    app.write(|tx, now| tokens::revoke(tx, asked.part("id"), &asked.by(), now))?;
    done(asked)
}
