//! Whether a line can have any candidate at all, by a search for the few keys that filters are filed under: wherever such
//! a key stands, on its path or elsewhere, its value is looked up. That is much less than a scan.

use memchr::memmem::Finder;

use super::column::Column;
use super::text::value_end;
use crate::analyse::{PathId, PathRef, Paths};

/// For more keys one scan is cheaper than so many searches.
const KEYS_MAX: usize = 6;
/// A key that stands in a line more often leaves it to the scan.
const TIMES_MAX: usize = 16;

/// The keys that filters are filed under.
#[derive(Debug)]
pub(super) struct Glance(Vec<(Finder<'static>, Vec<PathId>)>);

impl Glance {
    /// `None` where there are too many, or the event itself is one.
    pub(super) fn new(filed: &[PathId], paths: &Paths) -> Option<Self> {
        if filed.contains(&PathRef::EVENT.path) {
            return None;
        }
        let mut keys: Vec<(Vec<u8>, Vec<PathId>)> = Vec::new();
        for path in filed {
            let text = [b"\"", &*paths.part(*path)?.key, b"\":"].concat();
            match keys.iter_mut().find(|(key, _)| *key == text) {
                Some((_, own)) => own.push(*path),
                None => keys.push((text, vec![*path])),
            }
        }
        let finder = |text: Vec<u8>| Finder::new(&text).into_owned();
        (keys.len() <= KEYS_MAX).then(|| Self(keys.into_iter().map(|(text, own)| (finder(text), own)).collect()))
    }

    /// Whether no filter is filed under anything that this canonical line may have.
    pub(super) fn finds_nothing(&self, columns: &[Option<Box<Column>>], line: &[u8]) -> bool {
        self.0.iter().all(|(finder, own)| {
            let own = || own.iter().filter_map(|path| columns.get(*path as usize)?.as_deref());
            let mut at = 0;
            for _ in 0..TIMES_MAX {
                let rest = line.get(at..).unwrap_or_default();
                let Some(start) = finder.find(rest) else { return true };
                let start = start + finder.needle().len();
                let end = value_end(rest, start);
                let mut any = false;
                own().for_each(|column| column.look(rest.get(start..end).unwrap_or_default(), &mut |_| any = true));
                if any {
                    return false;
                }
                at += start;
            }
            false
        })
    }
}
