//! Live queries: what a form asks, whom it reaches, and the rows that came, as the store has them.

use event::Time;
use pipe::config::{StageKind, Whom, parse_duration};
use registry::live::Asked as Query;
use registry::syntax;
use serde_json::{Map, Value};

use crate::answer::Wrong;
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Events, NoAnswer, Question};
use crate::text;

/// The longest SQL, in bytes.
pub const SQL_MAX: usize = 16 << 10;
/// The longest time that a query waits for machines, in ms.
const WAIT_MAX: i64 = 7 * 86_400_000;
/// Names of machines that are shown before they are asked.
const NAMED_MAX: usize = 20;
/// The source whose agents are asked.
const SOURCE: &str = "osquery";

/// What somebody wants to ask.
pub struct Wanted {
    pub sql: String,
    pub whom: Whom,
    /// How long it waits, as it was written and in ms.
    pub wait: (String, i64),
    pub max: Option<u64>,
}

/// The words of the form that say whom, and the lists of a scope that they are.
const SCOPE: [(&str, &str); 4] =
    [("platform", "platforms"), ("unit", "units"), ("tag", "tags"), ("machines", "machines")];

impl Wanted {
    /// Reads the form, and checks it as the command does; kept to the units of whoever asks.
    pub fn read(app: &App, asked: &Asked) -> Result<Self, Wrong> {
        let wrong = |text: String| Wrong::new(400, text, "");
        let sql = asked.field("sql").trim().to_owned();
        if sql.len() > SQL_MAX {
            return Err(wrong(format!("A query has at most {} kB.", SQL_MAX >> 10)));
        }
        syntax::check(&sql).map_err(|e| wrong(format!("The SQL is wrong: {}.", e.text)))?;
        let config = app.live().config.clone();
        if !config.stages.iter().any(|stage| stage.runs(StageKind::Receive)) {
            return Err(wrong("The pipeline has no `receive`: there is nobody to ask.".to_owned()));
        }
        let list = |(field, list): &(&str, &str)| {
            let values: Vec<&str> =
                asked.field(field).split([',', ' ', '\n', '\r']).filter(|v| !v.is_empty()).collect();
            (!values.is_empty()).then(|| format!("{list}={}", values.join(",")))
        };
        let mut words: Vec<String> = SCOPE.iter().filter_map(list).collect();
        words.extend(asked.field("scope").split_whitespace().map(str::to_owned));
        let whom = Whom::of_words(&words, &config).map_err(|why| wrong(format!("Whom to ask: {why}.")))?;
        let units = asked.who.as_ref().map(|who| who.units.clone()).unwrap_or_default();
        let whom = if units.is_empty() { Some(whom) } else { whom.within(&units) };
        let whom = whom.ok_or_else(|| Wrong::new(403, "You may ask machines of your units only.", ""))?;
        let wait = Some(asked.field("wait").trim()).filter(|wait| !wait.is_empty()).unwrap_or("5m");
        let ms = parse_duration(wait).and_then(|wait| i64::try_from(wait.as_millis()).ok());
        let ms = ms.filter(|ms| (1..=WAIT_MAX).contains(ms));
        let ms = ms.ok_or_else(|| wrong("It waits for a time such as 5m or 1d, at most 7d.".to_owned()))?;
        let max = match asked.field("max").trim() {
            "" => None,
            text => Some(
                text.parse()
                    .ok()
                    .filter(|max| *max > 0u64)
                    .ok_or_else(|| wrong("At most so many machines: a number from 1.".to_owned()))?,
            ),
        };
        Ok(Self { sql, whom, wait: (wait.to_owned(), ms), max })
    }
}

/// How many machines a query reaches, and the names of the first.
pub fn reached(app: &App, whom: &Whom) -> Result<(u64, Vec<String>), Wrong> {
    let config = app.live().config.clone();
    let (mut count, mut names) = (0, Vec::new());
    app.machines(|known| {
        for (key, machine, _) in known.each().filter(|(key, ..)| known.has_source(key, SOURCE)) {
            let of_user = machine.user.as_deref().map_or(&[][..], |user| config.groups_of(user));
            let meant = match whom.asks_for_groups() && !of_user.is_empty() {
                true => {
                    let groups = [machine.groups.as_slice(), of_user].concat();
                    whom.holds(&event::Machine { groups, ..machine.clone() })
                }
                false => whom.holds(machine),
            };
            if meant {
                count += 1;
                if names.len() < NAMED_MAX {
                    names.push(text::short(machine.hostname.as_deref().unwrap_or(key)));
                }
            }
        }
        Ok(())
    })?;
    Ok((count, names))
}

/// Whether somebody may look at what was asked: who is kept to units sees what they asked themselves.
pub fn sees(who: Option<&Who>, asked: &Asked, query: &Query) -> bool {
    who.is_some_and(|who| who.units.is_empty() || query.who.as_ref() == Some(&asked.by().who))
}

/// An answer of a machine, or a part of one.
pub struct Answered {
    pub key: String,
    pub host: String,
    pub rows: Vec<Map<String, Value>>,
    /// What osquery said if the query failed there.
    pub failed: Option<String>,
}

/// A page of answers, the newest first, and where the next page begins.
pub fn answers(
    app: &App,
    who: Option<&Who>,
    query: &Query,
    n: u64,
    after: &str,
) -> Result<(Vec<Answered>, Option<String>), NoAnswer> {
    let config = app.live().config.clone();
    let search = search(query);
    // An agent's clock may be behind; what it answered it answered after it was asked.
    let since = Time::from_ms(query.created.saturating_sub(86_400_000)).to_string();
    let page = Events::of(&config, who).page(&Question { query: &search, since: &since, until: "" }, n, after)?;
    Ok((page.events.iter().map(answered).collect(), page.next))
}

/// The search that finds all answers.
pub fn search(query: &Query) -> String {
    format!("type:osquery_distributed_query_result AND {}", text::is("payload.query", &query.query.id))
}

fn answered(event: &Value) -> Answered {
    let keys = ["/machine/serial_number", "/machine/hardware_uuid", "/machine/hostname"];
    let key = keys.into_iter().map(|at| text::at(event, at)).find(|key| !key.is_empty()).unwrap_or_default();
    let host = Some(text::at(event, "/machine/hostname")).filter(|host| !host.is_empty()).unwrap_or(key);
    let rows = event.pointer("/payload/rows").and_then(Value::as_array).into_iter().flatten();
    let status = event.pointer("/payload/status").and_then(Value::as_i64).unwrap_or_default();
    let message = text::at(event, "/payload/message");
    let failed = if message.is_empty() { format!("status {status}") } else { message.to_owned() };
    Answered {
        key: key.to_owned(),
        host: host.to_owned(),
        rows: rows.filter_map(|row| row.as_object().cloned()).collect(),
        failed: (status != 0).then_some(failed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_from_its_event() {
        let event = |payload: Value| json!({"time": "t", "machine": {"serial_number": "C1"}, "payload": payload});
        let well = answered(&event(json!({"query": "q", "status": 0, "rows": [{"a": "1"}, "odd", {"b": 2}]})));
        assert_eq!((well.host.as_str(), well.rows.len(), well.failed), ("C1", 2, None));
        let failed = answered(&event(json!({"status": 1, "message": "no such table", "rows": []})));
        assert_eq!(failed.failed.as_deref(), Some("no such table"));
        assert_eq!(answered(&event(json!({"status": 3}))).failed.as_deref(), Some("status 3"));
        assert_eq!(answered(&json!({})).key, "");
    }
}
