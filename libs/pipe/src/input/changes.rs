//! Rows of `changes` in `registry.db`, which others write.

use registry::changes;
use registry::db::{DbError, Home, Version, Watched};

use crate::StageError;

/// Rows read at a time.
const ROWS_MAX: u64 = 1000;

/// A reader of the state, which may come later, and may be put back.
pub(crate) struct Changes {
    state: Watched,
    /// Which it was when there was nothing more in it.
    empty_at: Option<Version>,
}

impl Changes {
    pub(crate) fn new(home: Home) -> Self {
        Self { state: Watched::new(home), empty_at: None }
    }

    /// The number of the last change that there is now.
    pub(crate) fn last(&mut self) -> Result<u64, StageError> {
        let last = self.state.look().and_then(|now| now.map_or(Ok(0), |(db, _)| changes::last(db)));
        last.map_err(|e| self.fail(e))
    }

    /// Puts the lines after number `after` into `chunk`, none after number `end`; how many there are.
    pub(crate) fn read(&mut self, after: u64, end: u64, chunk: &mut Vec<u8>) -> Result<u64, StageError> {
        chunk.clear();
        self.rows(after, end, chunk).map_err(|e| self.fail(e))
    }

    fn rows(&mut self, after: u64, end: u64, chunk: &mut Vec<u8>) -> Result<u64, DbError> {
        let Some((db, version)) = self.state.look()? else { return Ok(0) };
        if self.empty_at == Some(version) {
            return Ok(0);
        }
        let rows = changes::since(db, after, ROWS_MAX)?;
        self.empty_at = rows.is_empty().then_some(version);
        let mut lines = 0;
        for (_, line) in rows.iter().take_while(|(n, _)| *n <= end) {
            chunk.extend_from_slice(line);
            chunk.push(b'\n');
            lines += 1;
        }
        Ok(lines)
    }

    fn fail(&self, e: DbError) -> StageError {
        StageError::of(self.state.home(), e)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::{Machine, Time};
    use registry::db::Db;
    use registry::tags;

    use super::*;
    use crate::input::{Input, Read};
    use crate::state::Position;

    #[test]
    fn each_change_is_read_once_wherever_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("registry.db");
        let add = |tag: &str| {
            let mut db = Db::open(&file, &[tags::SCHEMA, changes::SCHEMA]).unwrap();
            let mut tx = db.begin().unwrap();
            let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
            assert!(tags::add(&mut tx, "C02", tag, machine, Time::now()).unwrap());
            tx.commit().unwrap();
        };
        let read = |input: &mut Input| {
            registry::db::proof::rest();
            match input.read(1 << 20).unwrap() {
                Read::Lines { bytes, first, .. } => {
                    let tags = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|line| {
                        let payload: serde_json::Value =
                            serde_json::from_slice(event::json::get(line, "payload").unwrap()).unwrap();
                        payload.get("tag").unwrap().as_str().unwrap().to_owned()
                    });
                    format!("{first}: {}", tags.collect::<Vec<_>>().join(" "))
                }
                Read::End => "end".into(),
                _ => "nothing".into(),
            }
        };
        let open = |at: Option<Position>| Input::changes((&file).into(), "registry:changes".into(), at);
        let mut input = open(None);
        assert_eq!(read(&mut input), "nothing", "there is no file yet");
        add("a");
        add("b");
        assert_eq!(read(&mut input), "1: a b");
        assert_eq!((read(&mut input), read(&mut input)), ("nothing".into(), "nothing".into()));
        add("c");
        assert_eq!(read(&mut input), "3: c");
        assert_eq!((input.position.read, input.position.mark.line), (3, 3));
        let mut again = open(Some(Position { mark: crate::topic::Mark { offset: 2, line: 2 }, ..Position::default() }));
        again.stop_at_end().unwrap();
        add("d");
        assert_eq!((read(&mut again), read(&mut again)), ("3: c".into(), "end".into()));
        // Another file in its place: a backup that was put back.
        if registry::db::proof::is_on() {
            return;
        }
        std::fs::copy(&file, dir.path().join("copy")).unwrap();
        std::fs::rename(dir.path().join("copy"), &file).unwrap();
        assert_eq!(read(&mut input), "4: d");
    }
}
