//! A rule for Santa: written into `registry.db`, given by `receive` with the next sync of whom it is for. Written twice it
//! is the same rule, so a try that was cut off is made again. What an incident brought goes with it.

use std::sync::Arc;
use std::time::Duration;

use event::{Machine, Time};
use pipe::config::{Scope, Settings};
use registry::db::{Db, DbError, Home};
use registry::made_rules::{self, Made, MadeRule};
use registry::{changes, enrolments};
use serde_json::{Map, Value, json};
use sources::santa::Rule;

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec};
use crate::call::{Call, one_line};
use crate::jq::Jq;
use crate::lanes::ms;
use crate::protected;
use crate::told::Phase;

/// The kind.
pub const KIND: Kind =
    Kind { name: "santa", repeatable: true, timeout: Duration::from_secs(30), changes_machines: true, read };

/// The longest that a rule may be made for.
const EXPIRES_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The longest error, in characters.
const SAID_MAX: usize = 300;

#[derive(Clone)]
struct Santa {
    rule: Arc<str>,
    whom: Whom,
    never: Option<Scope>,
    expires: Option<Duration>,
}

/// Whom a rule is for.
#[derive(Clone)]
enum Whom {
    /// The machine of the match.
    Machine,
    /// All of its unit.
    Unit,
    /// All in this scope, whichever machine the match names.
    Scope(Box<Scope>),
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if !settings.has("rule") {
        settings.fail("", "needs the key `rule`, jq that gives {rule_type, identifier, policy}");
    }
    if settings.has("digest") {
        settings.fail("digest", "many matches in one would be one rule: a rule is made of each match");
    }
    let whom = match settings.peek("scope") {
        Some(_) => match settings.word("scope", &["machine", "unit", "all"]) {
            Some("unit") => Whom::Unit,
            Some("all") => Whom::Scope(Box::default()),
            _ => Whom::Machine,
        },
        None if settings.has("scope") => Whom::Scope(Scope::read(settings).into()),
        None => Whom::Machine,
    };
    if let Whom::Scope(scope) = &whom {
        let known = &reading.config.units;
        for unit in scope.units.iter().chain(&scope.not_units).filter(|unit| !known.contains_key(*unit)) {
            settings.fail_word("scope", unit, format!("there is no [unit.{unit}]"));
        }
    }
    // Whom a rule reaches is decided where it is given: those that are never touched are left out there.
    let never = (!matches!(whom, Whom::Machine) && settings.has("never")).then(|| Scope::read_as("never", settings));
    let expires = settings.duration("expires");
    if expires.is_some_and(|time| time.is_zero() || time > EXPIRES_MAX) {
        settings.fail("expires", format!("must be more than nothing and at most {} d", EXPIRES_MAX.as_secs() / 86_400));
    }
    let rule = reading.program(settings, "rule")?;
    Some(Box::new(Santa { rule, whom, never, expires }))
}

impl Spec for Santa {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        Ok(Arc::new(Live { conf: self.clone(), jq: opening.jq.clone(), registry: opening.registry.to_owned() }))
    }
}

struct Live {
    conf: Santa,
    jq: Jq,
    registry: Home,
}

impl Live {
    /// The rule that this delivery asks for.
    async fn rule(&self, call: &Call) -> Result<MadeRule, String> {
        let event = &call.event;
        let made = self.jq.one(&self.conf.rule, call.input(&Map::new()), event.received.ms()).await;
        let made: Value = serde_json::from_slice(&made.map_err(|why| format!("`rule`: {why}"))?)
            .map_err(|why| format!("`rule`: {why}"))?;
        let rule = Rule::read(&made).map_err(|why| format!("`rule`: {}", one_line(&why, SAID_MAX)))?;
        let payload = serde_json::from_str(event.payload.get());
        // What is too deep to be looked through may name anything.
        let payload = payload.map_err(|_| "the payload is too deep to be looked through".to_owned())?;
        if let Some(why) = protected::refusal(&rule, &payload) {
            let target = one_line(&format!("{} {}", rule.rule_type.word(), rule.identifier), SAID_MAX);
            return Err(format!("no rule for {target}: {why}"));
        }
        let (machine, scope) = self.whom(event.machine.as_ref())?;
        let probe = event.probes.first().map(|probe| probe.name.clone()).unwrap_or_default();
        Ok(MadeRule {
            machine,
            scope,
            target: format!("{} {}", rule.rule_type.word(), rule.identifier),
            rule: serde_json::to_string(&rule).map_err(|why| why.to_string())?,
            action: call.action.clone(),
            probe,
            incident: call.told.incident.as_ref().map(|incident| incident.id.clone()).unwrap_or_default(),
            event: event.id.clone(),
            at: event.received.ms(),
            until: self.conf.expires.map(|time| event.received.ms().saturating_add(ms(time))),
        })
    }

    /// The machine key, or the scope as JSON.
    fn whom(&self, machine: Option<&Machine>) -> Result<(String, String), String> {
        let scope = match &self.conf.whom {
            Whom::Machine => {
                let key = machine.and_then(Machine::key).ok_or("the match names no machine")?;
                return Ok((key.to_owned(), String::new()));
            }
            Whom::Unit => {
                let unit = machine.and_then(|machine| machine.unit.clone());
                Scope { units: vec![unit.ok_or("the match names no unit")?], ..Scope::default() }
            }
            Whom::Scope(scope) => Scope::clone(scope),
        };
        let mut reach = plain(&scope);
        if let Some(never) = &self.conf.never {
            reach.insert("never".to_owned(), plain(never).into());
        }
        Ok((String::new(), Value::Object(reach).to_string()))
    }

    async fn write<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut registry::db::Tx<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Answer> {
        let home = self.registry.clone();
        let done = tokio::task::spawn_blocking(move || {
            if let Some(folder) = home.file().and_then(std::path::Path::parent) {
                registry::folder::make_private(folder)
                    .map_err(|why| DbError::Other(format!("{}: {why}", folder.display())))?;
            }
            let mut db = Db::open(&home, &[enrolments::SCHEMA, made_rules::SCHEMA, changes::SCHEMA])?;
            let mut tx = db.begin()?;
            let done = what(&mut tx)?;
            tx.commit().map(|()| done)
        });
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(why @ DbError::Newer { .. })) => Err(Answer::never(None, format!("registry.db: {why}"))),
            Ok(Err(why)) => Err(Answer::later(None, format!("registry.db: {why}"))),
            Err(_) => Err(Answer::unsure("internal fault of the action")),
        }
    }

    async fn make(&self, call: &Call) -> Answer {
        let made = match self.rule(call).await {
            Ok(made) => made,
            Err(why) => return Answer::never(None, why),
        };
        let (id, about) = (made.id(), call.event.machine.clone().filter(|_| !made.machine.is_empty()));
        let wrote = self.write(move |tx| {
            made_rules::expire(tx, Time::now())?;
            made_rules::make(tx, &made, about.as_ref(), Time::now())
        });
        match wrote.await {
            Ok(Made::Full) => Answer::never(
                None,
                format!(
                    "actions have made {} rules, as many as there may be; see `zentral act rules`",
                    made_rules::RULES_MAX
                ),
            ),
            Ok(Made::Changed | Made::Renewed) => Answer::done(None).noting(json!({ "id": id })),
            Err(answer) => answer,
        }
    }
}

/// What a scope says, without what it does not.
fn plain(scope: &Scope) -> Map<String, Value> {
    let Ok(Value::Object(mut all)) = serde_json::to_value(scope) else { return Map::new() };
    all.retain(|_, list| list.as_array().is_some_and(|list| !list.is_empty()));
    all
}

/// The incident that is over, if that is what is told.
fn closed(call: &Call) -> Option<&str> {
    let incident = call.told.incident.as_ref().filter(|_| call.told.state == Some(Phase::Closed))?;
    Some(&incident.id)
}

impl Action for Live {
    /// One machine that sends a thousand events must not make a thousand rules for all.
    fn reaches_many(&self) -> bool {
        !matches!(self.conf.whom, Whom::Machine)
    }

    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let Some(incident) = closed(call).map(str::to_owned) else { return self.make(call).await };
            let action = call.action.clone();
            match self.write(move |tx| made_rules::close(tx, &action, &incident, Time::now())).await {
                Ok(_) => Answer::done(None),
                Err(answer) => answer,
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            if let Some(incident) = closed(call) {
                return Ok(json!({"takes_away": {"incident": incident}}));
            }
            let made = self.rule(call).await?;
            let read = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
            let whom = if made.machine.is_empty() { read(&made.scope) } else { json!({"machine": made.machine}) };
            let mut shown = json!({"id": made.id(), "rule": read(&made.rule), "for": whom});
            if let (Some(until), Some(map)) = (made.until, shown.as_object_mut()) {
                map.insert("until".into(), serde_json::to_value(Time::from_ms(until)).unwrap_or_default());
            }
            Ok(shown)
        })
    }
}
