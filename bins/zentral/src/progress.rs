//! How far a long reading is, on stderr, for people: bytes read of bytes to read, the rate, the time that is left.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::status::table::size;

/// How often the line is drawn anew.
const EVERY: Duration = Duration::from_millis(200);
/// Nothing is drawn for what is done at once.
const PATIENCE: Duration = Duration::from_millis(500);
/// Characters of the bar.
const WIDTH: u64 = 24;
/// Back to the start of the line, which is cleared.
const CLEAR: &str = "\r\u{1b}[K";

/// The line; it goes when this is dropped.
pub struct Progress {
    total: Option<u64>,
    done: u64,
    begun: Instant,
    /// When it was last drawn; none: not yet. Without a terminal there is nobody to draw for.
    drawn: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// For `total` bytes, if that is known. `wanted` is false where the data itself goes to the same terminal.
    pub fn new(total: Option<u64>, wanted: bool) -> Self {
        let terminal = wanted && std::io::stderr().is_terminal();
        Self { total, done: 0, begun: Instant::now(), drawn: None, terminal }
    }

    /// So many bytes are read by now.
    pub fn at(&mut self, done: u64) {
        self.done = done;
        let (now, since) = (Instant::now(), self.drawn.map_or(self.begun + PATIENCE, |drawn| drawn + EVERY));
        if self.terminal && now >= since {
            self.drawn = Some(now);
            let line = line(self.done, self.total, self.begun.elapsed());
            let _ = write!(std::io::stderr().lock(), "{CLEAR}{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr().lock(), "{CLEAR}");
        }
    }
}

fn line(done: u64, total: Option<u64>, took: Duration) -> String {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / ms;
    let Some(total) = total.filter(|total| *total > 0) else { return format!("{}  {}/s", size(done), size(rate)) };
    let done = done.min(total);
    let of = |whole: u64| u64::try_from(u128::from(done) * u128::from(whole) / u128::from(total)).unwrap_or(whole);
    let (full, percent) = (of(WIDTH), of(100));
    let bar: String = (0..WIDTH).map(|i| if i < full { '#' } else { '.' }).collect();
    let left = (total - done).checked_div(rate).map_or("-:--".to_owned(), |s| format!("{}:{:02}", s / 60, s % 60));
    format!("[{bar}] {percent:>3} %  {} of {}  {}/s  {left} left", size(done), size(total), size(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let second = Duration::from_secs(1);
        assert_eq!(line(3 << 20, None, second), "3.0 MiB  3.0 MiB/s");
        let want = "[######..................]  25 %  32 MiB of 128 MiB  32 MiB/s  0:03 left";
        assert_eq!(line(32 << 20, Some(128 << 20), second), want);
        let want = "[########################] 100 %  1.0 KiB of 1.0 KiB  2.0 KiB/s  0:00 left";
        assert_eq!(line(2048, Some(1024), second), want, "a topic may lose lines meanwhile, never gain");
        assert_eq!(line(0, Some(u64::MAX), second).split("  ").last(), Some("-:-- left"));
    }
}
