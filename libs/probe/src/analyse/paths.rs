//! Paths of an event that filters look at, each with a number.

use std::collections::HashMap;

use event::json;

use super::{ERROR, Mask, NONE};

/// The number of a path; 0 is the whole.
pub(crate) type PathId = u32;

/// More parts of a path are not followed.
const DEPTH_MAX: u8 = 32;
/// Distinct paths of a set; a filter that wants more is not understood.
const PATHS_MAX: usize = 1 << 16;

/// A path as a filter names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathRef {
    /// What it starts from: 0 is the event, n the element of the n-th `.[]` around.
    pub(crate) base: u8,
    pub(crate) path: PathId,
    depth: u8,
    /// A bit for each part that has a `?`.
    optional: u32,
}

impl PathRef {
    pub(crate) const EVENT: Self = Self::of(0);

    /// Where paths of this base start.
    pub(crate) const fn of(base: u8) -> Self {
        Self { base, path: 0, depth: 0, optional: 0 }
    }

    /// What it does where the part at `depth` cannot be followed.
    pub(crate) fn failure(self, depth: u8) -> Mask {
        if self.optional >> depth.min(31) & 1 == 1 { NONE } else { ERROR }
    }

    /// What it may do instead of giving a value. The first part of an event's path is always a key of an object.
    pub(crate) fn may_fail(self) -> Mask {
        let first = u8::from(self.base == 0);
        (first..self.depth).fold(0, |mask, depth| mask | self.failure(depth))
    }

    /// With `?` after every part.
    pub(crate) fn tried(self) -> Self {
        Self { optional: u32::MAX, ..self }
    }
}

/// All paths of a set of filters.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    all: Vec<Part>,
    numbers: HashMap<(PathId, Box<str>), PathId>,
}

/// The last part of a path.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) parent: PathId,
    pub(crate) depth: u8,
    /// The key as it stands between quotes in canonical JSON.
    pub(crate) key: Box<[u8]>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { all: vec![Part { parent: 0, depth: 0, key: Box::default() }], numbers: HashMap::new() }
    }
}

impl Paths {
    /// `path.key`; none if there are too many.
    pub(crate) fn child(&mut self, path: PathRef, key: &str, optional: bool) -> Option<PathRef> {
        if path.depth >= DEPTH_MAX {
            return None;
        }
        let number = self.number(path.path, path.depth, key)?;
        let optional = path.optional & !(1 << path.depth) | u32::from(optional) << path.depth;
        Some(PathRef { base: path.base, path: number, depth: path.depth + 1, optional })
    }

    fn number(&mut self, parent: PathId, depth: u8, key: &str) -> Option<PathId> {
        if let Some(known) = self.numbers.get(&(parent, Box::from(key))) {
            return Some(*known);
        }
        if self.all.len() >= PATHS_MAX {
            return None;
        }
        let number = PathId::try_from(self.all.len()).ok()?;
        self.all.push(Part { parent, depth: depth + 1, key: between_quotes(key) });
        self.numbers.insert((parent, key.into()), number);
        Some(number)
    }

    /// The path of these keys from the event, `?` after each.
    pub(crate) fn of(&mut self, keys: &[&str]) -> PathRef {
        let start = PathRef::EVENT.tried();
        keys.iter().fold(start, |path, key| self.child(path, key, true).unwrap_or(path))
    }

    pub(crate) fn part(&self, path: PathId) -> Option<&Part> {
        self.all.get(path as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The keys of a path, from its start.
    pub(crate) fn keys(&self, path: PathId) -> Vec<&[u8]> {
        let mut keys = Vec::new();
        let mut at = path;
        while let Some(part) = self.part(at).filter(|_| at != 0) {
            keys.push(&*part.key);
            at = part.parent;
        }
        keys.reverse();
        keys
    }
}

/// A key as it stands between quotes in canonical JSON.
pub(crate) fn between_quotes(key: &str) -> Box<[u8]> {
    let mut quoted = Vec::with_capacity(key.len() + 2);
    json::write_str(key, &mut quoted);
    quoted.get(1..quoted.len() - 1).unwrap_or_default().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn equal_paths_have_one_number() {
        let mut paths = Paths::default();
        let payload = paths.child(PathRef::EVENT, "payload", false).unwrap();
        let name = paths.child(payload, "na\"me", true).unwrap();
        assert_eq!(paths.child(payload, "na\"me", false).unwrap().path, name.path);
        assert_eq!(paths.keys(name.path), [&b"payload"[..], b"na\\\"me"]);
        assert_eq!((payload.may_fail(), name.may_fail(), name.failure(1)), (0, NONE, NONE));
        assert_eq!(paths.child(payload, "x", false).unwrap().may_fail(), ERROR);
        assert_eq!(PathRef::of(1).tried().may_fail(), 0);
    }
}
