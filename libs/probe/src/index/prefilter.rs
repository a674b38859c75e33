//! Few filters: a line in which none of the texts stands that their keys need is not even scanned.

use memchr::memmem::Finder;

use super::keys::{Clause, Key, KeyTest};
use crate::analyse::Paths;

/// For more filters one scan is cheaper than many searches.
const FILTERS_MAX: usize = 4;
const TEXTS_MAX: usize = 6;
/// Shorter texts are in almost every line.
const TEXT_MIN: usize = 4;

/// Texts of which one is in every line that any filter matches.
#[derive(Debug)]
pub(super) struct Prefilter(Vec<Finder<'static>>);

impl Prefilter {
    /// `None` where a filter needs no such text.
    pub(super) fn new(filed: &[&[Clause]], chosen: &[Option<usize>], paths: &Paths) -> Option<Self> {
        if filed.is_empty() || filed.len() > FILTERS_MAX {
            return None;
        }
        let mut texts = Vec::new();
        for (clauses, chosen) in filed.iter().zip(chosen) {
            for key in clauses.get((*chosen)?)? {
                let text = text(key, paths).filter(|text| text.len() >= TEXT_MIN)?;
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        (texts.len() <= TEXTS_MAX).then(|| Self(texts.iter().map(|text| Finder::new(text).into_owned()).collect()))
    }

    #[inline]
    pub(super) fn finds(&self, line: &[u8]) -> bool {
        self.0.iter().any(|finder| finder.find(line).is_some())
    }
}

/// How the key stands in a canonical line.
fn text(key: &Key, paths: &Paths) -> Option<Vec<u8>> {
    match &key.test {
        KeyTest::Exact(value) => {
            let name = match key.place.over {
                Some(_) if key.place.path == 0 => return Some(value.to_vec()),
                _ => &paths.part(key.place.path)?.key,
            };
            Some([b"\"", &**name, b"\":", &**value].concat())
        }
        KeyTest::Part(part) if part.iter().all(|b| *b >= 0x20 && !matches!(b, b'"' | b'\\')) => Some(part.to_vec()),
        _ => None,
    }
}
