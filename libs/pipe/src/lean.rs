//! Memory that was needed only once is given back.
//!
//! Reading a command line, a configuration and a hundred filters touches most of a program's code; the loop that runs
//! for months afterwards touches little of it.
#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "madvise has no safe form; the proof stands at the call")
)]

use std::time::{Duration, Instant};

/// The first lines touch code for once as well, filters are compiled, keys are learned; and then ever more rarely.
const WARM: Duration = Duration::from_millis(250);

/// When to let go: as the loop begins, after [`WARM`], and each time when twice as much time has passed.
#[derive(Debug, Default)]
pub(crate) struct Lean {
    last: Option<Instant>,
    pause: Duration,
}

impl Lean {
    /// To be asked again and again.
    pub(crate) fn look(&mut self) {
        if self.last.is_none_or(|last| last.elapsed() >= self.pause) {
            self.pause = self.pause.saturating_mul(2).max(WARM);
            self.last = Some(Instant::now());
            #[cfg(target_os = "linux")]
            forget_the_start();
        }
    }
}

/// Lets go of the pages of code and constants that are in memory; those that are needed come back from the page cache at a
/// touch. Where that cannot be done nothing changes.
#[cfg(target_os = "linux")]
fn forget_the_start() {
    use rustix::mm::{Advice, madvise};
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for (start, length) in untouched(&maps) {
        // SAFETY: the range is a mapping of this process that the kernel lists as private, of a file, not writable, and
        // without a page of its own: none was ever written to, by the loader neither, and none can be, as the workspace has
        // no program that changes protections. So every page has the bytes of the file. MADV_DONTNEED drops such pages,
        // and the next touch, be it from here or another thread, reads the same bytes again.
        let _ = unsafe { madvise(start as *mut std::ffi::c_void, length, Advice::LinuxDontNeed) };
    }
}

/// Start and length of the mappings in `smaps` that are a file's and as it is: a head line each, then lines `Key: value`.
#[cfg(any(target_os = "linux", test))]
fn untouched(maps: &str) -> Vec<(usize, usize)> {
    let (mut found, mut last) = (Vec::new(), None);
    for line in maps.lines() {
        match line.strip_prefix("Anonymous:") {
            None => last = mapping(line).or(last),
            Some(own) if own.trim() == "0 kB" => found.extend(last.take().flatten()),
            Some(_) => last = None,
        }
    }
    found
}

/// Of the head line of a mapping: its start and length, if it is of a file and cannot be written to.
#[cfg(any(target_os = "linux", test))]
fn mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let of_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
    let fixed = matches!(rights, "r-xp" | "r--p") && of_file;
    Some(if fixed { end.checked_sub(start).map(|length| (start, length)) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_as_they_are_are_let_go() {
        let maps = "\
55d0c0000000-55d0c0002000 r--p 00000000 fe:00 1234   /usr/bin/zentral
Size:                  8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0c0002000-55d0c0003000 r-xp 00002000 fe:00 1234   /usr/bin/zentral
Anonymous:             0 kB
55d0c0003000-55d0c0004000 r--p 00003000 fe:00 1234   /usr/bin/zentral
Anonymous:             4 kB
55d0c0004000-55d0c0005000 rw-p 00004000 fe:00 1234   /usr/bin/zentral
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000001000-7f0000002000 r--s 00000000 fe:00 99     /var/lib/shared
Anonymous:             0 kB
7fff00001000-7fff00003000 r-xp 00000000 00:00 0      [vdso]
Anonymous:             0 kB
no line of it";
        assert_eq!(untouched(maps), [(0x55d0_c000_0000, 0x2000), (0x55d0_c000_2000, 0x1000)]);
        // And the program goes on.
        let mut lean = Lean::default();
        lean.look();
        let first = lean.last;
        lean.look();
        assert!(first.is_some() && lean.last == first && lean.pause == WARM);
        lean.last = Instant::now().checked_sub(WARM);
        lean.look();
        assert!(lean.last > first && lean.pause == 2 * WARM);
    }
}
