//! The small files beside the segments: `head`, `first` and what `lock` says.

use std::io;
use std::path::Path;

use crate::fs::{Fs, Mode};

use super::{Error, Mark};

const HEAD: &str = "head";
const FIRST: &str = "first";
/// The file that the writer holds locked.
pub(super) const LOCK: &str = "lock";

/// Where the committed lines of a topic end and where the kept ones begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// After the last committed line.
    pub end: Mark,
    /// Before the first line kept.
    pub first: Mark,
    /// The start of the writer that said so; different at each start.
    pub writer: String,
}

impl Head {
    /// Reads a head; `None` if it is not one whole, sane line (a power cut leaves anything).
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let json = object(text)?;
        let end = mark(&json, "offset", "line")?;
        let first = mark(&json, "first_offset", "first_line")?;
        let writer = json.get("writer")?.as_str()?.to_owned();
        (first.offset <= end.offset && first.line <= end.line).then_some(Self { end, first, writer })
    }

    /// Renames a new head into place. Not fsynced: it may lag after a power cut, and recovery rewrites it.
    pub(super) fn publish(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let (end, first) = (self.end, self.first);
        let text = format!(
            "{{\"offset\":{},\"line\":{},\"first_offset\":{},\"first_line\":{},\"writer\":\"{}\"}}\n",
            end.offset, end.line, first.offset, first.line, self.writer
        );
        replace(fs, dir, HEAD, &text, false)
    }
}

/// Reads the bytes of `head` into `out`; false (and empty) if there is none.
pub(super) fn read(fs: &dyn Fs, dir: &Path, out: &mut Vec<u8>) -> Result<bool, Error> {
    read_file(fs, dir, HEAD, out)
}

/// The head of a topic; `None` if it is missing or unreadable.
pub(super) fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Head>, Error> {
    let mut text = Vec::new();
    read(fs, dir, &mut text)?;
    Ok(Head::parse(&text))
}

/// The first line kept as of the last deletion.
pub(super) fn load_first(fs: &dyn Fs, dir: &Path) -> Result<Option<Mark>, Error> {
    let mut text = Vec::new();
    read_file(fs, dir, FIRST, &mut text)?;
    Ok(object(&text).and_then(|json| mark(&json, "offset", "line")))
}

/// Records durably that the kept lines begin at `first`. Only then may what lies before be deleted.
pub(super) fn save_first(fs: &dyn Fs, dir: &Path, first: Mark) -> Result<(), Error> {
    let text = format!("{{\"offset\":{},\"line\":{}}}\n", first.offset, first.line);
    replace(fs, dir, FIRST, &text, true)
}

/// Says in `lock` that `writer` has recovered the topic since the machine started.
pub(super) fn save_recovered(fs: &dyn Fs, dir: &Path, writer: &str) -> Result<(), Error> {
    let path = dir.join(LOCK);
    let text = format!("{{\"writer\":\"{writer}\",\"boot\":\"{}\"}}\n", fs.boot_id());
    let write = || {
        let file = fs.open(&path, Mode::Write)?;
        file.write_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    };
    write().map_err(Error::io(&path, "write"))
}

/// Whether the writer that wrote `head` did so in this run of the machine: only then is `head` no leftover of before a
/// power cut, and the end it names the true one.
pub(super) fn recovered(fs: &dyn Fs, dir: &Path, head: &Head) -> Result<bool, Error> {
    let mut text = Vec::new();
    read_file(fs, dir, LOCK, &mut text)?;
    let said = |json: &serde_json::Value, key: &str| json.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    Ok(object(&text).is_some_and(|json| {
        said(&json, "writer").as_ref() == Some(&head.writer) && said(&json, "boot") == Some(fs.boot_id())
    }))
}

fn read_file(fs: &dyn Fs, dir: &Path, name: &str, out: &mut Vec<u8>) -> Result<bool, Error> {
    let path = dir.join(name);
    match fs.read_small(&path, out) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            out.clear();
            Ok(false)
        }
        Err(e) => Err(Error::io(&path, "read")(e)),
    }
}

fn replace(fs: &dyn Fs, dir: &Path, name: &str, text: &str, durable: bool) -> Result<(), Error> {
    let (tmp, path) = (dir.join(format!("{name}.tmp")), dir.join(name));
    let write = || {
        let file = fs.open(&tmp, Mode::Fresh)?;
        file.write_at(text.as_bytes(), 0)?;
        if durable {
            file.sync()?;
        }
        fs.rename(&tmp, &path)?;
        if durable { fs.sync_dir(dir) } else { Ok(()) }
    };
    write().map_err(Error::io(&path, "write"))
}

fn object(text: &[u8]) -> Option<serde_json::Value> {
    // Without its newline the line may be the start of a longer one.
    serde_json::from_slice(text.strip_suffix(b"\n")?).ok()
}

fn mark(json: &serde_json::Value, offset: &str, line: &str) -> Option<Mark> {
    Some(Mark { offset: json.get(offset)?.as_u64()?, line: json.get(line)?.as_u64()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sane_line_is_a_head() {
        let good = br#"{"offset":12,"line":3,"first_offset":4,"first_line":1,"writer":"a1","more":0}"#;
        let mut line = good.to_vec();
        line.push(b'\n');
        let end = Mark { offset: 12, line: 3 };
        let first = Mark { offset: 4, line: 1 };
        assert_eq!(Head::parse(&line), Some(Head { end, first, writer: "a1".into() }));
        for cut in 0..line.len() {
            assert_eq!(Head::parse(&line[..cut]), None, "cut at {cut}");
            let mut zeros = line[..cut].to_vec();
            zeros.resize(line.len(), 0);
            assert_eq!(Head::parse(&zeros), None, "zeros from {cut}");
        }
        for bad in ["[]\n", "12\n", "{\"offset\":1,\"line\":1,\"first_offset\":2,\"first_line\":0,\"writer\":\"\"}\n"] {
            assert_eq!(Head::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
