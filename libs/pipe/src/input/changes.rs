//! Rows of `changes` in `registry.db`, which others write.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use registry::changes;
use registry::db::{Db, DbError};

use crate::StageError;

/// Rows read at a time.
const ROWS_MAX: u64 = 1000;

/// A reader of the file, which may come later, and may be put back.
pub(crate) struct Changes {
    file: PathBuf,
    open: Option<Open>,
}

struct Open {
    db: Db,
    inode: u64,
    /// Its version when there was nothing more in it.
    empty_at: Option<i64>,
}

impl Changes {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), open: None }
    }

    /// The number of the last change that there is now.
    pub(crate) fn last(&mut self) -> Result<u64, StageError> {
        let last = self.look().and_then(|open| open.map_or(Ok(0), |open| changes::last(&open.db)));
        last.map_err(|e| self.fail(&e))
    }

    /// Puts the lines after number `after` into `chunk`, none after number `end`; how many there are.
    pub(crate) fn read(&mut self, after: u64, end: u64, chunk: &mut Vec<u8>) -> Result<u64, StageError> {
        chunk.clear();
        self.rows(after, end, chunk).map_err(|e| self.fail(&e))
    }

    fn rows(&mut self, after: u64, end: u64, chunk: &mut Vec<u8>) -> Result<u64, DbError> {
        let Some(open) = self.look()? else { return Ok(0) };
        let version = open.db.version()?;
        if open.empty_at == Some(version) {
            return Ok(0);
        }
        let rows = changes::since(&open.db, after, ROWS_MAX)?;
        open.empty_at = rows.is_empty().then_some(version);
        let mut lines = 0;
        for (_, line) in rows.iter().take_while(|(n, _)| *n <= end) {
            chunk.extend_from_slice(line);
            chunk.push(b'\n');
            lines += 1;
        }
        Ok(lines)
    }

    fn look(&mut self) -> Result<Option<&mut Open>, DbError> {
        let inode = std::fs::metadata(&self.file).map(|file| file.ino()).ok();
        if self.open.as_ref().map(|open| open.inode) != inode {
            self.open = match inode {
                Some(inode) => Db::open_read_only(&self.file)?.map(|db| Open { db, inode, empty_at: None }),
                None => None,
            };
        }
        Ok(self.open.as_mut())
    }

    fn fail(&self, e: &DbError) -> StageError {
        StageError::state(format!("{}: {e}", self.file.display()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::{Machine, Time};
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
        let read = |input: &mut Input| match input.read(1 << 20).unwrap() {
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
        };
        let open = |at: Option<Position>| Input::changes(&file, "registry:changes".into(), at);
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
        std::fs::copy(&file, dir.path().join("copy")).unwrap();
        std::fs::rename(dir.path().join("copy"), &file).unwrap();
        assert_eq!(read(&mut input), "4: d");
    }
}
