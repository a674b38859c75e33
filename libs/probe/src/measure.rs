//! What filters cost: CPU time, measured over events that somebody chose.

use std::time::Duration;

use crate::budget::{self, Limit};
use crate::clauses::now;
use crate::index::Scratch;
use crate::program::Decision;
use crate::set::FilterSet;
use crate::spec::Quiet;
use crate::stack;
use crate::value::{Val, parse};

/// What jq costs for one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// CPU time an event, at best.
    pub each: Duration,
    /// A limit that it exceeded.
    pub exceeded: Option<Limit>,
}

impl FilterSet {
    /// What the filter of a probe costs where jq runs it over each of these events, asked again and again for about
    /// `spend`; none if there is no such probe or event.
    pub fn cost(&self, probe: usize, events: &[&str], spend: Duration) -> Option<Cost> {
        let measured = stack::with_stack(|| {
            let events: Vec<Val> = events.iter().filter_map(|event| parse(event.as_bytes()).ok()).collect();
            let mut exceeded = None;
            let each = best(events.len(), spend, || {
                for event in &events {
                    if let Some(Decision::Exceeded(limit)) = self.decide(probe, event, now(event, 0)) {
                        exceeded = Some(limit);
                    }
                }
            })?;
            self.spec(probe).map(|_| Cost { each, exceeded })
        });
        measured.ok().flatten()
    }

    /// What all probes together cost a line, at best; the lines are canonical. None if there are none.
    pub fn cost_of_all(&self, lines: &[&str], spend: Duration) -> Option<Duration> {
        let measured = stack::with_stack(|| {
            let mut scratch = Scratch::default();
            let mut runner = self.runner(&mut scratch);
            best(lines.len(), spend, || {
                for line in lines {
                    // What is no event costs nothing.
                    let _ = runner.run(line.as_bytes(), 0, &mut Quiet);
                }
            })
        });
        measured.ok().flatten()
    }
}

/// Time for one of `parts` in the fastest round. The first one also compiles what is compiled when it is first asked, and
/// counts only if it is far too long to have another; then there are rounds until `spend` is used up.
fn best(parts: usize, spend: Duration, mut round: impl FnMut()) -> Option<Duration> {
    let parts = u32::try_from(parts).ok().filter(|n| *n > 0)?;
    let mut timed = || {
        let before = cpu();
        round();
        cpu().saturating_sub(before)
    };
    let mut fastest = timed();
    if fastest < 10 * spend {
        let mut spent = Duration::ZERO;
        while spent < spend {
            // What takes no time that can be told must end too.
            let took = timed().max(Duration::from_nanos(1));
            fastest = fastest.min(took);
            spent += took;
        }
    }
    Some(fastest / parts)
}

fn cpu() -> Duration {
    Duration::from_nanos(budget::cpu_now())
}
