//! An event with its matches, as a line that is no longer than a line may be.

use event::json::JsonError;
use probe::{FilterSet, Found};

/// The most probes that are written on one event; beyond it `probes_more` says how many there were.
const PROBES_MAX: usize = 100;
/// What is tried in turn until the annotated event is no longer than a line: how many probes, and whether with contexts.
const WAYS: [(usize, bool); 5] = [(PROBES_MAX, true), (PROBES_MAX, false), (10, false), (1, false), (0, false)];

/// Writes one event after the other into the same memory.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    line: Vec<u8>,
    probes: Vec<u8>,
}

impl Writer {
    /// The annotated event that was written last, without a newline.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Writes an event (`line`) with its matches; how many of them it carries.
    ///
    /// # Errors
    /// The line is no JSON object.
    pub(crate) fn annotate(&mut self, set: &FilterSet, line: &[u8], found: &[Found]) -> Result<usize, JsonError> {
        for (most, contexts) in WAYS {
            self.write(set, line, found, most, contexts)?;
            if self.line.len() <= event::LINE_MAX || found.is_empty() {
                return Ok(most.min(found.len()));
            }
        }
        Ok(0)
    }

    fn write(
        &mut self,
        set: &FilterSet,
        line: &[u8],
        found: &[Found],
        most: usize,
        contexts: bool,
    ) -> Result<(), JsonError> {
        self.probes.clear();
        for (i, found) in found.iter().take(most).enumerate() {
            self.probes.push(if i == 0 { b'[' } else { b',' });
            if let Some(mut probe) = set.annotation(found) {
                if !contexts {
                    probe.context = None;
                }
                probe.write(&mut self.probes);
            }
        }
        if !self.probes.is_empty() {
            self.probes.push(b']');
            if found.len() > most {
                self.probes.extend_from_slice(format!(",\"probes_more\":{}", found.len() - most).as_bytes());
            }
        }
        self.line.clear();
        event::write_annotated(line, &self.probes, &mut self.line)
    }
}
