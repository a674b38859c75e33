//! Filters that jq runs at every event: why, what that costs, and how to write them so that the index can be asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use filter::finding;
use pipe::config::{Config, Finding, ProbeConf};
use probe::{Advice, Cost, FilterSet, Standing, Unclear};
use serde_json::{Value, json};

/// Events of a common kind, for filters that have no examples beside them.
const SAMPLES: &str = include_str!("samples.ndjson");
/// CPU time spent on measuring one filter, and on measuring all of them.
const SPEND: Duration = Duration::from_millis(3);
const SPEND_ALL: Duration = Duration::from_secs(3);
/// Examples that a filter is measured over.
const EXAMPLES_MAX: usize = 20;

/// How the probes of a configuration are decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// By the index and the values that it saw; jq only makes what a match carries.
    index: usize,
    /// By jq, where the index does not rule it out.
    both: usize,
    /// By jq, at every event.
    jq: usize,
}

impl Decided {
    /// For people.
    pub fn text(&self) -> String {
        let Self { index, both, jq } = self;
        let all = match index + both + jq {
            0 => return "no probes".to_owned(),
            1 => "1 probe".to_owned(),
            n => format!("{n} probes"),
        };
        format!("{all}: {index} decided by the index alone, {both} by the index and jq, {jq} by jq at every event")
    }

    /// For programs.
    pub fn record(&self, file: &Path) -> Value {
        let Self { index, both, jq } = self;
        json!({"level": "summary", "file": file, "probes": index + both + jq, "index": index, "index_and_jq": both, "jq": jq})
    }
}

/// Compiles every filter and looks at what it costs; the configuration has been found right.
pub fn look(config: &Config) -> (Decided, Vec<Finding>) {
    let set = match filter::build(config, &[]) {
        Ok(set) => set,
        Err(e) => return (Decided::default(), vec![broken(config, e.text)]),
    };
    let mut found: Vec<Finding> = set.compile().err().map(|text| broken(config, text)).into_iter().collect();
    let standings: Vec<Standing> = (0..set.len()).filter_map(|i| set.standing(i)).collect();
    let of = |which: Standing| standings.iter().filter(|s| **s == which).count();
    let decided = Decided { index: of(Standing::Native), both: of(Standing::Indexed), jq: of(Standing::Always) };
    if decided.jq > 0 {
        let others = others(config, &set, &standings);
        let mut measured = Measured::default();
        let slow = (0..set.len()).flat_map(|i| slow(config, &set, i, &others, &mut measured));
        found.extend(slow);
    }
    (decided, found)
}

fn broken(config: &Config, text: String) -> Finding {
    Finding::file(config.file.clone().unwrap_or_default(), text)
}

/// The notes about a probe, if there are any: one for each place that has to be written another way.
fn slow(config: &Config, set: &FilterSet, i: usize, others: &Others, measured: &mut Measured) -> Vec<Finding> {
    let conf = set.spec(i).and_then(|spec| config.probes.get(&spec.name));
    let (Some(advice), Some(conf)) = (set.advice(i), conf) else { return Vec::new() };
    let begin = begin(&advice, measured.cost(set, i, conf), others);
    let note = |(n, unclear): (usize, &Unclear)| {
        let mut place = unclear.place.clone();
        let begin = if n == 0 { begin.as_str() } else { "in the way of the same filter" };
        place.message = format!("{begin}: {}", place.message);
        finding(config, &place).note()
    };
    advice.unclear.iter().enumerate().map(note).collect()
}

fn begin(advice: &Advice, cost: Option<Cost>, others: &Others) -> String {
    let mut text = match advice.everywhere {
        true => "jq runs this filter at every event".to_owned(),
        false => "jq runs this filter at every event that nothing else rules out".to_owned(),
    };
    if let Some(cost) = cost {
        text.push_str(&format!(", about {} each{}", time(cost.each), others.beside(cost.each)));
        if let Some(limit) = cost.exceeded {
            text.push_str(&format!(", and it exceeds its limit of {limit}"));
        }
    }
    text
}

/// The probes that the index can be asked about: how many, and what they take together.
struct Others(usize, Option<Duration>);

fn others(config: &Config, set: &FilterSet, standings: &[Standing]) -> Others {
    let quick = (0..).zip(standings).filter(|(_, s)| **s != Standing::Always);
    let names: Vec<String> = quick.filter_map(|(i, _)| set.spec(i)).map(|spec| spec.name.clone()).collect();
    if names.is_empty() {
        return Others(0, None);
    }
    let lines: Vec<&str> = SAMPLES.lines().collect();
    let set = filter::build(config, &names).ok().filter(|set| set.compile().is_ok());
    let took = set.and_then(|set| set.cost_of_all(&lines, SPEND));
    Others(names.len(), took)
}

impl Others {
    fn beside(&self, cost: Duration) -> String {
        let Self(n, Some(took)) = self else { return String::new() };
        let times = cost.as_nanos() / took.as_nanos().max(1);
        let together =
            if *n == 1 { "the other probe takes".to_owned() } else { format!("the other {n} take together") };
        match times {
            0 => format!(" (less than {together})"),
            1 => format!(" (as much as {together})"),
            2 => format!(" (twice what {together})"),
            times => format!(" ({times} times what {together})"),
        }
    }
}

/// What filters cost, by their text: several probes may have one.
#[derive(Default)]
struct Measured {
    known: BTreeMap<String, Option<Cost>>,
    spent: Duration,
}

impl Measured {
    fn cost(&mut self, set: &FilterSet, probe: usize, conf: &ProbeConf) -> Option<Cost> {
        if let Some(known) = self.known.get(&conf.filter.source) {
            return *known;
        }
        if self.spent > SPEND_ALL {
            return None;
        }
        let own = examples(conf);
        let events: Vec<&str> =
            if own.is_empty() { SAMPLES.lines().collect() } else { own.iter().map(String::as_str).collect() };
        let begun = std::time::Instant::now();
        let cost = set.cost(probe, &events, SPEND);
        self.spent += begun.elapsed();
        self.known.insert(conf.filter.source.clone(), cost);
        cost
    }
}

/// The events beside a filter; that they are right is for `zentral test` to say.
fn examples(conf: &ProbeConf) -> Vec<String> {
    let beside = conf.filter.file.as_ref().map(|file| file.with_extension("ndjson"));
    let text = beside.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let examples = probe::examples::parse(&text).unwrap_or_default();
    examples.into_iter().take(EXAMPLES_MAX).map(|example| example.event).collect()
}

/// A time for people, two digits of it.
fn time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos, "µs"),
        _ => (nanos / 1_000, "ms"),
    };
    let (whole, tenth) = (value / 1_000, value % 1_000 / 100);
    if whole < 10 { format!("{whole}.{tenth} {unit}") } else { format!("{whole} {unit}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn times_and_comparisons_read_well() {
        let times = [(740, "740 ns"), (1_250, "1.2 µs"), (12_345, "12 µs"), (999_999, "999 µs"), (51_000_000, "51 ms")];
        for (nanos, want) in times {
            assert_eq!(time(Duration::from_nanos(nanos)), want);
        }
        let beside = |n, took, cost| Others(n, Some(Duration::from_nanos(took))).beside(Duration::from_nanos(cost));
        assert_eq!(beside(30, 1_000, 12_400), " (12 times what the other 30 take together)");
        assert_eq!(beside(1, 1_000, 1_400), " (as much as the other probe takes)");
        assert_eq!(beside(2, 1_000, 400), " (less than the other 2 take together)");
        assert_eq!(beside(2, 0, 3), " (3 times what the other 2 take together)");
        assert_eq!(Others(0, None).beside(Duration::from_nanos(1)), "");
    }

    #[test]
    fn samples_are_canonical_events() {
        let lines: Vec<&str> = SAMPLES.lines().collect();
        assert!(lines.len() > 4);
        for line in lines {
            assert!(event::json::is_canonical(line.as_bytes()), "{line}");
            assert!(line.starts_with("{\"v\":1,\"id\":"), "{line}");
        }
    }
}
