//! Small words of pages: times, numbers, values, addresses. Nothing here is markup; the templates escape all of it.

use event::Time;
use pipe::config::parse_duration;
use serde_json::Value;

/// Characters of a value that a table shows; the whole of it is one click away, or in the JSON.
const CELL_MAX: usize = 120;

/// `2026-11-23 12:50:00` of a time as events have it.
pub fn time(text: &str) -> String {
    text.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// The same of a time.
pub fn when(at: &Time) -> String {
    time(&at.to_string())
}

/// A time that people write: `now`, a time before it (`7d`), or a time in UTC, of which the end may be left out
/// (`2026-11-23`, `2026-11-23 12:50`).
pub fn moment(text: &str, now: Time) -> Option<Time> {
    if text == "now" {
        return Some(now);
    }
    if let Some(age) = parse_duration(text) {
        return Some(Time::from_ms(now.ms().saturating_sub(i64::try_from(age.as_millis()).ok()?)));
    }
    let midnight = "0000-00-00T00:00:00Z";
    let text = text.replacen(' ', "T", 1);
    let whole = if [10, 16, 19].contains(&text.len()) { midnight.get(text.len()..).unwrap_or_default() } else { "" };
    format!("{text}{whole}").parse().ok()
}

/// At most so many characters, with a sign where some are left out.
pub fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(CELL_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// A program as markup for a `pre` or a `textarea`: nothing in it is a tag, and its tabs stay.
pub fn program(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}

/// A few words of our own documentation as markup: code and emphasis; of a link its words.
pub fn markdown(text: &str) -> String {
    let mut words = text.to_owned();
    while let Some(end) = words.find("](") {
        let mut depth = 1;
        let open = words.char_indices().take_while(|(at, _)| *at < end).collect::<Vec<_>>().into_iter().rev().find(
            |(_, c)| {
                depth += i32::from(*c == ']') - i32::from(*c == '[');
                depth == 0
            },
        );
        let close = words.get(end..).and_then(|rest| rest.find(')')).map_or(words.len(), |n| end + n + 1);
        words.replace_range(end..close, "");
        if let Some((at, _)) = open {
            words.remove(at);
        }
    }
    let mut out = String::new();
    for (n, piece) in words.split('`').enumerate() {
        if n % 2 == 1 {
            out.push_str(&format!("<code>{}</code>", program(piece)));
            continue;
        }
        for (n, piece) in program(piece).split('*').enumerate() {
            out.push_str(&if n % 2 == 1 { format!("<em>{piece}</em>") } else { piece.to_owned() });
        }
    }
    out
}

/// 1234567 as `1 234 567`, with spaces that do not break.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// A value as people read it.
pub fn value(value: &Value) -> String {
    registry::known::csv::text(value)
}

/// A text at a path of an event; empty: it is not there.
pub fn at<'v>(event: &'v Value, pointer: &str) -> &'v str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `key=value&…` of what is said.
pub fn query(words: &[(&str, &str)]) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (key, value) in words.iter().filter(|(_, value)| !value.is_empty()) {
        out.append_pair(key, value);
    }
    out.finish()
}

/// A part of a path.
pub fn part(text: &str) -> String {
    // A `+` means a plus in a path.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Bytes of a name that an address holds: what a machine is called may be as long as a page.
const NAMED_MAX: usize = 512;

/// The address that a name leads to; empty where that would be too long, and the name is shown alone.
pub fn to(name: &str, address: impl FnOnce() -> String) -> String {
    if name.len() <= NAMED_MAX { address() } else { String::new() }
}

/// `field:"value"` in the language of searches.
pub fn is(field: &str, value: &str) -> String {
    format!("{field}:\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_people_write() {
        let now = Time::from_ms(1_795_000_000_000);
        let told = |text: &str| moment(text, now).map(|at| at.to_string());
        for (text, want) in [
            ("now", "2026-11-18T11:06:40.000Z"),
            ("1d", "2026-11-17T11:06:40.000Z"),
            ("2026-11-23", "2026-11-23T00:00:00.000Z"),
            ("2026-11-23 12:50", "2026-11-23T12:50:00.000Z"),
            ("2026-11-23T12:50:07", "2026-11-23T12:50:07.000Z"),
            ("2026-11-23T12:50:07.123Z", "2026-11-23T12:50:07.123Z"),
            ("2026-11-23T12:50:07+01:00", "2026-11-23T11:50:07.000Z"),
        ] {
            assert_eq!(told(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "soon", "2026", "99999999999999999999d", "2026-13-01", "2026-11-23 25:00", "é026-11-2"] {
            assert_eq!(told(text), None, "{text}");
        }
        assert!(told("300000000d").is_some_and(|at| at.starts_with("0000")), "as early as a time may be");
    }

    #[test]
    fn words() {
        assert_eq!(time("2026-11-23T12:50:00.123Z"), "2026-11-23 12:50:00");
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1\u{a0}000", "1\u{a0}234\u{a0}567"]);
        assert_eq!(short(&"é".repeat(121)).chars().count(), 121);
        assert_eq!(short("a"), "a");
        assert_eq!(["a", &"a".repeat(NAMED_MAX + 1)].map(|name| to(name, || format!("/{name}"))), ["/a", ""]);
        assert_eq!(query(&[("q", "a b&c"), ("n", ""), ("s", "é")]), "q=a+b%26c&s=%C3%A9");
        assert_eq!(program("\t<a> & </pre>"), "&#9;&lt;a&gt; &amp; &lt;/pre&gt;");
        assert_eq!(
            markdown("[`[contact.NAME]`](email.md) *is* `a < b`; see [x](y.md), `[1]`"),
            "<code>[contact.NAME]</code> <em>is</em> <code>a &lt; b</code>; see x, <code>[1]</code>"
        );
        assert_eq!(part("a b/../+\"<"), "a%20b%2F..%2F%2B%22%3C");
        assert_eq!(is("machine.hostname", r#"a"b\"#), r#"machine.hostname:"a\"b\\""#);
    }
}
