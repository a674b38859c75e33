//! One thread's part of the work: what the probes say of each line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use event::json;
use probe::{FilterSet, Note, Outcome, ParseError, Runner, Scratch, Why};

use crate::failures::{Strikes, received};
use crate::metrics::Tally;
use crate::note::CrashNote;

/// How lines are to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Lines are canonical: whoever says so has checked them.
    pub(crate) trusted: bool,
    /// What is done with the answers.
    pub(crate) purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Matches are written on the event, which goes on in canonical form; a filter that goes on exceeding a limit is
    /// quarantined.
    Annotate,
    /// Lines are chosen and stay as they are; what a match carries is not wanted, and every filter always runs.
    Choose,
}

/// What came of a line.
#[derive(Debug)]
pub(crate) enum Answer {
    /// No probe chose it, and it goes on as it is, if it goes on.
    No,
    /// Probes chose it or failed, or it has another form now.
    Line(Box<Answered>),
    /// It was not understood: reason and text.
    Refused(&'static str, String),
}

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    /// The line in canonical form, where it came in another and does not stay as it is.
    pub(crate) canonical: Option<Vec<u8>>,
}

/// Asks about lines, noting what jq is about to run.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    pub(crate) note: CrashNote,
    pub(crate) tally: Tally,
    scratch: Scratch,
    /// A line in canonical form.
    text: Vec<u8>,
}

impl Asker {
    pub(crate) fn new(note: CrashNote) -> Self {
        Self { note, ..Self::default() }
    }

    /// Answers for lines in order, at least for the first. It stops after a line at which a filter has exceeded limits as
    /// often as a quarantine takes: whether that filter is to run again is for whoever has counted all lines to say.
    pub(crate) fn ask_all<'l>(
        &mut self,
        set: &FilterSet,
        off: &[bool],
        manner: Manner,
        lines: impl Iterator<Item = &'l [u8]>,
        answers: &mut impl Extend<Answer>,
    ) {
        let Self { note, tally, scratch, text } = self;
        let mut runner = set.runner(scratch);
        if manner.purpose == Purpose::Choose {
            runner = runner.without_contexts();
        }
        let mut gate = Gate { set, off, note, tally, begun: None };
        let mut strikes: HashMap<usize, Strikes> = HashMap::new();
        for line in lines {
            let answer = one(&mut runner, &mut gate, manner, line, text);
            let enough = manner.purpose == Purpose::Annotate && is_enough(&mut strikes, line, &answer);
            answers.extend([answer]);
            if enough {
                return;
            }
        }
    }
}

/// Counts the limits that were exceeded at a line; whether a filter has exceeded enough of them.
fn is_enough(strikes: &mut HashMap<usize, Strikes>, line: &[u8], answer: &Answer) -> bool {
    let Answer::Line(answered) = answer else { return false };
    let Answered { outcome, canonical } = answered.as_ref();
    let mut enough = false;
    for failure in outcome.failures.iter().filter(|f| matches!(f.why, Why::Exceeded(_))) {
        let received = received(canonical.as_deref().unwrap_or(line));
        enough |= strikes.entry(failure.probe).or_default().add(received);
    }
    enough
}

fn one(runner: &mut Runner<'_>, gate: &mut Gate<'_>, manner: Manner, line: &[u8], text: &mut Vec<u8>) -> Answer {
    if manner.trusted || json::is_canonical(line) {
        return answer(runner.run(line, 0, gate), manner);
    }
    text.clear();
    let canonical = json::canonical(line, text);
    match manner.purpose {
        // Of a line that is refused the place is told as it was written.
        Purpose::Choose => match canonical.ok().and_then(|()| runner.run(text, 0, gate).ok()) {
            Some(outcome) => answer(Ok(outcome), manner),
            None => answer(runner.naive(line, 0, gate), manner),
        },
        Purpose::Annotate => match canonical.map(|()| runner.run(text, 0, gate)) {
            Ok(Ok(outcome)) => Answer::Line(Box::new(Answered { outcome, canonical: Some(text.clone()) })),
            Ok(failed) => answer(failed, manner),
            Err(e) => Answer::Refused("not_json", e.to_string()),
        },
    }
}

fn answer(outcome: Result<Outcome, ParseError>, manner: Manner) -> Answer {
    match outcome {
        Ok(outcome) if outcome.found.is_empty() && outcome.failures.is_empty() => Answer::No,
        Ok(outcome) => Answer::Line(Box::new(Answered { outcome, canonical: None })),
        Err(e) => {
            let reason = match e.what {
                _ if manner.purpose == Purpose::Annotate => "not_an_event",
                probe::NO_OBJECT => "not_an_object",
                _ => "not_json",
            };
            Answer::Refused(reason, e.to_string())
        }
    }
}

/// Keeps filters that are off from running, notes what runs and takes its time.
struct Gate<'a> {
    set: &'a FilterSet,
    off: &'a [bool],
    note: &'a mut CrashNote,
    tally: &'a mut Tally,
    begun: Option<Instant>,
}

impl Note for Gate<'_> {
    fn before(&mut self, probe: usize, event_id: &str) -> bool {
        if self.is_off(probe) {
            return false;
        }
        if let Some(spec) = self.set.spec(probe) {
            self.note.before(&spec.name, &spec.rev, event_id);
        }
        self.begun = Some(Instant::now());
        true
    }

    fn is_off(&self, probe: usize) -> bool {
        self.off.get(probe).copied().unwrap_or(false)
    }

    fn after(&mut self, probe: usize) {
        let took = self.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        self.tally.ran(probe, took);
        self.note.after();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use probe::{NoModules, Quiet, Spec};

    use super::*;

    /// Lines that are not canonical, and some that are no lines at all.
    fn hostile() -> Vec<Vec<u8>> {
        let texts = [
            r#"{"id": "a", "n": 1}"#,
            r#"{ "n" : 1 , "n" : 2 }"#,
            r#"{"b":1,"a":2, "b":3}"#,
            r#"{"n":{"x":1,"\u0078":2}}"#,
            r#"{"\u006e":2,"s":"\u0041\/\ud83d\ude00\n"}"#,
            r#"{"n": 1e1000, "m": -0.0, "k": 100000000000000000000000000001, "l": 1.50}"#,
            r#"{"n": 9007199254740993, "m":1E2}"#,
            r#"{"s": "\ud800"}"#,
            r#"{"s": "\udc00x"}"#,
            r#"{"n": 01}"#,
            r#"{"n": 1,}"#,
            r#"{"n": 1} {"n": 2}"#,
            r#"{"n": tru}"#,
            " [1]",
            " null ",
            " \"n\"",
            "",
            " ",
            "{\"s\": \"a\tb\"}",
        ];
        let mut lines: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        for depth in [126, 127, 128, 129] {
            lines.push(format!("{{\"n\": {}1{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes());
        }
        lines.push(b"{\"s\": \"\xff\"}".to_vec());
        lines.push(
            format!("{{\"n\":1,{}\"z\": 1}}", (0..99).map(|i| format!("\"k{i}\": {i},")).collect::<String>()).into(),
        );
        lines
    }

    #[test]
    fn lines_in_any_form_are_chosen_as_jq_alone_would() {
        let programs = [
            ".n == 2",
            ".n == 1",
            ".n > 1",
            ".s | startswith(\"A/\")",
            "has(\"n\")",
            "tojson | test(\"1.50|100000000000000000000000000001\")",
            "keys_unsorted[0] == \"b\"",
            "tostring | length > 40",
            ".n.x == 2",
            ".n + 1 > 3",
            "true",
        ];
        let specs = programs.iter().map(|p| Spec::bare(p, *p)).collect();
        let set = FilterSet::build(specs, &NoModules).map_err(|_| "wrong").unwrap();
        let (chosen, refused) = probe::with_stack(|| {
            let mut asker = Asker::default();
            let manner = Manner { trusted: false, purpose: Purpose::Choose };
            let (mut chosen, mut refused) = (0, 0);
            for line in hostile() {
                let said = String::from_utf8_lossy(&line).into_owned();
                assert!(!json::is_canonical(&line), "{said}");
                let mut got = Vec::new();
                asker.ask_all(&set, &[], manner, std::iter::once(line.as_slice()), &mut got);
                let got = match got.pop().unwrap() {
                    Answer::No => Ok(Vec::new()),
                    Answer::Line(answered) => Ok(answered.outcome.found.iter().map(|f| f.probe).collect::<Vec<_>>()),
                    Answer::Refused(_, text) => Err(text),
                };
                let mut scratch = Scratch::default();
                let naive = set.runner(&mut scratch).without_contexts().naive(&line, 0, &mut Quiet);
                let want = naive.map(|outcome| outcome.found.iter().map(|f| f.probe).collect::<Vec<_>>());
                assert_eq!(got, want.map_err(|e| e.to_string()), "{said}");
                chosen += got.as_ref().map_or(0, Vec::len);
                refused += usize::from(got.is_err());
            }
            (chosen, refused)
        })
        .unwrap();
        assert!(chosen > 30 && refused > 10, "{chosen} {refused}");
    }
}
