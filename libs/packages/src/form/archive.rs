//! Pieces of several forms: gzip that names no time, and cpio.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

use crate::Error;

/// Gzip without a time, and without the name of a system that would differ.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packed = GzBuilder::new().mtime(0).operating_system(UNIX).write(Vec::new(), Compression::best());
    packed.write_all(bytes).and_then(|()| packed.finish()).map_err(writer)
}

/// RFC 1952 § 2.3.1.
const UNIX: u8 = 3;

/// An error of a writer.
pub fn writer(error: impl std::fmt::Display) -> Error {
    Error::Writer(error.to_string())
}

/// An archive of cpio's portable form ("odc", POSIX.1-1988: octal numbers, 76 bytes a head), as macOS reads it. Root's,
/// group 0.
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    time: u32,
}

impl Cpio {
    /// Whose files have this time, in seconds since 1970.
    pub fn new(time: u32) -> Self {
        Self { bytes: Vec::new(), entries: 0, time }
    }

    /// A file, or a folder if there are no bytes; `mode` with the kind's bits.
    pub fn add(&mut self, path: &str, mode: u16, bytes: Option<&[u8]>) {
        let links = if bytes.is_none() { 2 } else { 1 };
        self.entry(path, mode, links, self.time, bytes.unwrap_or_default());
    }

    fn entry(&mut self, path: &str, mode: u16, links: u32, time: u32, bytes: &[u8]) {
        self.entries += 1;
        let (inode, name, size) = (self.entries, path.len() + 1, bytes.len());
        let head = format!("070707{0:06o}{inode:06o}{mode:06o}{0:06o}{0:06o}{links:06o}{0:06o}{time:011o}", 0);
        self.bytes.extend(format!("{head}{name:06o}{size:011o}{path}\0").bytes());
        self.bytes.extend(bytes);
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 1, 0, &[]);
        self.bytes
    }
}
