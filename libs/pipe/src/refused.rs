//! `refused/STAGE.ndjson`: lines that could not be understood, with the reason, to be fed again.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::stage::Complaint;

/// Bytes at which the file is put aside as `STAGE.ndjson.1`, in place of an older one.
const FILE_MAX: u64 = 256 << 20;

/// The file, cut at start to the length that the state recorded, so that a repeat after a crash leaves no double.
pub(crate) struct Refused {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Refused {
    pub(crate) fn open(path: &Path, recorded: u64) -> io::Result<Self> {
        let mut length = 0;
        if let Ok(file) = OpenOptions::new().write(true).open(path) {
            length = file.metadata()?.len().min(recorded);
            file.set_len(length)?;
        }
        Ok(Self { path: path.to_owned(), file: None, length })
    }

    /// Adds lines; durable when this returns. The new length is to be recorded.
    pub(crate) fn write(&mut self, input: &str, complaints: &[Complaint]) -> io::Result<u64> {
        if complaints.is_empty() {
            return Ok(self.length);
        }
        if self.length > FILE_MAX {
            std::fs::rename(&self.path, self.path.with_extension("ndjson.1"))?;
            self.file = None;
            self.length = 0;
        }
        let mut text = Vec::new();
        for c in complaints {
            let mut entry = json!({"reason": c.reason, "text": c.text, "input": input, "number": c.number});
            if let Some(entry) = entry.as_object_mut() {
                match std::str::from_utf8(&c.line) {
                    Ok(line) => entry.insert("line".into(), line.into()),
                    Err(_) => entry.insert("base64".into(), STANDARD.encode(&c.line).into()),
                };
            }
            text.extend_from_slice(entry.to_string().as_bytes());
            text.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(dir) = self.path.parent() {
                    std::fs::create_dir_all(dir)?;
                }
                none.insert(OpenOptions::new().create(true).write(true).truncate(false).open(&self.path)?)
            }
        };
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(&text)?;
        file.sync_data()?;
        self.length += text.len() as u64;
        Ok(self.length)
    }
}

/// The original line of an entry of the file.
pub fn original(entry: &[u8]) -> Option<Vec<u8>> {
    let entry: serde_json::Value = serde_json::from_slice(entry).ok()?;
    match (entry.get("line").and_then(|l| l.as_str()), entry.get("base64").and_then(|b| b.as_str())) {
        (Some(line), _) => Some(line.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD.decode(text).ok(),
        (None, None) => None,
    }
}
