//! The list of probes: what is known of each, who is on the list, in which order, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::Machine;
use pipe::config::{Config, ProbeConf, SEVERITIES};
use registry::prices::Summary;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ask::Asked;
use crate::hub::Probe;
use crate::sorting;
use crate::text;

/// Probes on a page, if nobody says how many.
const PAGE: usize = 100;
/// Probes on a page at most.
const PAGE_MAX: usize = 300;
/// The lists of a scope, in the order in which they are told.
const LISTS: [&str; 5] = ["platforms", "units", "tags", "groups", "machines"];

/// By what the list is sorted.
pub const ORDERS: [(&str, &str); 7] = [
    ("name", "Name"),
    ("severity", "Severity"),
    ("state", "State"),
    ("matches", "Matches in 24 h"),
    ("cost", "Time of jq"),
    ("failures", "Failures"),
    ("price", "Price"),
];

/// One probe of the list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ProbeLine")]
pub struct Row {
    pub name: String,
    /// The first line of its filter's comment; may be empty.
    pub title: String,
    pub severity: String,
    /// `on`, `shadow`, `failing`, `silent`, `quarantined`, `switched off`; empty: nobody tells.
    pub state: &'static str,
    /// Events of the last 24 hours that matched; none: the store does not answer.
    pub matches: Option<u64>,
    /// Seconds that jq took and events that it ran on, since the filter has its text; none: no filter tells.
    pub seconds: Option<f64>,
    pub runs: Option<u64>,
    pub failures: Option<u64>,
    /// What a run of its query costs machines; none: it has none, or no machine tells.
    pub price: Option<Summary>,
    /// Seconds between two runs of its query; none: it has none.
    pub interval: Option<u64>,
    /// The machines that it is about, in words; empty: all.
    pub scope: String,
    pub act: Vec<String>,
}

impl Row {
    fn new(conf: &ProbeConf, told: Option<&Probe>, matches: Option<u64>) -> Self {
        Self {
            name: conf.name.clone(),
            title: text::short(&probe::describe(&conf.filter.source).0),
            severity: conf.severity.clone(),
            state: state(conf, told),
            matches,
            seconds: told.map(|told| told.seconds),
            runs: told.map(|told| told.runs),
            failures: told.map(|told| told.failures),
            price: told.and_then(|told| told.price),
            interval: conf.query.as_ref().map(|query| query.interval_s),
            scope: scope(conf),
            act: conf.act.clone(),
        }
    }

    pub fn link(&self) -> String {
        format!("/probes/{}", text::part(&self.name))
    }

    pub fn matched(&self) -> String {
        self.matches.map_or_else(|| "–".to_owned(), text::number)
    }

    pub fn failed(&self) -> String {
        self.failures.map_or_else(|| "–".to_owned(), text::number)
    }

    pub fn cost(&self) -> String {
        match (self.seconds, self.runs) {
            (Some(seconds), Some(runs)) => cost(seconds, runs),
            _ => "–".to_owned(),
        }
    }

    pub fn every(&self) -> String {
        self.interval.map(every).unwrap_or_default()
    }

    fn value(&self, order: &str) -> String {
        match order {
            // The gravest first is what people look for, as with numbers the largest.
            "severity" => format!("{}", SEVERITIES.iter().position(|one| *one == self.severity).unwrap_or(0)),
            "state" => self.state.to_owned(),
            "matches" => format!("{:020}", self.matches.unwrap_or(0)),
            "cost" => format!("{:030.9}", self.seconds.unwrap_or(0.0)),
            // One that is denied is dearer than any that is not.
            "price" => self.price.map_or_else(String::new, |p| format!("{:020} {:020}", p.denied, p.median)),
            "failures" => format!("{:020}", self.failures.unwrap_or(0)),
            _ => String::new(),
        }
    }
}

/// How it is with a probe, in one word.
pub fn state(conf: &ProbeConf, told: Option<&Probe>) -> &'static str {
    let Some(told) = told else { return if conf.shadow { "shadow" } else { "" } };
    match told.state.as_str() {
        "quarantined" => "quarantined",
        "switched_off" => "switched off",
        _ if told.failures > 0 => "failing",
        _ if told.query_silent.is_some() => "silent",
        "shadow" => "shadow",
        _ => "on",
    }
}

/// The machines that a probe is about; empty: all.
pub fn scope(conf: &ProbeConf) -> String {
    let scope = &conf.scope;
    let within = [&scope.platforms, &scope.units, &scope.tags, &scope.groups, &scope.machines];
    let without = [&scope.not_platforms, &scope.not_units, &scope.not_tags, &scope.not_groups, &scope.not_machines];
    let say = |lists: [&Vec<String>; 5], not: &str| {
        let each = LISTS.iter().zip(lists).filter(|(_, list)| !list.is_empty());
        each.map(|(name, list)| format!("{not}{name} {}", list.join(", "))).collect::<Vec<_>>()
    };
    text::short(&[say(within, ""), say(without, "not ")].concat().join("; "))
}

/// `every 30 s`
pub fn every(seconds: u64) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// `1.2 s, 8.1 µs each`
pub fn cost(seconds: f64, runs: u64) -> String {
    if runs == 0 {
        return "none".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let each = seconds / runs as f64 * 1e6;
    let each = if each < 1000.0 { format!("{each:.1} µs") } else { format!("{:.1} ms", each / 1000.0) };
    format!("{seconds:.2} s, {each} each")
}

/// What is asked of the list.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Part of a name, a title, an action.
    pub text: String,
    pub severity: String,
    /// A machine: only the probes that are about it.
    pub about: Option<(String, Machine)>,
    /// A word of [`ORDERS`].
    pub order: &'static str,
    /// The last first.
    pub down: bool,
    n: usize,
    /// Where the page before ended.
    after: Option<(String, String)>,
}

impl Wanted {
    /// Reads the words of the query.
    pub fn read(asked: &Asked) -> Self {
        let (order, down) = sorting::order(asked, &ORDERS);
        Self {
            text: asked.word("q").to_owned(),
            severity: asked.word("severity").to_owned(),
            about: None,
            order,
            down,
            n: asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX)),
            after: sorting::place(asked.word("after")),
        }
    }

    /// Whether anything narrows the list.
    pub fn narrows(&self) -> bool {
        !(self.text.is_empty() && self.severity.is_empty() && self.about.is_none())
    }

    fn takes(&self, row: &Row, text: &str) -> bool {
        let has = |value: &str| value.to_lowercase().contains(text);
        (self.severity.is_empty() || row.severity == self.severity)
            && (text.is_empty() || has(&row.name) || has(&row.title) || row.act.iter().any(|action| has(action)))
    }
}

/// A page of the list.
#[derive(Debug, Default)]
pub struct Listed {
    pub rows: Vec<Row>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// What is known beside the configuration; none: who knows it does not answer.
#[derive(Debug, Default)]
pub struct Known {
    pub told: Option<Arc<BTreeMap<String, Probe>>>,
    pub matches: Option<BTreeMap<String, u64>>,
    /// Who is not among `matches` has fewer than those, and nobody knows how many.
    pub uncounted: bool,
}

/// The probes that are wanted.
pub fn list(config: &Config, known: &Known, wanted: &Wanted) -> Listed {
    let lower = wanted.text.to_lowercase();
    let row = |conf: &ProbeConf| {
        let told = known.told.as_ref().and_then(|all| all.get(&conf.name));
        let matched = |all: &BTreeMap<String, u64>| {
            let none = (!known.uncounted).then_some(0);
            all.get(&conf.name).copied().or(none)
        };
        Row::new(conf, told, known.matches.as_ref().and_then(matched))
    };
    let about = |conf: &&ProbeConf| wanted.about.as_ref().is_none_or(|(_, machine)| conf.scope.holds(machine));
    let rows = config.probes.values().filter(about).map(row).filter(|row| wanted.takes(row, &lower));
    let mut all: Vec<((String, String), Row)> =
        rows.map(|row| ((row.value(wanted.order), row.name.clone()), row)).collect();
    all.sort_unstable_by(|(a, _), (b, _)| if wanted.down { b.cmp(a) } else { a.cmp(b) });
    let passed = |key: &(String, String)| {
        wanted.after.as_ref().is_some_and(|after| if wanted.down { key >= after } else { key <= after })
    };
    let (total, begin) = (all.len(), all.partition_point(|(key, _)| passed(key)));
    let page: Vec<_> = all.into_iter().skip(begin).take(wanted.n).collect();
    let more = begin + page.len() < total;
    let next = page.last().filter(|_| more);
    let next = next.map(|((value, name), _)| sorting::cursor(value, name));
    Listed { rows: page.into_iter().map(|(_, row)| row).collect(), total, next }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn config() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        let text = r##"version = 1
            [action.a]
            kind = "file"
            path = "a"
            [probe.b]
            filter = """
# The Second
.a"""
            severity = "major"
            scope = { platforms = ["macos"], not_tags = ["lab"] }
            [probe.a]
            filter = "true"
            act = ["a"]
            shadow = true
            [probe.c]
            filter = "false"
            severity = "critical"
            query = { sql = "select 1", interval = "30s" }
"##;
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file, None).map_err(|f| pipe::config::render(&f)).unwrap().0;
        (dir, config)
    }

    fn known() -> Known {
        let told = [("a", 0, 5.0), ("b", 3, 20.0), ("c", 0, 0.5)].into_iter().map(|(name, failures, seconds)| {
            let state = if name == "c" { "quarantined" } else { "on" }.to_owned();
            (name.to_owned(), Probe { probe: name.into(), state, runs: 10, failures, seconds, ..Probe::default() })
        });
        let matches = [("c".to_owned(), 900), ("a".to_owned(), 1000)];
        Known { told: Some(Arc::new(told.collect())), matches: Some(matches.into_iter().collect()), uncounted: false }
    }

    fn wanted(order: &'static str, down: bool) -> Wanted {
        Wanted { text: String::new(), severity: String::new(), about: None, order, down, n: 50, after: None }
    }

    #[test]
    fn sorted_and_narrowed() {
        let (_dir, config) = config();
        let names = |wanted: &Wanted| {
            let rows = list(&config, &known(), wanted).rows;
            rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        for (order, down, want) in [
            ("name", false, "a b c"),
            ("name", true, "c b a"),
            ("severity", true, "c b a"),
            ("matches", true, "a c b"),
            ("cost", true, "b a c"),
            ("failures", true, "b c a"),
        ] {
            assert_eq!(names(&wanted(order, down)), want, "{order}");
        }
        assert_eq!(names(&Wanted { text: "SECOND".into(), ..wanted("name", false) }), "b");
        let mac = Machine { platform: Some("macos".into()), tags: vec!["lab".into()], ..Machine::default() };
        assert_eq!(names(&Wanted { about: Some(("C02".into(), mac)), ..wanted("name", false) }), "a c");
        assert_eq!(names(&Wanted { severity: "critical".into(), ..wanted("name", false) }), "c");
        let rows = list(&config, &known(), &wanted("name", false)).rows;
        let states: Vec<&str> = rows.iter().map(|row| row.state).collect();
        assert_eq!(states, ["on", "failing", "quarantined"]);
        let second = rows.get(1).unwrap();
        assert_eq!((second.scope.as_str(), second.title.as_str()), ("platforms macos; not tags lab", "The Second"));
        let many = list(&config, &Known { uncounted: true, ..known() }, &wanted("name", false)).rows;
        assert_eq!(many.iter().map(|row| row.matches).collect::<Vec<_>>(), [Some(1000), None, Some(900)]);
        let nobody = list(&config, &Known::default(), &wanted("name", false)).rows;
        let shown: Vec<String> =
            nobody.iter().map(|r| [r.state, &r.matched(), &r.cost(), &r.failed()].join(" ")).collect();
        assert_eq!(shown, ["shadow – – –", " – – –", " – – –"]);
    }

    #[test]
    fn every_probe_is_on_one_page() {
        let (_dir, config) = config();
        for (order, _) in ORDERS {
            for down in [false, true] {
                let (mut all, mut after) = (Vec::new(), None);
                loop {
                    let page = list(&config, &known(), &Wanted { n: 1, after, ..wanted(order, down) });
                    assert_eq!((page.total, page.rows.len()), (3, 1));
                    all.extend(page.rows.into_iter().map(|row| row.name));
                    let Some(next) = page.next else { break };
                    after = sorting::place(&next);
                }
                all.sort();
                assert_eq!(all, ["a", "b", "c"], "{order} {down}");
            }
        }
    }

    #[test]
    fn words_for_people() {
        assert_eq!([30, 90, 120, 3600, 86_400, 3661].map(every), ["30 s", "90 s", "2 min", "1 h", "1 d", "3661 s"]);
        assert_eq!([cost(0.0, 0), cost(1.5, 1000)], ["none", "1.50 s, 1.5 ms each"]);
    }
}
