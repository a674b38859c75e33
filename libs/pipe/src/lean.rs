//! Memory that only the start needed is given back.
//!
//! Reading a command line, a configuration and a hundred filters touches most of a program's code; the loop that runs
//! for months afterwards touches little of it.
#![expect(unsafe_code, reason = "madvise has no safe form; the proof stands at the call")]

use rustix::mm::{Advice, madvise};

/// Lets go of the pages of code that are in memory; those that are needed come back from the page cache at a touch.
/// Where that cannot be done nothing changes.
pub(crate) fn forget_the_start() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the range is a mapping of this process that the kernel lists as private, readable, executable, not
        // writable, and of a file. Nobody can have written to it since it was mapped: the code we are linked to is
        // position independent, so the loader relocates data only, and the workspace has no program that changes
        // protections. MADV_DONTNEED drops such pages, and the next touch, be it from here or another thread, reads the
        // same bytes from the file.
        let _ = unsafe { madvise(start as *mut std::ffi::c_void, length, Advice::LinuxDontNeed) };
    }
}

/// Start and length of a line of `maps`, if it is code of a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if rights != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go() {
        let line = "7f0000001000-7f0000003000 r-xp 00001000 fe:00 1234   /usr/bin/zentral";
        assert_eq!(code(line), Some((0x7f00_0000_1000, 0x2000)));
        for line in [
            "7f0000001000-7f0000003000 r--p 00001000 fe:00 1234   /usr/bin/zentral",
            "7f0000001000-7f0000003000 rw-p 00001000 fe:00 1234   /usr/bin/zentral",
            "7fff00001000-7fff00003000 r-xp 00000000 00:00 0      [vdso]",
            "7fff00001000-7fff00003000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code(line), None, "{line}");
        }
        // And the program goes on.
        forget_the_start();
    }
}
