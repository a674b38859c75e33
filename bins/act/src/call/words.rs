//! The words that people read of a delivery: a title in one line, a text, links to the hub's pages.
//!
//! The filter's own `title` and `body` where it gives them, else what is known of the event. What agents say is data:
//! nothing in these words ends a line, steers a terminal or turns the direction of writing.

use event::{Event, ProbeMatch};
use serde_json::{Map, Value};

use super::Call;
use remote::quoted;

use super::plain::{cut, lines, one_line};
use crate::told::{Incident, Phase};

/// The longest title, in characters.
pub const TITLE_MAX: usize = 200;
/// The longest text, in characters; services take less, and cut it further.
pub const TEXT_MAX: usize = 60_000;
/// The longest payload in a text, in characters.
pub(super) const PAYLOAD_MAX: usize = 8_000;
/// The longest single fact, in characters.
const FACT_MAX: usize = 1_000;
/// The most names in a title.
const NAMES_MAX: usize = 3;

/// One match of many, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// When it was, RFC 3339.
    pub time: String,
    /// Severity of its probe.
    pub severity: String,
    /// Its title.
    pub title: String,
    /// The hub's page about it.
    pub link: Option<String>,
}

impl Call {
    /// One line for people: the filter's `title`, else the probe and the machine; of many matches how many and of what.
    pub fn title(&self) -> String {
        let told = &self.told;
        if self.is_digest() {
            return one_line(&self.sum(), TITLE_MAX);
        }
        let title = title_of(&self.event);
        match told.state {
            Some(Phase::Changed) => one_line(&format!("Changed: {title}"), TITLE_MAX),
            Some(Phase::Closed) => one_line(&format!("Closed: {title}"), TITLE_MAX),
            None if told.count > 1 => {
                let times = format!(" ({} times)", told.count);
                format!("{}{times}", cut(&title, TITLE_MAX - times.len()))
            }
            _ => title,
        }
    }

    /// A text for people: of an incident or a window what has become of it, then the filter's `body`, else what is known
    /// of the event; of a digest the list.
    pub fn text(&self) -> String {
        let mut out = self.story().map(|story| format!("{story}\n\n")).unwrap_or_default();
        if self.is_digest() {
            for item in self.items() {
                out.push_str(&format!("{} {}: {}\n", item.time, item.severity, item.title));
            }
            if let Some(more) = self.more() {
                out.push_str(&format!("… and {more} more\n"));
            }
        } else if let Some(body) = self.body() {
            out.push_str(&body);
        } else {
            for (name, value) in self.facts() {
                out.push_str(&format!("{name}: {value}\n"));
            }
            out.push_str(&format!("\n{}\n", self.payload()));
        }
        cut(&out, TEXT_MAX)
    }

    /// Whether this is about many matches, each of which is shown.
    pub fn is_digest(&self) -> bool {
        self.told.count > 1 && !self.told.events.is_empty()
    }

    /// The matches of a digest, oldest first, as far as they are carried.
    pub fn items(&self) -> Vec<Item> {
        let item = |event: &Event| Item {
            time: event.time.to_string(),
            severity: event.probes.first().map(|p| one_line(&p.severity, FACT_MAX)).unwrap_or_default(),
            title: told_of(event),
            link: self.page("events", &event.id, ""),
        };
        self.told.events.iter().map(item).collect()
    }

    /// How many matches of a digest are not in its list.
    pub fn more(&self) -> Option<u64> {
        let shown = u64::try_from(self.told.events.len()).unwrap_or(u64::MAX);
        self.told.count.checked_sub(shown).filter(|more| *more > 0)
    }

    /// What has become of an incident, or how often something was; none for a plain match and for an incident's first.
    pub fn story(&self) -> Option<String> {
        let told = &self.told;
        let matches = |n: u64| if n == 1 { "1 match".to_owned() } else { format!("{n} matches") };
        let Some(Incident { status, opened, last, count, comment, by, .. }) = &told.incident else {
            let last = "; what follows is the last of them";
            return (told.count > 1)
                .then(|| format!("{}{}.", matches(told.count), if self.is_digest() { "" } else { last }));
        };
        let by = by.as_deref().map(|by| format!(" by {}", one_line(by, FACT_MAX))).unwrap_or_default();
        let said = match (told.state, status.as_str()) {
            (Some(Phase::Closed), _) => format!("Closed{by}. {} from {opened} to {last}.", matches(*count)),
            (_, "taken") => format!("Taken{by}. {} since {opened}.", matches(*count)),
            (Some(Phase::Changed), _) => format!("Still open. {} since {opened}.", matches(*count)),
            _ if comment.is_none() => return None,
            _ => format!("Opened{by}."),
        };
        let comment = comment.as_deref().map(|comment| format!("\n{}", lines(comment))).unwrap_or_default();
        Some(format!("{said}{comment}"))
    }

    /// What the filter wants people to read.
    pub fn body(&self) -> Option<String> {
        let body = self.context().get("body").and_then(Value::as_str).map(|body| lines(&cut(body, TEXT_MAX)));
        body.filter(|body| !body.trim().is_empty())
    }

    /// What is known of the event, name and value, each in one line.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let event = &self.event;
        let machine = event.machine.clone().unwrap_or_default();
        let probe = event.probes.first();
        let all = [
            ("probe", probe.map(|p| p.name.clone())),
            ("severity", probe.map(|p| p.severity.clone())),
            ("incident", self.told.incident.as_ref().map(|incident| incident.id.clone())),
            ("machine", machine.hostname),
            ("serial number", machine.serial_number),
            ("unit", machine.unit),
            ("user", machine.user),
            ("event", Some(event.type_.clone())),
            ("time", Some(event.time.to_string())),
            ("id", Some(event.id.clone())),
        ];
        let line = |(name, value): (_, Option<String>)| Some((name, one_line(&value?, FACT_MAX)));
        all.into_iter().filter_map(line).filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The agent's own record, cut.
    pub fn payload(&self) -> String {
        let payload: Value = serde_json::from_str(self.event.payload.get()).unwrap_or(Value::Null);
        let text = serde_json::to_string_pretty(&payload).unwrap_or_default();
        cut(&lines(&text), PAYLOAD_MAX)
    }

    /// Pages of the hub about it: {machine?, event?, explain?, incident?}; empty without a `url`. Of a digest only the
    /// machine, if all matches have the same.
    pub fn links(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |key: &str, page: Option<String>| page.map(|page| all.insert(key.to_owned(), page.into()));
        let machine = match self.is_digest() {
            true => the_only(self.told.events.iter().map(|event| event.machine.as_ref()?.key())),
            false => self.event.machine.as_ref().and_then(|machine| machine.key()),
        };
        put("machine", machine.and_then(|key| self.page("machines", key, "")));
        if !self.is_digest() {
            put("event", self.page("events", &self.event.id, ""));
            put("explain", self.page("events", &self.event.id, "/explain"));
        }
        if let Some(incident) = &self.told.incident {
            put("incident", self.page("incidents", &incident.id, ""));
        }
        all
    }

    fn page(&self, page: &str, id: &str, more: &str) -> Option<String> {
        let url = self.url.as_deref()?.trim_end_matches('/');
        Some(format!("{url}/{page}/{}{more}", quoted(id)))
    }

    /// A digest in a line: `12 matches of usb on 4 machines`.
    fn sum(&self) -> String {
        let events = &self.told.events;
        let mut names: Vec<&str> = Vec::new();
        let mut hosts: Vec<&str> = Vec::new();
        for event in events {
            let name = event.probes.first().map_or(event.type_.as_str(), |p| p.name.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
            if let Some(host) = host(event).filter(|host| !hosts.contains(host)) {
                hosts.push(host);
            }
        }
        let mut of = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        if let Some(more) = names.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
            of.push_str(&format!(" and {more} more"));
        }
        let on = match hosts.as_slice() {
            // What is not carried may be of other machines.
            _ if self.more().is_some() => String::new(),
            [] => String::new(),
            [host] => format!(" on {host}"),
            many => format!(" on {} machines", many.len()),
        };
        format!("{} matches of {of}{on}", self.told.count)
    }

    pub(super) fn context(&self) -> Value {
        context_of(&self.event)
    }
}

/// The title of one of many: a digest says beside each match what became of its incident.
fn told_of(event: &Event) -> String {
    let title = title_of(event);
    match event.probes.first().and_then(|probe| probe.extra.get("state")).and_then(Value::as_str) {
        Some("changed") => one_line(&format!("Changed: {title}"), TITLE_MAX),
        Some("closed") => one_line(&format!("Closed: {title}"), TITLE_MAX),
        _ => title,
    }
}

/// The filter's `title`, else the probe and the machine.
fn title_of(event: &Event) -> String {
    let title = context_of(event).get("title").and_then(Value::as_str).map(|title| one_line(title, TITLE_MAX));
    // A title of nothing tells nobody anything, and services refuse it.
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        return title;
    }
    let what = event.probes.first().map_or(event.type_.as_str(), |p: &ProbeMatch| p.name.as_str());
    match host(event) {
        Some(host) => one_line(&format!("{what} on {host}"), TITLE_MAX),
        None => one_line(what, TITLE_MAX),
    }
}

fn context_of(event: &Event) -> Value {
    let context = event.probes.first().and_then(|p| p.context.as_ref());
    context.and_then(|c| serde_json::from_str(c.get()).ok()).unwrap_or(Value::Null)
}

fn host(event: &Event) -> Option<&str> {
    let machine = event.machine.as_ref()?;
    machine.hostname.as_deref().or_else(|| machine.key())
}

/// What all have, if all have the same.
fn the_only<'a>(mut all: impl Iterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::super::tests::{LINE, call};
    use super::*;
    use crate::told::Told;

    fn plain() -> Call {
        call(&LINE.replace(",CONTEXT", ""))
    }

    fn with(context: &str) -> Call {
        call(&LINE.replace("CONTEXT", &format!("\"context\":{context}")))
    }

    #[test]
    fn words_for_people() {
        let bare = plain();
        assert_eq!(bare.title(), "usb on ada-mbp");
        assert!(bare.text().starts_with("probe: usb\nseverity: major\nmachine: ada-mbp\n"), "{}", bare.text());
        let told = with(r#"{"title":"a\r\nBcc: x","body":"b\u0000\nc"}"#);
        let blank = with(r#"{"title":" \r\n","body":"\n"}"#);
        assert_eq!((blank.title(), blank.text()), (bare.title(), bare.text()), "nothing is not said");
        assert_eq!((told.title().as_str(), told.text().as_str()), ("a  Bcc: x", "b\nc"));
    }

    #[test]
    fn nothing_in_words_steers() {
        let hostile = with(r#"{"title":"x\u202efdp.exe\u2066\u2028y\u001b[31m","body":"a\u202eb\u2028c\u200fd\r\ne"}"#);
        assert_eq!(hostile.title(), "xfdp.exe y [31m");
        assert_eq!(hostile.text(), "ab\ncd\ne");
        let long = with(&format!(r#"{{"title":"{}","body":"{}"}}"#, "é".repeat(1 << 20), "日".repeat(500_000)));
        assert_eq!(long.title().chars().count(), TITLE_MAX);
        assert_eq!(long.text().chars().count(), TEXT_MAX);
        assert!(long.title().ends_with('…') && long.text().ends_with('…'));
    }

    #[test]
    fn an_incident_tells_its_story() {
        let told = |phase, status: &str, count, by: Option<&str>, comment: Option<&str>| {
            let incident = Incident {
                id: "0a1b".into(),
                status: status.into(),
                opened: "2026-11-21T19:00:03.001Z".into(),
                last: "2026-11-21T20:00:00.000Z".into(),
                count,
                comment: comment.map(str::to_owned),
                by: by.map(str::to_owned),
            };
            let told = Told { state: Some(phase), count, incident: Some(incident), ..Told::plain() };
            Call { told, ..plain() }
        };
        let opened = told(Phase::Opened, "open", 1, None, None);
        assert_eq!((opened.title().as_str(), opened.story()), ("usb on ada-mbp", None));
        assert!(opened.text().contains("incident: 0a1b\n"));
        assert_eq!(opened.links()["incident"], "https://hub/incidents/0a1b");
        let changed = told(Phase::Changed, "open", 3, None, None);
        assert_eq!(changed.title(), "Changed: usb on ada-mbp");
        assert!(changed.text().starts_with("Still open. 3 matches since 2026-11-21T19:00:03.001Z.\n\nprobe: usb\n"));
        let taken = told(Phase::Changed, "taken", 3, Some("ada"), Some("mine\u{202e}\u{7}"));
        assert!(taken.text().starts_with("Taken by ada. 3 matches since 2026-11-21T19:00:03.001Z.\nmine\n\n"));
        let closed = told(Phase::Closed, "closed", 1, None, None);
        assert_eq!(closed.title(), "Closed: usb on ada-mbp");
        let story = "Closed. 1 match from 2026-11-21T19:00:03.001Z to 2026-11-21T20:00:00.000Z.";
        assert_eq!(closed.story().as_deref(), Some(story));
    }

    #[test]
    fn a_window_says_how_often() {
        let told = Told { count: 5, ids: vec!["e1".into()], ..Told::plain() };
        let fired = Call { told: told.clone(), ..plain() };
        assert_eq!(fired.title(), "usb on ada-mbp (5 times)");
        assert!(fired.text().starts_with("5 matches; what follows is the last of them.\n\nprobe: usb\n"));
        let long = Call { told, ..with(&format!(r#"{{"title":"{}"}}"#, "x".repeat(500))) };
        assert!(long.title().ends_with("… (5 times)") && long.title().chars().count() == TITLE_MAX);
    }

    #[test]
    fn a_digest_is_a_list() {
        let other = with(r#"{"title":"two\nlines"}"#).event;
        let mut third = plain().event;
        third.machine.as_mut().unwrap().hostname = Some("bob".into());
        third.id = "e/3".into();
        let digest = |count, events: Vec<Event>| Call { told: Told { count, events, ..Told::plain() }, ..plain() };
        let all = digest(3, vec![plain().event, other.clone(), third.clone()]);
        assert_eq!(all.title(), "3 matches of usb on 2 machines");
        let want = "3 matches.\n\n2026-11-21T19:00:00.123Z major: usb on ada-mbp\n\
                    2026-11-21T19:00:00.123Z major: two lines\n2026-11-21T19:00:00.123Z major: usb on bob\n";
        assert_eq!(all.text(), want);
        assert_eq!(all.items()[2].link.as_deref(), Some("https://hub/events/e%2F3"));
        assert!(all.links().is_empty(), "{:?}", all.links());
        let same = digest(70, vec![plain().event, other]);
        assert_eq!((same.title().as_str(), same.more()), ("70 matches of usb", Some(68)));
        assert!(same.text().ends_with("… and 68 more\n"));
        assert_eq!(same.links().keys().collect::<Vec<_>>(), ["machine"]);
        assert_eq!(digest(1, vec![third]).title(), "usb on ada-mbp", "one match is no list");
    }
}
