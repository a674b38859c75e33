//! The path of 2017 for Zendesk (see [`crate::legacy`]): its triggers say the secret in the body. They call the webhook
//! whose table is named `zendesk`; what it lets in by its bearer are tickets and comments.
//!
//! A comment that its customer does not see may hold orders, a line each: `zentral$COMMAND$SERIAL[$SERIAL…][#ARGUMENT…]`.
//! They are events as well, one for each machine, for probes to act upon.

use std::io::BufRead;

use event::{Machine, json};
use serde_json::{Map, Value};

use super::Lock;
use crate::osquery::facts;
use crate::{Desk, Lines, Reply, ReplyBody, Request, Sink, whole};

/// The name of the table.
const TABLE: &str = "zendesk";
/// The member that holds the secret.
const SECRET: &str = "zentral_api_secret";
/// The type of the events that orders are.
const ORDER: &str = "zentral_command";
/// Orders of one comment, machine by machine.
const ORDERS_MAX: usize = 1000;
/// Arguments of one order; a line with more is none.
const ARGS_MAX: usize = 100;
/// Bytes of a command, a serial number or an argument; a line with a longer word is no order.
const WORD_MAX: usize = 256;

/// `Err` is a reply, too: the one that ends the conversation early.
pub(super) fn post(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let hook = desk.webhook(TABLE);
    let Some((name, Lock::Bearer(word))) = hook.map(|hook| (hook.name.as_str(), &hook.lock)) else {
        return Err(Reply::error(404, "path", "no webhook with a bearer is named zendesk"));
    };
    let bytes = whole::read(request, body, sink)?;
    let mut text = Vec::with_capacity(bytes.len());
    json::canonical(&bytes, &mut text).map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    let of = |key: &str| json::get(&text, key);
    if !of(SECRET).and_then(json::parse_str).is_some_and(|said| word.is(said.trim().as_bytes())) {
        return Err(Reply::error(403, "secret", "the secret is another"));
    }
    let type_ = match of("type").and_then(json::parse_str).as_deref() {
        Some("ticket") => "zendesk_ticket_creation",
        Some("comment") => "zendesk_comment_creation",
        _ => return Err(Reply::error(400, "wrong_type", "type is neither ticket nor comment")),
    };
    let data = of("data").filter(|data| data.starts_with(b"{"));
    let data = data.ok_or_else(|| Reply::error(400, "missing_key", "data is missing or no object"))?;
    let mut lines = Lines::new(name, request, &Machine::default());
    lines.timed(type_, None, data);
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    let hidden = json::get(data, "is_public") == Some(b"false");
    let comment = json::get(data, "value").and_then(json::parse_str).filter(|_| hidden);
    let mut records = 1;
    for (serial, order) in comment.iter().flat_map(|text| orders(text, data)).take(ORDERS_MAX) {
        let mut lines = Lines::new(name, request, &Machine { serial_number: Some(serial), ..Machine::default() });
        lines.timed(ORDER, None, order.to_string().as_bytes());
        lines.flush(sink, true).map_err(|_| Reply::busy())?;
        records += 1;
    }
    Ok(Reply { records, ..Reply::ok(ReplyBody::Fixed("{\"status\":\"OK\"}")) })
}

/// The orders of a comment: for which machine, and what. Made one by one: all of them may take a thousand times what the
/// comment does.
fn orders<'c>(comment: &'c str, data: &[u8]) -> impl Iterator<Item = (String, Value)> + use<'c> {
    let ticket = json::get(data, "ticket").and_then(|ticket| json::get(ticket, "url"));
    let ticket = ticket.and_then(json::parse_str).unwrap_or_default().into_owned();
    comment.lines().filter_map(order).flat_map(move |(command, serials, args)| {
        let mut order = Map::new();
        order.insert("command".to_owned(), command.into());
        order.insert("source".to_owned(), Value::from(ticket.as_str()));
        if !args.is_empty() {
            order.insert("args".to_owned(), args.into());
        }
        let serials = serials.into_iter().filter_map(facts::serial);
        serials.map(move |serial| (serial, Value::Object(order.clone())))
    })
}

/// A line that is an order: command, serial numbers, arguments.
fn order(line: &str) -> Option<(&str, Vec<&str>, Vec<&str>)> {
    let mut args = line.trim().strip_prefix("zentral$")?.split('#');
    let mut words = args.next()?.split('$');
    let command = words.next()?;
    let (serials, args): (Vec<&str>, Vec<&str>) = (words.collect(), args.take(ARGS_MAX + 1).collect());
    let of = |word: &str, more: &str| {
        (1..=WORD_MAX).contains(&word.len()) && word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let fine = of(command, "-_ ")
        && !command.contains(|c: char| c.is_ascii_digit())
        && !serials.is_empty()
        && serials.iter().all(|serial| of(serial, "-_"))
        && args.len() <= ARGS_MAX
        && args.iter().all(|arg| of(arg, "-_ "));
    fine.then_some((command, serials, args))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_is_a_line_of_its_own() {
        let fine = order("  zentral$tag$C02A$C02-B#vip#to do \r");
        assert_eq!(fine, Some(("tag", vec!["C02A", "C02-B"], vec!["vip", "to do"])));
        assert_eq!(order("zentral$lock now$C02"), Some(("lock now", vec!["C02"], vec![])));
        for line in [
            "",
            "zentral$tag",
            "zentral$tag$",
            "zentral$$C02",
            "zentral$tag$C02$",
            "zentral$tag$C02#",
            "zentral$tag2$C02",
            "zentral$tag$C0 2",
            "> zentral$tag$C02",
            "zentral$tag$C02;rm",
            "Zentral$tag$C02",
            &format!("zentral$tag$C02A{}", "#a".repeat(ARGS_MAX + 1)),
            &format!("zentral$tag$C02A#{}", "a".repeat(WORD_MAX + 1)),
        ] {
            assert_eq!(order(line), None, "{line}");
        }
    }

    #[test]
    fn each_machine_has_its_order() {
        let data = br#"{"ticket":{"url":"x.zendesk.com/tickets/7"}}"#;
        let all: Vec<_> = orders("hello\nzentral$tag$C02A$C02A$none#vip\nzentral$scan$C02B", data).collect();
        let serials: Vec<&str> = all.iter().map(|(serial, _)| serial.as_str()).collect();
        assert_eq!(serials, ["C02A", "C02A", "C02B"]);
        let source = "x.zendesk.com/tickets/7";
        let orders: Vec<Value> = all.into_iter().map(|(_, order)| order).collect();
        assert_eq!(orders.first(), Some(&json!({"command": "tag", "source": source, "args": ["vip"]})));
        assert_eq!(orders.last(), Some(&json!({"command": "scan", "source": source})));
    }

    #[test]
    fn orders_are_made_one_by_one() {
        // All of them together would be 100 GB.
        let line = format!("zentral$tag{}{}\n", "$C02A".repeat(10_000), format!("#{}", "a".repeat(200)).repeat(50));
        let comment = line.repeat(1000);
        let sizes = orders(&comment, b"{}").take(ORDERS_MAX).map(|(_, order)| order.to_string().len());
        assert_eq!(sizes.filter(|size| *size > 10_000).count(), ORDERS_MAX);
    }
}
