//! All cores ask, and the answers come in the order of the lines, as if one had asked line after line.
//!
//! Threads are kept: what jq has compiled and parsed for a thread is worth more than the thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipe::{Line, Out};
use probe::FilterSet;

use crate::ask::{Answer, Asker, Manner};
use crate::metrics::Tally;
use crate::note::CrashNote;
use crate::worker::Worker;

/// The most threads beside the caller's.
const WORKERS_MAX: usize = 15;
/// Bytes of lines below which nobody else is asked.
const SHARED_MIN: usize = 64 << 10;
/// Time for a line from which on it pays to hand half of them to somebody else.
const DEAR: Duration = Duration::from_nanos(1200);

/// The caller's thread and others.
pub(crate) struct Pool {
    own: Asker,
    workers: Vec<Worker>,
    /// What a line took of late.
    took: Duration,
    off: Arc<[bool]>,
    /// Filters were switched off or on since lines were last asked about.
    changed: bool,
}

/// Lines that were asked about; [`Pool::next`] takes them in turn.
pub(crate) struct Asked<'l> {
    set: Arc<FilterSet>,
    manner: Manner,
    lines: &'l [Line<'l>],
    /// None: nobody was asked yet.
    answers: VecDeque<Option<Answer>>,
}

impl Asked<'_> {
    /// The lines that are left are not looked at.
    pub(crate) fn leave(self, out: &mut Out) {
        self.lines.iter().for_each(|_| out.ignored("after_max"));
    }
}

impl Pool {
    /// A thread for each note; the caller is one of them.
    pub(crate) fn new(mut notes: Vec<CrashNote>) -> std::io::Result<Self> {
        let own = Asker::new(if notes.is_empty() { CrashNote::default() } else { notes.remove(0) });
        let workers = notes.into_iter().map(Worker::start).collect::<Result<_, _>>()?;
        Ok(Self { own, workers, took: Duration::ZERO, off: Arc::default(), changed: false })
    }

    /// How many threads are worth having here.
    pub(crate) fn threads() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX + 1)
    }

    /// Filters that are not to run, by their place in the set.
    pub(crate) fn set_off(&mut self, off: Vec<bool>) {
        self.off = off.into();
        self.changed = true;
    }

    /// Asks about all lines.
    pub(crate) fn ask<'l>(&mut self, set: &Arc<FilterSet>, manner: Manner, lines: &'l [Line<'l>]) -> Asked<'l> {
        self.changed = false;
        let bytes: usize = lines.iter().map(|l| l.bytes.len()).sum();
        let begun = Instant::now();
        // While there are suspects, only one filter runs at a time: if the process dies again, it was that one.
        let suspects = self.own.note.suspects_within(bytes);
        let alone = self.workers.is_empty() || bytes < SHARED_MIN || self.took < DEAR || suspects;
        let shares = if alone { 1 } else { self.workers.len() + 1 };
        let share = lines.len().div_ceil(shares).max(1);
        let mut parts = lines.chunks(share);
        let first = parts.next().unwrap_or_default();
        for (worker, part) in self.workers.iter_mut().zip(parts.clone()) {
            worker.send(set, &self.off, manner, part);
        }
        let mut answers = VecDeque::with_capacity(lines.len());
        let mut part: Vec<Answer> = Vec::with_capacity(share);
        let mut asked = |part: &mut Vec<Answer>, lines: &[Line<'_>]| {
            let open = lines.len().saturating_sub(part.len());
            answers.extend(part.drain(..).map(Some).chain((0..open).map(|_| None)));
        };
        self.own.ask_all(set, &self.off, manner, first.iter().map(|l| l.bytes), &mut part);
        asked(&mut part, first);
        for (worker, lines) in self.workers.iter_mut().zip(parts) {
            worker.receive(&mut part, &mut self.own.tally);
            asked(&mut part, lines);
        }
        if !lines.is_empty() {
            let each = begun.elapsed() * u32::try_from(shares).unwrap_or(1) / u32::try_from(lines.len()).unwrap_or(1);
            self.took = (self.took * 7 + each) / 8;
        }
        Asked { set: Arc::clone(set), manner, lines, answers }
    }

    /// The next line and what came of it. Who is off by then has no part in it, whoever asked.
    pub(crate) fn next<'l>(&mut self, asked: &mut Asked<'l>) -> Option<(&'l Line<'l>, Answer)> {
        let (line, rest) = asked.lines.split_first()?;
        let answer = match asked.answers.pop_front().flatten() {
            Some(answer) if !self.is_stale(&answer) => answer,
            Some(_) => self.again(asked, 1),
            None => {
                let open = asked.answers.iter().take_while(|answer| answer.is_none()).count();
                self.again(asked, 1 + open)
            }
        };
        asked.lines = rest;
        if let Answer::Line(answered) = &answer {
            answered.outcome.found.iter().for_each(|found| self.own.tally.matched(found.probe));
        }
        Some((line, answer))
    }

    /// Whether a filter has a part in it that was switched off after it had been asked. It may also have taken the room
    /// of others' contexts.
    fn is_stale(&self, answer: &Answer) -> bool {
        let Answer::Line(answered) = answer else { return false };
        let off = |probe: usize| self.off.get(probe).copied().unwrap_or(false);
        let outcome = &answered.outcome;
        self.changed && (outcome.found.iter().any(|f| off(f.probe)) || outcome.failures.iter().any(|f| off(f.probe)))
    }

    /// Asks about the next lines here and now; the answer for the first, the others take their places.
    fn again(&mut self, asked: &mut Asked<'_>, lines: usize) -> Answer {
        let mut answers = Vec::new();
        let lines = asked.lines.iter().take(lines).map(|line| line.bytes);
        self.own.ask_all(&asked.set, &self.off, asked.manner, lines, &mut answers);
        let mut answers = answers.into_iter();
        let first = answers.next().unwrap_or(Answer::No);
        for (place, answer) in asked.answers.iter_mut().zip(answers) {
            *place = Some(answer);
        }
        first
    }

    /// Between two batches: what ran came back.
    pub(crate) fn rest(&mut self) -> &mut Tally {
        self.own.note.clear();
        &mut self.own.tally
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use probe::{NoModules, Spec};

    use super::*;
    use crate::ask::Purpose;
    use crate::failures::{Strikes, received};

    /// What each line carries when so many threads ask, so many lines at a time; how many matches were counted.
    fn carried(lines: &[String], threads: usize, batch: usize) -> (Vec<String>, u64) {
        // At some events all want to carry something, and there is room for all but the last: until the first is off.
        let big = "if .n % 25 == 1 then {x: (\"x\" * 60000)} else empty end";
        let mut programs = vec![format!("if .n % 10 == 0 then repeat(false) else {big} end")];
        programs.resize(18, big.to_owned());
        // Fails too, but never goes on within an hour.
        programs.push("if .n % 100 == 7 then repeat(false) else false end".to_owned());
        let specs = programs.iter().map(|program| Spec::bare("p", program.as_str())).collect();
        let set = Arc::new(FilterSet::build(specs, &NoModules).map_err(|_| "wrong").unwrap());
        let manner = Manner { trusted: true, purpose: Purpose::Annotate };
        let mut pool = Pool::new((0..threads).map(|_| CrashNote::default()).collect()).unwrap();
        pool.took = DEAR * 2;
        let (mut strikes, mut off, mut said) = ([Strikes::default(); 19], vec![false; 19], Vec::new());
        let lines: Vec<Line<'_>> =
            lines.iter().map(|line| Line { bytes: line.as_bytes(), input: 0, number: 1 }).collect();
        for lines in lines.chunks(batch) {
            let mut asked = pool.ask(&set, manner, lines);
            while let Some((line, answer)) = pool.next(&mut asked) {
                let Answer::Line(answered) = answer else {
                    said.push(String::new());
                    continue;
                };
                let outcome = &answered.outcome;
                for failure in &outcome.failures {
                    if strikes[failure.probe].add(received(line.bytes)) {
                        off[failure.probe] = true;
                        pool.set_off(off.clone());
                    }
                }
                let found = |f: &probe::Found| (f.probe, f.context.as_ref().map(String::len));
                let found: Vec<_> = outcome.found.iter().map(found).collect();
                said.push(format!("{found:?} {:?}", outcome.failures));
            }
        }
        let matches = pool.rest().take().map(|(_, work)| work.matches).sum();
        (said, matches)
    }

    #[test]
    fn many_threads_say_what_one_says_line_after_line() {
        let pad = "x".repeat(200);
        let line = |n: u64| {
            let minute = n / 10;
            format!(
                r#"{{"received":"2026-11-21T{:02}:{:02}:00.000Z","n":{n},"pad":"{pad}"}}"#,
                minute / 60,
                minute % 60
            )
        };
        let lines: Vec<String> = (0..400).map(line).collect();
        let all = |threads, batch| probe::with_stack(|| carried(&lines, threads, batch)).unwrap();
        let want = all(1, 1);
        let whole = |n: usize| want.0[n].contains("(17, Some(60008))");
        assert!(!whole(76) && whole(101) && whole(376), "the first is off from the 90th line on");
        for (threads, batch) in [(1, 400), (4, 400), (3, 310)] {
            let got = all(threads, batch);
            let differs = want.0.iter().zip(&got.0).position(|(a, b)| a != b);
            assert_eq!(differs.map(|i| (i, &want.0[i], &got.0[i])), None, "{threads} {batch}");
            assert_eq!((got.0.len(), got.1), (want.0.len(), want.1), "{threads} {batch}");
        }
    }
}
