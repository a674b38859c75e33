//! A live query for the machine of the match: it is asked when it next comes, and what it answers is an event with
//! `cause`.
//!
//! The SQL is the configuration's. Values of the match take the places of `:name` in it, as strings and numbers of SQL.

use std::sync::Arc;
use std::time::Duration;

use event::Time;
use pipe::config::{Settings, is_name};
use registry::db::{Db, DbError, Home};
use registry::{live, syntax};
use serde_json::{Map, Value, json};

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec};
use crate::call::Call;
use crate::desk::Desk;
use crate::jq::Jq;
use crate::told::Phase;

/// The kind. What was asked once is not asked again by another try.
pub const KIND: Kind =
    Kind { name: "osquery", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

/// How long a machine may take to come, unless the configuration says otherwise.
const WAIT: Duration = Duration::from_secs(3600);
/// The longest that may be said: ended queries are kept as long.
const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of one value.
const VALUE_MAX: usize = 64 << 10;

#[derive(Clone)]
struct Osquery {
    sql: String,
    values: Option<Arc<str>>,
    /// Of a probe whose query this is.
    run_of: Option<String>,
    tag: Option<String>,
    wait: Duration,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if settings.has("digest") {
        settings.fail("digest", "does not fit: each machine is asked on its own");
    }
    let (sql, of) = (settings.str("sql"), settings.str("of"));
    let values = reading.program(settings, "values");
    let wait = settings.duration("wait").unwrap_or(WAIT);
    if wait.is_zero() || wait > WAIT_MAX {
        settings.fail("wait", format!("must be more than nothing and at most {} s", WAIT_MAX.as_secs()));
    }
    let tag = settings.str("tag");
    if let Some(odd) = tag.as_ref().filter(|tag| !is_name(tag)) {
        settings.fail("tag", format!("`{odd}` is no tag ([a-z0-9][a-z0-9-]{{0,62}})"));
    }
    let (sql, run_of) = match (sql, of) {
        (Some(sql), None) => (sql, None),
        (None, Some(of)) => {
            let probe = reading.config.probes.get(&of);
            let Some((probe, query)) = probe.and_then(|probe| Some((probe, probe.query.as_ref()?))) else {
                settings.fail("of", format!("there is no probe `{of}` with a query"));
                return None;
            };
            (query.sql.clone(), probe.query_name())
        }
        _ => {
            settings.fail("", "needs the key `sql` (a query) or `of` (a probe whose query it is), not both");
            return None;
        }
    };
    if let Err(wrong) = syntax::check(&sql) {
        settings.fail("sql", format!("the SQL is wrong: {}", wrong.text));
    }
    let places = syntax::parameters(&sql);
    match (places.first(), &values) {
        (Some((_, name)), None) => {
            settings.fail("sql", format!("`:{name}` needs the key `values`: jq that gives {{{name}: …}}"))
        }
        (None, Some(_)) => settings.fail("values", "the SQL has no `:name` to put them in"),
        _ => {}
    }
    Some(Box::new(Osquery { sql, values, run_of, tag, wait }))
}

impl Spec for Osquery {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let desk = Desk::start("osquery").map_err(|e| format!("cannot start a thread: {e}"))?;
        let (jq, registry) = (opening.jq.clone(), opening.registry.to_owned());
        Ok(Arc::new(Live { of: self.clone(), jq, registry, desk }))
    }
}

struct Live {
    of: Osquery,
    jq: Jq,
    registry: Home,
    desk: Desk,
}

/// What one machine is asked.
struct Order {
    machine: String,
    sql: String,
    means: live::Means,
    wait: Duration,
}

impl Live {
    /// What is to be asked; none: nothing.
    async fn order(&self, call: &Call) -> Result<Option<Order>, String> {
        if !matches!(call.told.state, None | Some(Phase::Opened)) {
            return Ok(None);
        }
        if call.event.cause.is_some() {
            return Err("the match came of an action itself: every chain ends after one turn".to_owned());
        }
        let machine = call.event.machine.as_ref().and_then(|machine| machine.key());
        let machine = machine.ok_or("the match names no machine")?.to_owned();
        let sql = match &self.of.values {
            None => self.of.sql.clone(),
            Some(program) => {
                let made = self.jq.one(program, call.input(&Map::new()), call.event.received.ms()).await;
                let made = made.map_err(|why| format!("`values`: {why}"))?;
                let Ok(Value::Object(values)) = serde_json::from_slice(&made) else {
                    return Err("`values` gave no object".to_owned());
                };
                filled(&self.of.sql, &values)?
            }
        };
        let cause = serde_json::to_string(&call.cause()).map_err(|e| e.to_string())?;
        let means = live::Means { tag: self.of.tag.clone(), run_of: self.of.run_of.clone(), cause: Some(cause) };
        Ok(Some(Order { machine, sql, means, wait: self.of.wait }))
    }
}

/// The statement with values in its places.
fn filled(sql: &str, values: &Map<String, Value>) -> Result<String, String> {
    let (mut out, mut at) = (String::new(), 0);
    for (place, name) in syntax::parameters(sql) {
        let literal = match values.get(name) {
            Some(Value::String(text)) if text.contains('\0') || text.len() > VALUE_MAX => {
                return Err(format!("`values` gave `{name}` a text that is too long or holds a NUL"));
            }
            Some(Value::String(text)) => syntax::string(text),
            // In brackets, as two signs in a row would begin a comment.
            Some(Value::Number(number)) => format!("({number})"),
            Some(Value::Bool(bool)) => u8::from(*bool).to_string(),
            Some(Value::Null) => "NULL".to_owned(),
            Some(_) => return Err(format!("`values` gave `{name}` something that is neither text nor number")),
            None => return Err(format!("`values` gave nothing for `:{name}`")),
        };
        out.push_str(sql.get(at..place.start).unwrap_or_default());
        out.push_str(&literal);
        at = place.end;
    }
    out.push_str(sql.get(at..).unwrap_or_default());
    match syntax::check(&out) {
        Ok(()) => Ok(out),
        Err(wrong) => Err(format!("with its values the SQL is wrong: {}", wrong.text)),
    }
}

fn ask(registry: &Home, order: &Order) -> Result<String, DbError> {
    let mut db = Db::open(registry, &[live::QUERIES])?;
    let now = Time::now().ms();
    let until = now.saturating_add(i64::try_from(order.wait.as_millis()).unwrap_or(i64::MAX));
    let scope = json!({"machines": [order.machine]}).to_string();
    live::ask_for(&mut db, &order.sql, &order.means, &scope, until, Some(1), now)
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let order = match self.order(call).await {
                Ok(Some(order)) => order,
                Ok(None) => return Answer::done(None),
                Err(why) => return Answer::never(None, why),
            };
            let registry = self.registry.clone();
            match self.desk.run(move || ask(&registry, &order)).await {
                Ok(Ok(id)) => Answer::done(None).noting(json!({"id": id})),
                Ok(Err(error)) => Answer::later(None, format!("registry.db: {error}")),
                Err(away) => away.into(),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let Some(order) = self.order(call).await? else { return Ok(Value::Null) };
            Ok(json!({"machine": order.machine, "sql": order.sql, "wait": order.wait.as_secs()}))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        let of = |sql: &str, values: Value| filled(sql, values.as_object().unwrap());
        assert_eq!(
            of(
                "select * from hash where path = :p and size-:n > :n and x = ':p'",
                json!({"p": "a' or 1=1; --", "n": -5})
            ),
            Ok("select * from hash where path = 'a'' or 1=1; --' and size-(-5) > (-5) and x = ':p'".to_owned())
        );
        assert_eq!(of("select :b, :z", json!({"b": true, "z": null})), Ok("select 1, NULL".to_owned()));
        for (value, says) in
            [(json!({}), "nothing for `:p`"), (json!({"p": []}), "neither"), (json!({"p": "\0"}), "NUL")]
        {
            assert!(of("select :p", value).unwrap_err().contains(says));
        }
    }
}
