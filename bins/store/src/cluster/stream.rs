//! The indices behind a data stream: when there is a next one, and which of them are past retention.

use std::collections::HashMap;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::connection::{Connection, Trouble};
use super::names::{Names, generation};

/// When a data stream gets its next index.
const ROLLOVER: [(&str, &str); 2] = [("max_age", "1d"), ("max_size", "50gb")];

/// The next index, if the one that is written is large or old enough.
pub fn roll_over(connection: &Connection, names: &Names) -> Result<(), Trouble> {
    let body = json!({"conditions": ROLLOVER.into_iter().collect::<HashMap<_, _>>()});
    match connection.json(Method::Post, &format!("/{}/_rollover", names.all()), Some(&body)) {
        // Nothing was stored yet.
        Err(Trouble::Refused(404, ..)) => Ok(()),
        told => told.map(drop),
    }
}

/// Indices in which nothing was stored since: those whose next one was made by then (milliseconds since 1970).
pub fn stored_before(connection: &Connection, names: &Names, oldest: i64) -> Result<Vec<String>, Trouble> {
    let path = format!("/_cat/indices/{}?format=json&h=index,creation.date", names.all());
    let told = match connection.json(Method::Get, &path, None) {
        Err(Trouble::Refused(404, ..)) => return Ok(Vec::new()),
        told => told?,
    };
    let row = |row: &Value| {
        let text = |key: &str| row.get(key)?.as_str();
        Some((generation(text("index")?), text("creation.date")?.parse::<i64>().ok()?, text("index")?.to_owned()))
    };
    let mut all: Vec<(u64, i64, String)> = told.as_array().into_iter().flatten().filter_map(row).collect();
    all.sort_unstable();
    let next = all.iter().skip(1).map(|(_, made, _)| *made);
    Ok(all.iter().zip(next).filter(|(_, made)| *made <= oldest).map(|((.., index), _)| index.clone()).collect())
}
