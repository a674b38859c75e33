//! Objects that are given for events and are none.

use crate::json;

/// What a line is that somebody took for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistaken {
    /// A line as `receive` writes it.
    Raw,
    /// A line of the log that osquery writes on a machine.
    Osquery,
    /// An example of a filter: the event is a part of it.
    Example,
}

impl Mistaken {
    /// Looks at the keys of an object. What has `payload` or `type` is never mistaken, and of an object that nobody
    /// knows nothing is said: it may well be an event that somebody wrote by hand.
    pub fn of(line: &[u8]) -> Option<Self> {
        let [mut raw, mut named, mut logged, mut example] = [0; 4];
        let mut version = false;
        for (key, _) in json::members(line).map_while(Result::ok) {
            match key {
                b"payload" | b"type" => return None,
                b"v" => version = true,
                b"kind" | b"body" => raw += 1,
                b"name" | b"hostIdentifier" => named += 1,
                b"unixTime" | b"calendarTime" => logged += 1,
                b"match" | b"event" | b"acts" | b"events" => example += 1,
                _ => {}
            }
        }
        match (raw, named + logged, example) {
            (2.., ..) => Some(Self::Raw),
            _ if version => None,
            (_, 2.., _) if named > 0 => Some(Self::Osquery),
            (.., 2..) => Some(Self::Example),
            _ => None,
        }
    }

    /// What it is, and what makes events of the file that holds it.
    pub fn advice(self, file: &str) -> String {
        match self {
            Self::Raw => format!("a raw line, not an event; `zentral normalize < {file}` makes events of it"),
            Self::Osquery => format!(
                "a line of osquery's log, not an event; `zentral normalize osquery < {file}` makes events of it"
            ),
            Self::Example => format!(
                "an example of a filter, not an event; `zentral test {file}` runs examples, `jq -c '.event // .events[].event' {file}` gives their events"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_for_an_event() {
        for (line, want) in [
            (r#"{"v":1,"id":"a","source":"osquery","kind":"result","body":{"payload":1}}"#, Some(Mistaken::Raw)),
            (r#"{"name":"usb","hostIdentifier":"C02","columns":{}}"#, Some(Mistaken::Osquery)),
            (r#"{"hostIdentifier":"C02","unixTime":1,"severity":0,"message":"x"}"#, Some(Mistaken::Osquery)),
            (r#"{"match":true,"why":"x","event":{"payload":{}}}"#, Some(Mistaken::Example)),
            (r#"{"acts":[true],"events":[{"event":{}}]}"#, Some(Mistaken::Example)),
            (r#"{"v":1,"type":"osquery_result","payload":{"name":"usb","hostIdentifier":"C02"}}"#, None),
            (r#"{"name":"usb","unixTime":1,"payload":{}}"#, None),
            (r#"{"unixTime":1,"calendarTime":"x"}"#, None),
            (r#"{"match":1}"#, None),
            (r#"{"a":1}"#, None),
            ("[]", None),
            (r#"{"match":1,"event":"#, None),
        ] {
            assert_eq!(Mistaken::of(line.as_bytes()), want, "{line}");
        }
    }
}
