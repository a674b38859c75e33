//! What the simulated agents say: real result lines as their own, and lines that the probes of `filters/` look for.
//!
//! Origin and licences: `tests/data/demo/README.md`.

use std::collections::HashMap;

use event::Time;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};

/// Result lines that real agents sent.
const CAPTURED: &str = include_str!("../../../../tests/data/demo/captured.ndjson");
/// Results of the queries of `filters/`; `REV` stands for the revision of the query.
const AUTHORED: &str = include_str!("../../../../tests/data/demo/authored.ndjson");
/// The two machines of the authored lines.
const AUTHORED_MAC: &str = "8F1C0A52-6E0D-5B7C-9A41-0D5E7C1B2A90";
const AUTHORED_LINUX: &str = "9b2f4c1e-7d35-4a68-8c90-1e2d3c4b5a69";

/// What a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// macOS.
    Mac,
    /// Linux.
    Linux,
}

impl Platform {
    /// How many of the authored lines of this platform a probe chooses (`tests/data/demo/README.md`).
    pub fn matches(self) -> usize {
        match self {
            Self::Mac => 12,
            Self::Linux => 10,
        }
    }
}

/// One record to send.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its text.
    pub text: String,
    /// How many events it becomes.
    pub events: usize,
    /// Whether it names its time: such a record may be sent again and stays the same event.
    pub timed: bool,
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Hardware UUID.
    pub uuid: String,
    /// What it runs.
    pub platform: Platform,
    /// Names of the scheduled queries, by probe: `zentral/PROBE/REV`, learned from the hub.
    pub queries: HashMap<String, String>,
}

impl Sender {
    /// Everything there is for this machine, one record a second up to `now`; captured and authored ones mixed.
    pub fn all(&self, now: Time) -> Result<Vec<Record>, String> {
        let captured: Vec<&str> = lines(CAPTURED).collect();
        let authored = self.authored();
        let total = captured.len() + authored.len();
        let mut second = now.ms() / 1000 - i64::try_from(total).unwrap_or(0);
        let mut all = Vec::with_capacity(total);
        let step = (captured.len() / authored.len().max(1)).max(1);
        let mut authored = authored.into_iter();
        for (i, line) in captured.into_iter().enumerate() {
            second += 1;
            all.push(self.own(line, second)?);
            if (i + 1) % step == 0
                && let Some(line) = authored.next()
            {
                second += 1;
                all.push(self.own(line, second)?);
            }
        }
        for line in authored {
            second += 1;
            all.push(self.own(line, second)?);
        }
        Ok(all)
    }

    /// A few records of now: `n` counts up from call to call.
    pub fn some(&self, n: usize, now: Time) -> Result<Vec<Record>, String> {
        let captured: Vec<&str> = lines(CAPTURED).filter(|line| line.contains("\"unixTime\"")).collect();
        let authored = self.authored();
        let pick = |list: &[&'static str], i: usize| list.get(i % list.len().max(1)).copied();
        let chosen = [
            pick(&captured, n * 2),
            pick(&captured, n * 2 + 1),
            pick(&authored, n / 2).filter(|_| n.is_multiple_of(2)),
        ];
        chosen.into_iter().flatten().map(|line| self.own(line, now.ms() / 1000)).collect()
    }

    /// Status lines.
    pub fn status(&self, now: Time) -> Vec<Record> {
        const SAID: [(i64, &str, i64, &str); 3] = [
            (0, "init.cpp", 402, "osquery initialized [version=5.23.0]"),
            (0, "tls_config.cpp", 88, "Configuration was fetched"),
            (1, "scheduler.cpp", 121, "Scheduled query took longer than its interval allows"),
        ];
        let second = now.ms() / 1000;
        let record = |(severity, filename, line, message): (i64, &str, i64, &str)| Record {
            text: json!({
                "hostIdentifier": self.uuid, "calendarTime": calendar(second), "unixTime": second,
                "severity": severity, "filename": filename, "line": line, "message": message, "version": "5.23.0",
                "decorations": {"host_uuid": self.uuid},
            })
            .to_string(),
            events: 1,
            timed: true,
        };
        SAID.into_iter().map(record).collect()
    }

    fn authored(&self) -> Vec<&'static str> {
        let host = match self.platform {
            Platform::Mac => AUTHORED_MAC,
            Platform::Linux => AUTHORED_LINUX,
        };
        lines(AUTHORED).filter(|line| line.contains(host)).collect()
    }

    /// The line as this machine would have sent it at that second.
    fn own(&self, line: &str, second: i64) -> Result<Record, String> {
        let bad = |e: &dyn std::fmt::Display| format!("the demo's own data is wrong: {e}");
        let mut record: Map<String, Value> = serde_json::from_str(line).map_err(|e| bad(&e))?;
        let events = match record.get("diffResults") {
            None => 1,
            Some(diff) => ["added", "removed"].iter().filter_map(|k| diff.get(k)?.as_array()).map(Vec::len).sum(),
        };
        let mut set = |key: &str, value: Value| {
            if let Some(place) = record.get_mut(key) {
                // Old agents wrote numbers as strings.
                *place = if place.is_string() && value.is_i64() { value.to_string().into() } else { value };
            }
        };
        set("hostIdentifier", self.uuid.as_str().into());
        set("unixTime", second.into());
        set("calendarTime", calendar(second).into());
        if let Some(uuid) = record.get_mut("decorations").and_then(|d| d.get_mut("host_uuid")) {
            *uuid = self.uuid.as_str().into();
        }
        let probe = record.get("name").and_then(|n| n.as_str()?.strip_prefix("zentral/")?.strip_suffix("/REV"));
        if let Some(probe) = probe {
            let name = self.queries.get(probe).ok_or_else(|| format!("the hub schedules no query of probe {probe}"))?;
            let name = name.clone();
            record.insert("name".into(), name.into());
        }
        let timed = record.contains_key("unixTime") || record.contains_key("calendarTime");
        Ok(Record { text: Value::Object(record).to_string(), events, timed })
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// As C's `asctime` writes it, in UTC: `Tue Jan  6 08:00:05 2026 UTC`.
fn calendar(second: i64) -> String {
    let at = Timestamp::from_second(second).unwrap_or_default().to_zoned(TimeZone::UTC);
    at.strftime("%a %b %e %H:%M:%S %Y UTC").to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use sources::Source as _;

    fn sender(platform: Platform) -> Sender {
        let name = |probe: &shipped::probes::Probe| (probe.name.to_owned(), format!("zentral/{}/1f6c09aa", probe.name));
        let queries = shipped::probes::PROBES.iter().map(name).collect();
        Sender { uuid: "8F1C0A52-6E0D-5B7C-9A41-0D5E7C1B2A00".into(), platform, queries }
    }

    #[test]
    fn records_become_as_many_events_as_they_say() {
        let now = Time::now();
        for platform in [Platform::Mac, Platform::Linux] {
            let sender = sender(platform);
            let mut all = sender.all(now).unwrap();
            all.extend(sender.status(now));
            all.extend(sender.some(0, now).unwrap());
            for record in &all {
                let events = sources::osquery::SOURCE.read_log(record.text.as_bytes(), now).unwrap();
                assert_eq!(events.len(), record.events, "{}", record.text);
                assert!(
                    !record.timed || (0..3_600_000).contains(&(now.ms() - events.first().map_or(now, |e| e.time).ms()))
                );
                assert!(!record.text.contains("/REV"), "{}", record.text);
            }
            let texts: std::collections::HashSet<&str> =
                all.iter().filter(|r| r.timed).map(|r| r.text.as_str()).collect();
            assert_eq!(texts.len(), all.iter().filter(|r| r.timed).count(), "no two are alike");
        }
        let mut lost = sender(Platform::Mac);
        lost.queries.remove("usb-device");
        assert!(lost.all(now).unwrap_err().contains("usb-device"));
    }

    #[test]
    fn days_are_padded_with_a_space() {
        assert_eq!(calendar(1_767_686_405), "Tue Jan  6 08:00:05 2026 UTC");
    }
}
