//! L1: where each line ends, and nothing else.

use std::io;

use crate::pump::{lines, pump};

pub fn run() -> io::Result<()> {
    let (mut count, mut longest) = (0_u64, 0);
    pump(|block, _| {
        for line in lines(block) {
            count += 1;
            longest = longest.max(line.len());
        }
        Ok(())
    })?;
    eprintln!("{count} lines, the longest has {longest} bytes");
    Ok(())
}
