//! Orders to `act`: the command line and the console write them here, `act` carries them out in its own file (design § 4).

use std::time::Duration;

use event::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::db::{Db, DbError, Row, Schema, Tx};
use crate::users::{self, By};

/// The tables of the registry that an order needs.
pub const SCHEMAS: &[Schema] = &[crate::enrolments::SCHEMA, crate::changes::SCHEMA];

/// Targets of one order that its audit event names; it says how many there are.
const NAMED_MAX: usize = 20;
/// The longest mute.
pub const MUTE_MAX: Duration = Duration::from_secs(31 * 86_400);

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its own id.
    pub id: String,
    /// `retry` or `drop` a dead letter; `mute` or `resume` an action or a probe; `take`, `close` or `comment` an incident;
    /// `try` an action.
    pub verb: String,
    /// Id of the dead letter; the name, and for `mute` a space and the end in ms since 1970; the JSON of a [`Hand`] or a
    /// [`Trial`].
    pub target: String,
}

/// What somebody does to an incident by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// Id of the incident.
    pub incident: String,
    /// Who does it.
    #[serde(default)]
    pub by: String,
    /// What is said.
    #[serde(default)]
    pub comment: String,
}

/// An action that is to send once, marked as a test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// Its name.
    pub action: String,
    /// The event that it is to be about; none: a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<RawValue>>,
}

/// The target of `mute`.
pub fn muted_until(name: &str, until: i64) -> String {
    format!("{name} {until}")
}

/// The target of `take`, `close`, `comment` and `try`.
pub fn target<T: Serialize>(of: &T) -> Result<String, DbError> {
    serde_json::to_string(of).map_err(|e| DbError::Other(e.to_string()))
}

/// Writes orders down, one for each target, and who gave them. `act` takes each once.
pub fn give(tx: &mut Tx<'_>, verb: &str, targets: &[String], by: &By, now: Time) -> Result<(), DbError> {
    for target in targets {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let sql = "INSERT INTO orders (id, verb, target, created) VALUES ($1, $2, $3, $4)";
        tx.execute(sql, &[id.into(), verb.into(), target.as_str().into(), now.ms().into()])?;
    }
    let named: Vec<Value> = targets.iter().take(NAMED_MAX).map(|target| named(target)).collect();
    users::audit(tx, by, &format!("act_{verb}"), json!({"count": targets.len(), "targets": named}), now)
}

/// A target as the audit names it: of an event only its id.
fn named(target: &str) -> Value {
    let Ok(Value::Object(mut parts)) = serde_json::from_str(target) else { return target.into() };
    if let Some(event) = parts.get_mut("event") {
        *event = event.get("id").cloned().unwrap_or_default();
    }
    Value::Object(parts)
}

/// Every order not older than `since` (ms since 1970), oldest first; whoever carries them out remembers which it did.
pub fn list(db: &Db, since: i64) -> Result<Vec<Order>, DbError> {
    let sql = "SELECT id, verb, target FROM orders WHERE created >= $1 ORDER BY created, id";
    let order =
        |row: &Row| Order { id: row.text(0).to_owned(), verb: row.text(1).to_owned(), target: row.text(2).to_owned() };
    Ok(db.query(sql, &[since.into()])?.iter().map(order).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::changes;

    #[test]
    fn an_order_is_written_with_who_gave_it() {
        let mut db = Db::memory(SCHEMAS).unwrap();
        let by = By { who: "user:ada".into(), ip: Some("192.0.2.1".into()) };
        let ids: Vec<String> = (0..30).map(|n| format!("l{n}")).collect();
        let event = RawValue::from_string(r#"{"id":"e1","payload":{"secret":"x"}}"#.to_owned()).unwrap();
        let trial = target(&Trial { action: "a".into(), event: Some(event) }).unwrap();
        let hand = target(&Hand { incident: "i".into(), by: "ada".into(), comment: "why".into() }).unwrap();
        let all = [("retry", ids), ("try", vec![trial]), ("close", vec![hand]), ("mute", vec![muted_until("a", 9)])];
        for (n, (verb, targets)) in all.iter().enumerate() {
            let mut tx = db.begin().unwrap();
            give(&mut tx, verb, targets, &by, Time::from_ms(i64::try_from(n).unwrap() + 1)).unwrap();
            tx.commit().unwrap();
        }
        assert_eq!((list(&db, 0).unwrap().len(), list(&db, 4).unwrap()[0].target.as_str()), (33, "a 9"));
        let lines = changes::since(&db, 0, 10).unwrap();
        let told: Vec<Value> =
            lines.iter().map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()["payload"].clone()).collect();
        assert_eq!(
            (&told[0]["action"], &told[0]["count"], &told[0]["by"]),
            (&json!("act_retry"), &json!(30), &json!("user:ada"))
        );
        assert_eq!(told[0]["targets"].as_array().unwrap().len(), NAMED_MAX);
        assert_eq!(told[1]["targets"], json!([{"action": "a", "event": "e1"}]), "an event is not told twice");
        assert_eq!(told[2]["targets"], json!([{"incident": "i", "by": "ada", "comment": "why"}]));
    }
}
