//! At the shell with a jq program: grep. Matching lines go out byte for byte as they came.

use event::Time;
use pipe::{Exit, Line, Out, Stage, StageError};
use probe::{Decision, Limits, Program};
use registry::db::Tx;

use crate::Args;

/// The programs of `-e` and of files.
pub(crate) fn programs(
    config: &pipe::config::Config,
    exprs: &[String],
    files: &[&String],
) -> Result<Vec<Program>, StageError> {
    let modules = |path: &str| config.module(path);
    let compile = |text: &str, name: &str| {
        probe::compile(text, name, &modules).map_err(|e| StageError::usage(format!("\n{}", e.render())))
    };
    let mut all = Vec::new();
    for expr in exprs {
        all.push(compile(expr, "-e")?);
    }
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| StageError::usage(format!("{file}: {e}")))?;
        all.push(compile(&text, file)?);
    }
    Ok(all)
}

/// Prints the lines that any program chooses.
pub(crate) struct Grep {
    programs: Vec<Program>,
    limits: Limits,
    all: bool,
    invert: bool,
    count: bool,
    max: u64,
    /// Matches go to a second output too.
    matches: bool,
    found: u64,
    failed: u64,
    said: u64,
    exceeded_said: u64,
}

/// Runtime errors that are told, and exceeded limits; the rest is counted.
const FAILURES_SAID: u64 = 3;

impl Grep {
    pub(crate) fn new(programs: Vec<Program>, args: &Args, matches: bool) -> Self {
        let max = args.max.unwrap_or(u64::MAX);
        let (all, invert, count) = (args.all, args.invert, args.count);
        let limits = Limits::default();
        Self { programs, limits, all, invert, count, max, matches, found: 0, failed: 0, said: 0, exceeded_said: 0 }
    }

    /// Whether any program chooses the event; a runtime error is no match.
    fn chooses(&mut self, event: &probe::Val, number: u64, now_ms: i64) -> bool {
        for program in &self.programs {
            match program.decide(event, now_ms, &self.limits) {
                Decision::Yes(_) => return true,
                Decision::No => continue,
                Decision::Failed(why) => {
                    if self.said < FAILURES_SAID {
                        self.said += 1;
                        tracing::debug!("line {number}: {why}");
                    }
                }
                Decision::Exceeded(limit) => {
                    if self.exceeded_said < FAILURES_SAID {
                        self.exceeded_said += 1;
                        tracing::warn!("line {number}: filter_failed: exceeded its limit of {limit}");
                    }
                }
            }
            self.failed += 1;
        }
        false
    }
}

impl Stage for Grep {
    fn outputs(&self) -> &'static [&'static str] {
        &["to", "matches"]
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            if self.found >= self.max {
                out.ignored("after_max");
                continue;
            }
            let event = match probe::parse(line.bytes) {
                Ok(event @ probe::Val::Obj(_)) => event,
                Ok(_) => {
                    out.refused(line, "not_an_object", "not a JSON object");
                    continue;
                }
                Err(e) => {
                    out.refused(line, "not_json", e.to_string());
                    continue;
                }
            };
            let received = event.get("received").and_then(|r| r.as_str()).and_then(|r| r.parse::<Time>().ok());
            let now_ms = received.unwrap_or_default().ms();
            let hit = self.chooses(&event, line.number, now_ms) != self.invert;
            self.found += u64::from(hit);
            let (mut gave, mut fits) = (hit && self.count, true);
            for (output, wanted) in [(0, (hit || self.all) && !self.count), (1, hit && self.matches)] {
                if wanted {
                    gave = true;
                    fits &= out.line(output, line.bytes).is_ok();
                }
            }
            if !fits {
                out.refused(line, "too_long", "the line is longer than a line may be");
            } else if gave {
                out.done();
            } else {
                out.ignored("no_match");
            }
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<(), StageError> {
        if self.found >= self.max {
            return Err(StageError { exit: Exit::Done, text: "enough".into() });
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        if self.count {
            let _ = pipe::write_stdout(format!("{}\n", self.found).as_bytes());
        }
        if self.failed > 0 {
            tracing::info!("{} runs of a filter failed (no match; --log debug shows why)", self.failed);
        }
        if self.found > 0 { Exit::Done } else { Exit::No }
    }
}
