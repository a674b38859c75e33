//! What there was, and what is still missing.

use super::agent::Tally;
use super::follow::Matches;
use super::hub::Ledger;
use super::slack::Got;

/// A demo with less than this shows too little.
const AGENTS_MIN: u64 = 5;
const EVENTS_MIN: u64 = 300;
const PROBES_MIN: usize = 4;
const DELIVERIES_MIN: usize = 1;

/// A picture of everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Agents that enrolled.
    pub agents: u64,
    /// Requests that were answered.
    pub posts: u64,
    /// Events that must be stored.
    pub sent: u64,
    /// Events that may be stored besides (records without a time, sent again).
    pub unsure: u64,
    /// Events of agents that are stored.
    pub stored: u64,
    /// Distinct matches.
    pub matches: usize,
    /// Probes that matched.
    pub probes: usize,
    /// Matches that came again with the same id.
    pub again: usize,
    /// What the matches ask of Slack and of the mail server.
    pub asked: (usize, usize),
    /// What Slack and the mail server took.
    pub taken: (usize, usize),
    /// Deliveries that Slack put off.
    pub put_off: u32,
    /// Deliveries that came twice, with the same key.
    pub doubled: usize,
    /// How often a stage was started again.
    pub restarts: u64,
    /// What a receiver found wrong.
    pub wrong: Vec<String>,
    /// The ledger.
    pub ledger: Ledger,
}

impl Picture {
    /// Takes what is counted in this process.
    pub fn of(tally: &Tally, matches: &Matches, slack: &Got, mail: &Got) -> Self {
        let asked = |action: &str| matches.deliveries.get(action).copied().unwrap_or_default();
        let mut wrong: Vec<String> = slack.wrong.iter().chain(&mail.wrong).cloned().collect();
        wrong.extend(matches.failed.iter().map(|why| format!("topic matches: {why}")));
        Self {
            agents: Tally::of(&tally.enrolled),
            posts: Tally::of(&tally.posts),
            sent: Tally::of(&tally.events),
            unsure: Tally::of(&tally.unsure),
            matches: matches.count(),
            probes: matches.probes.len(),
            again: matches.again,
            asked: (asked("slack-demo"), asked("mail-demo")),
            taken: (slack.taken.len(), mail.taken.len()),
            put_off: slack.put_off,
            doubled: slack.doubled() + mail.doubled(),
            wrong,
            ..Self::default()
        }
    }

    /// What has not come yet; empty once everything is stored and acted on. `matches` is how many there must be.
    pub fn missing(&self, matches: usize) -> Vec<String> {
        let mut missing = Vec::new();
        if self.stored < self.sent {
            missing.push(format!("{} of {} events are not stored", self.sent - self.stored, self.sent));
        }
        if self.matches < matches {
            missing.push(format!("{} of {matches} matches have not come", matches - self.matches));
        }
        for (name, asked, taken) in [("Slack", self.asked.0, self.taken.0), ("mail", self.asked.1, self.taken.1)] {
            if taken < asked {
                missing.push(format!("{} of {asked} {name} deliveries have not come", asked - taken));
            }
        }
        if self.ledger.open > 0 {
            missing.push(format!("{} deliveries are not done", self.ledger.open));
        }
        missing
    }

    /// What no waiting can mend.
    pub fn faults(&self, matches: usize) -> Vec<String> {
        let mut faults = self.wrong.clone();
        if self.stored > self.sent + self.unsure {
            faults.push(format!("{} events are stored twice or from nowhere", self.stored - self.sent - self.unsure));
        }
        if self.matches > matches {
            faults.push(format!("{} matches more than there are records to match", self.matches - matches));
        }
        if self.taken.0 > self.asked.0 || self.taken.1 > self.asked.1 {
            faults.push("deliveries that no match asked for".into());
        }
        // A try that a crash cut off is made again with the same key: promised, and no fault (design § 7).
        if self.doubled > 0 && self.restarts == 0 {
            faults.push(format!("{} deliveries were made twice", self.doubled));
        }
        if self.ledger.lost > 0 {
            faults.push(format!("{} deliveries are dead, stale or dropped", self.ledger.lost));
        }
        faults
    }

    /// Whether it shows enough.
    pub fn too_little(&self) -> Vec<String> {
        let mut little = Vec::new();
        let mut least = |what: &str, found: u64, min: u64| {
            if found < min {
                little.push(format!("{found} {what}; a demo shows {min} at least"));
            }
        };
        least("agents", self.agents, AGENTS_MIN);
        least("events", self.stored, EVENTS_MIN);
        least("probes matched", self.probes as u64, PROBES_MIN as u64);
        least("Slack deliveries", self.taken.0 as u64, DELIVERIES_MIN as u64);
        least("mail deliveries", self.taken.1 as u64, DELIVERIES_MIN as u64);
        little
    }

    /// One line.
    pub fn summary(&self) -> String {
        let Self { agents, posts, stored, matches, probes, taken, put_off, again, .. } = self;
        let crashed = match (self.restarts, self.doubled) {
            (0, _) => String::new(),
            (n, d) => format!("; {n} times a stage was started again, {d} deliveries came again with the same key"),
        };
        format!(
            "{agents} agents, {posts} POSTs, {stored} events, {matches} matches of {probes} probes, {} deliveries to \
             Slack ({put_off} put off and made again), {} by mail; {again} matches came again and changed nothing{crashed}",
            taken.0, taken.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overlooked() {
        let good = Picture {
            agents: 6,
            posts: 40,
            sent: 400,
            stored: 400,
            matches: 8,
            probes: 4,
            asked: (8, 8),
            taken: (8, 8),
            put_off: 1,
            ledger: Ledger { done: 16, ..Ledger::default() },
            ..Picture::default()
        };
        let check = |change: &dyn Fn(&mut Picture), want: &str| {
            let mut picture = good.clone();
            change(&mut picture);
            let said = [picture.missing(8), picture.faults(8), picture.too_little()].concat().join("; ");
            assert!(if want.is_empty() { said.is_empty() } else { said.contains(want) }, "{want}: {said}");
        };
        check(&|_| {}, "");
        check(&|p| p.stored = 399, "1 of 400 events");
        check(&|p| p.stored = 401, "stored twice");
        check(&|p| (p.stored, p.unsure) = (401, 1), "");
        check(&|p| p.matches = 7, "1 of 8 matches");
        check(&|p| p.matches = 9, "matches more");
        check(&|p| p.taken.0 = 7, "Slack deliveries have not");
        check(&|p| p.taken.1 = 9, "no match asked");
        check(&|p| p.doubled = 1, "made twice");
        check(&|p| (p.doubled, p.restarts) = (1, 1), "");
        check(&|p| p.ledger.open = 1, "not done");
        check(&|p| p.ledger.lost = 1, "dead");
        check(&|p| p.wrong.push("slack: GET".into()), "slack: GET");
        check(&|p| p.agents = 4, "4 agents");
        check(&|p| (p.sent, p.stored) = (299, 299), "299 events");
        check(&|p| p.probes = 3, "3 probes");
        check(&|p| (p.asked.0, p.taken.0) = (0, 0), "0 Slack");
        check(&|p| (p.asked.1, p.taken.1) = (0, 0), "0 mail");
    }
}
