//! What became of the lines of a batch: counted in the transaction, and who was refused is logged and kept.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::db::{Db, Tx};

use crate::config::{Config, process_name};
use crate::fs::Fs;
use crate::out::{Complaint, Later, Out, Verdicts};
use crate::refused::Refused;
use crate::topic::Mark;
use crate::{Metrics, StageError, state};

/// Complaints about refused lines that are logged each second; all are counted and kept.
const COMPLAINTS_LOGGED: usize = 20;

/// The name under which the length of the refused lines is recorded; no topic can be called so.
fn refused_name(instance: Option<u32>) -> String {
    instance.map_or_else(|| "(refused)".to_owned(), |instance| format!("(refused-{instance})"))
}

/// Adds verdicts to the counters of the state: of the `taken` lines read, and of the later stages of a chain.
pub(super) fn count(out: &Out, taken: u64, tx: &mut Tx<'_>) -> Result<(), StageError> {
    count_verdicts("", &out.verdicts, taken, tx)?;
    for (name, later) in &out.later {
        state::count(tx, &format!("{name}/given"), "", later.given)?;
        count_verdicts(&format!("{name}/"), &later.verdicts, later.verdicts.lines(), tx)?;
    }
    Ok(())
}

fn count_verdicts(of: &str, verdicts: &Verdicts, taken: u64, tx: &mut Tx<'_>) -> Result<(), StageError> {
    state::count(tx, &format!("{of}in"), "", taken)?;
    state::count(tx, &format!("{of}done"), "", verdicts.done)?;
    for (what, counts) in [("ignored", &verdicts.ignored), ("refused", &verdicts.refused)] {
        for (reason, n) in counts {
            state::count(tx, &format!("{of}{what}"), reason, *n)?;
        }
    }
    Ok(())
}

/// Adds verdicts to the metrics; the reasons of the later stages of a chain are told by their names.
pub(super) fn measure(out: &Out, metrics: &Metrics) {
    for (family, counts) in [(&metrics.ignored, &out.verdicts.ignored), (&metrics.refused, &out.verdicts.refused)] {
        counts.iter().for_each(|(reason, n)| family.with_label_values(&[*reason]).inc_by(*n));
    }
    for (name, Later { verdicts, .. }) in &out.later {
        metrics.later_in(name).inc_by(verdicts.lines());
        for (family, counts) in [(&metrics.ignored, &verdicts.ignored), (&metrics.refused, &verdicts.refused)] {
            counts.iter().for_each(|(reason, n)| family.with_label_values(&[&format!("{name}: {reason}")]).inc_by(*n));
        }
    }
}

/// Where refused lines go.
pub(crate) struct Complaints {
    /// Between pipes they are only logged, all of them.
    kept: Option<Refused>,
    /// Of which of several instances.
    instance: Option<u32>,
    /// There was one.
    pub(super) any: bool,
    logged: (Instant, usize),
}

impl Complaints {
    /// Of a stage between pipes: they are only logged.
    pub(crate) fn logged() -> Self {
        Self { kept: None, instance: None, any: false, logged: (Instant::now(), 0) }
    }

    /// Of a stage with this state: they are kept in `refused/STAGE.ndjson`, cut to what the state has recorded.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        config: &Config,
        db: &Db,
        stage: &str,
        instance: Option<u32>,
    ) -> Result<Self, StageError> {
        let path = config.data.join("refused").join(format!("{}.ndjson", process_name(stage, instance)));
        let recorded = state::output(db, &refused_name(instance))?.map(|mark| mark.offset);
        let kept = Refused::open(fs, &path, recorded).map_err(|e| refused_error(&e))?;
        Ok(Self { kept: Some(kept), instance, ..Self::logged() })
    }

    /// Logs and keeps what a batch from this input refused.
    pub(super) fn tell(&mut self, input: &str, all: &[Complaint], tx: &mut Tx<'_>) -> Result<(), StageError> {
        if all.is_empty() {
            return Ok(());
        }
        self.any = true;
        if self.logged.0.elapsed() > Duration::from_secs(1) {
            self.logged = (Instant::now(), 0);
        }
        for c in all {
            if self.logged.1 < COMPLAINTS_LOGGED || self.kept.is_none() {
                let at = if input == "-" { "stdin" } else { input };
                let by = c.stage.map_or(String::new(), |stage| format!(", {stage}"));
                tracing::warn!("{at} line {}{by}: {}", c.number, c.text);
            }
            self.logged.1 += 1;
        }
        if let Some(kept) = &mut self.kept {
            kept.write(input, all).map_err(|e| refused_error(&e))?;
        }
        self.record(tx)
    }

    /// Keeps what an output will never take: it was given all the same, so no sum of the stage's changes.
    pub(crate) fn not_taken(
        &mut self,
        output: &str,
        lines: Vec<(Vec<u8>, String)>,
        tx: &mut Tx<'_>,
    ) -> Result<(), StageError> {
        if lines.is_empty() {
            return Ok(());
        }
        state::count(tx, "not taken", output, lines.len() as u64)?;
        let complaint = |(line, text)| Complaint { stage: None, number: 0, reason: "not_taken", text, line };
        let all: Vec<Complaint> = lines.into_iter().map(complaint).collect();
        self.tell(output, &all, tx)
    }

    /// Puts a file that is full aside.
    pub(crate) fn look_after(&mut self, db: &mut Db) -> Result<(), StageError> {
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.is_full()) else { return Ok(()) };
        kept.rotate().map_err(|e| refused_error(&e))?;
        let mut tx = db.begin()?;
        self.record(&mut tx)?;
        Ok(tx.commit()?)
    }

    /// Records the length of the file.
    pub(super) fn record(&self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        Ok(state::set_output(tx, &refused_name(self.instance), Mark { offset: kept.length(), line: 0 })?)
    }
}

fn refused_error(e: &io::Error) -> StageError {
    let text = format!("refused lines: {e}");
    match e.kind() {
        // A full disk passes: the supervisor starts the stage again, with growing pauses.
        io::ErrorKind::StorageFull => StageError::unreachable(text),
        _ => StageError::state(text),
    }
}
