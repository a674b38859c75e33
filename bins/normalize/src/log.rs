//! An agent's own log as the input: `zentral normalize osquery < osqueryd.results.log`.

use event::{Machine, Time};
use pipe::{Line, Out, Stage, StageError};
use registry::db::Tx;
use sources::Source;

use crate::given::complete;
use crate::stage::put;

/// Translates the lines of one source's log. Nothing is remembered, so two runs give the same bytes.
pub(crate) struct Log {
    source: &'static dyn Source,
    given: Option<Machine>,
}

impl Log {
    /// `given`: what its machines are known to be beside what the lines say.
    pub(crate) fn new(source: &'static dyn Source, given: Option<Machine>) -> Self {
        Self { source, given }
    }
}

impl Stage for Log {
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let now = Time::now();
        let mut buffer = Vec::new();
        for line in lines {
            if line.bytes.trim_ascii().is_empty() {
                out.ignored("blank");
                continue;
            }
            match self.source.read_log(line.bytes, now) {
                Ok(mut events) => {
                    if let Some(given) = &self.given {
                        events.iter_mut().for_each(|event| complete(event, given));
                    }
                    put(&events, "empty", line, out, &mut buffer, tx)?;
                }
                Err(e) => out.refused(line, e.reason, e.text),
            }
        }
        Ok(())
    }
}
