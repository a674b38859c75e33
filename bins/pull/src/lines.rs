//! What was told as raw lines.

use event::{Machine, Time, json};
use serde_json::Value;
use sources::{Lines, NoRoom, Refusal, Request, Route, Sink};

use crate::conf::Conf;

/// Nobody asks for it: lines need to know what they came by.
static ROUTE: Route = Route::new("", "pull", None);

/// The raw line of what a server says of a machine, as it was at `ms`; without a newline.
pub fn of(
    (conf, kind, id): (&Conf, &str, &str),
    received: Time,
    (machine, ms): (&Machine, Option<i64>),
    body: &Value,
) -> Result<Vec<u8>, Refusal> {
    if machine.key().is_none() {
        return Err(Refusal { reason: "no_machine", text: "neither serial number nor UUID nor name".into() });
    }
    let body = body.to_string();
    let mut text = Vec::with_capacity(body.len());
    json::canonical(body.as_bytes(), &mut text).map_err(|e| Refusal { reason: "not_json", text: e.to_string() })?;
    let request = Request {
        id,
        received,
        method: "GET",
        route: &ROUTE,
        parts: &[],
        query: None,
        headers: &(&[] as &[(&str, &str)]),
        encoding: None,
        ip: None,
        user_agent: None,
        inflated_max: 0,
    };
    let mut lines = Lines::new(&conf.name, &request, machine);
    lines.timed(kind, ms, &text);
    let mut out = Held::default();
    let _ = lines.flush(&mut out, true); // what is held takes all
    Ok(out.0.trim_ascii_end().to_vec())
}

#[derive(Default)]
struct Held(Vec<u8>);

impl Sink for Held {
    fn lines(&mut self, lines: Vec<u8>, _: usize) -> Result<(), NoRoom> {
        self.0.extend_from_slice(&lines);
        Ok(())
    }
}
