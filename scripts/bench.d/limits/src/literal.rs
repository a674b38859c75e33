//! L2: a block is searched for a literal that a chosen line must hold; only where it stands is a line looked at.

use std::io;

use memchr::memmem::Finder;

use crate::choice::chosen;
use crate::pump::{pump, put};

pub fn run() -> io::Result<()> {
    let needle = Finder::new("\"usb_devices\"");
    pump(|block, out| {
        let mut from = 0;
        while let Some(at) = needle.find(&block[from..]).map(|at| from + at) {
            let start = memchr::memrchr(b'\n', &block[from..at]).map_or(from, |newline| from + newline + 1);
            let end = memchr::memchr(b'\n', &block[at..]).map_or(block.len(), |newline| at + newline);
            let line = &block[start..end];
            if chosen(line) {
                put(out, line);
            }
            from = (end + 1).min(block.len());
        }
        Ok(())
    })
}
