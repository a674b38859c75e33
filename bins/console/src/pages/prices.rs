//! What queries cost machines, in words: in the list of probes, of one probe, of one machine.

use registry::known::Known;
use registry::prices::{self, Price, Summary, ms};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::Wrong;
use crate::app::App;
use crate::ask::Who;
use crate::text;

/// Machines that are shown of a query.
pub const DEAREST_MAX: usize = 20;
/// Machines that are looked at for somebody who sees only some.
const LOOKED_AT: u64 = 1000;
/// How the names of probes' queries begin.
const OF_PROBES: &str = "zentral/";
/// Queries that are shown of a machine; the JSON has all.
const QUERIES_MAX: usize = 200;

/// What one run of a query costs a machine.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Paid {
    /// Its name in the schedule.
    pub query: String,
    /// Milliseconds of processor time; none: it was never run to its end.
    cpu_ms: Option<f64>,
    /// Bytes that the agent holds more afterwards.
    memory: u64,
    /// Bytes of rows.
    output: u64,
    /// The agent's watchdog has stopped it.
    pub denied: bool,
}

/// A machine that a query costs much.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Dear {
    machine: String,
    hostname: Option<String>,
    #[serde(flatten)]
    pub paid: Paid,
    #[serde(skip)]
    pub link: String,
}

impl Dear {
    pub fn name(&self) -> String {
        text::short(self.hostname.as_deref().unwrap_or(&self.machine))
    }
}

impl Paid {
    fn new(query: &str, price: &Price) -> Self {
        let Price { memory, output, denied, .. } = *price;
        Self { query: query.to_owned(), cpu_ms: price.cpu_ms(), memory, output, denied }
    }

    pub fn cpu(&self) -> String {
        self.cpu_ms.map_or_else(|| "never ended".to_owned(), time)
    }

    pub fn memory(&self) -> String {
        bytes(self.memory)
    }

    pub fn output(&self) -> String {
        bytes(self.output)
    }

    /// Its probe's page.
    pub fn link(&self) -> Option<String> {
        let name = self.query.strip_prefix(OF_PROBES)?.split('/').next()?;
        Some(format!("/probes/{}", text::part(name)))
    }
}

/// `12 ms, worst 1.5 s; denied on 3`; empty: no machine tells.
pub fn summary(of: &Summary) -> String {
    let all = [median(of), rest(of)].into_iter().filter(|part| !part.is_empty());
    all.collect::<Vec<_>>().join(", ")
}

/// `12 ms`: what a run costs the machine in the middle.
pub fn median(of: &Summary) -> String {
    if of.machines > 0 { time(ms(of.median)) } else { String::new() }
}

/// `worst 1.5 s; denied on 3`
pub fn rest(of: &Summary) -> String {
    let worst = || format!("worst {}", time(ms(of.worst)));
    let denied = || format!("denied on {}", text::number(of.denied));
    let all = [(of.machines > 0).then(worst), (of.denied > 0).then(denied)];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The machines that a query costs most, of those that this person sees.
pub fn dearest(app: &App, who: Option<&Who>, query: &str) -> Result<Vec<Dear>, Wrong> {
    let all = app.machines(|known: &Known| {
        let found = known.inventory(|db| prices::dearest(db, query, LOOKED_AT))?.unwrap_or_default();
        let seen = found.into_iter().filter_map(|(key, price)| {
            let machine = known.block(&key);
            who.is_some_and(|who| who.sees(machine.unit.as_deref())).then(|| Dear {
                link: format!("/machines/{}", text::part(&key)),
                hostname: machine.hostname,
                paid: Paid::new(query, &price),
                machine: key,
            })
        });
        Ok(seen.take(DEAREST_MAX).collect())
    })?;
    Ok(all)
}

/// What its queries cost a machine, as its JSON tells: the dearest first, before them those that it denies.
pub fn of_machine<'v>(told: impl Iterator<Item = &'v Value>) -> Vec<Paid> {
    let mut all: Vec<Paid> = told.filter_map(|one| Paid::deserialize(one).ok()).collect();
    let cost = |paid: &Paid| paid.cpu_ms.unwrap_or(0.0);
    all.sort_by(|a, b| b.denied.cmp(&a.denied).then(cost(b).total_cmp(&cost(a))));
    all.truncate(QUERIES_MAX);
    all
}

/// Milliseconds for people.
fn time(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.1} s", ms / 1000.0),
        ms => format!("{:.0} min", ms / 60_000.0),
    }
}

/// Bytes for people.
#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn bytes(n: u64) -> String {
    let of = |unit: u32| n as f64 / f64::from(1u32 << unit);
    match n {
        n if n < 1 << 10 => format!("{n} B"),
        n if n < 1 << 20 => format!("{:.0} KiB", of(10)),
        n if n < 1 << 30 => format!("{:.1} MiB", of(20)),
        _ => format!("{:.1} GiB", of(30)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        let of = |machines, denied| Summary { machines, median: 12_300, worst: 90_000_000, denied };
        assert_eq!(summary(&of(9, 0)), "12 ms, worst 2 min");
        assert_eq!(
            [summary(&of(9, 3)), summary(&of(0, 1)), summary(&of(0, 0))],
            ["12 ms, worst 2 min; denied on 3", "denied on 1", ""]
        );
        assert_eq!([0.05, 9.96, 999.0, 1500.0].map(time), ["0.1 ms", "10.0 ms", "999 ms", "1.5 s"]);
        assert_eq!([0, 2048, 3 << 20, 1 << 40].map(bytes), ["0 B", "2 KiB", "3.0 MiB", "1024.0 GiB"]);
    }

    #[test]
    fn what_is_denied_comes_first() {
        let one = |query: &str, cpu: Value, denied: bool| serde_json::json!({"query": query, "cpu_ms": cpu, "memory": 0, "output": 0, "denied": denied});
        let told = [
            one("zentral/a/1", 5.0.into(), false),
            one("zentral/b/1", Value::Null, true),
            one("x", 9.0.into(), false),
            7.into(),
        ];
        let all = of_machine(told.iter());
        let names: Vec<&str> = all.iter().map(|one| one.query.as_str()).collect();
        assert_eq!(names, ["zentral/b/1", "x", "zentral/a/1"]);
        let first = all.first().unwrap();
        assert_eq!((first.cpu().as_str(), first.link().as_deref()), ("never ended", Some("/probes/b")));
        assert_eq!(all.get(1).unwrap().link(), None);
    }
}
