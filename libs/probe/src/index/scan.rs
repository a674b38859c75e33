//! One pass over a canonical line for the paths that filters look at.

use rustc_hash::FxHashMap;

use super::text::{string_end, value_end};
use crate::analyse::{PathId, Paths};

/// The paths to look for, as a tree of keys.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Branch>,
}

#[derive(Debug, Default)]
struct Branch {
    path: PathId,
    children: Vec<(Box<[u8]>, u32)>,
    /// Where there are many children.
    hashed: FxHashMap<Box<[u8]>, u32>,
    /// This path itself is asked for.
    wanted: bool,
}

/// Up to so many keys are compared one after the other.
const LISTED: usize = 6;

impl Trie {
    /// Of these paths.
    pub(super) fn new(paths: &Paths, wanted: impl Iterator<Item = PathId>) -> Self {
        let mut trie = Self { nodes: vec![Branch::default()] };
        let mut places: FxHashMap<PathId, u32> = FxHashMap::default();
        places.insert(0, 0);
        for path in wanted {
            let place = trie.add(paths, path, &mut places);
            if let Some(branch) = trie.nodes.get_mut(place as usize) {
                branch.wanted = true;
            }
        }
        for branch in &mut trie.nodes {
            if branch.children.len() > LISTED {
                branch.hashed = branch.children.iter().cloned().collect();
            }
        }
        trie
    }

    fn add(&mut self, paths: &Paths, path: PathId, places: &mut FxHashMap<PathId, u32>) -> u32 {
        if let Some(place) = places.get(&path) {
            return *place;
        }
        let Some(part) = paths.part(path) else { return 0 };
        let parent = self.add(paths, part.parent, places);
        let place = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Branch { path, ..Branch::default() });
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children.push((part.key.clone(), place));
        }
        places.insert(path, place);
        place
    }
}

impl Branch {
    #[inline]
    fn child(&self, key: &[u8]) -> Option<u32> {
        if self.hashed.is_empty() {
            self.children.iter().find(|(k, _)| **k == *key).map(|(_, place)| *place)
        } else {
            self.hashed.get(key).copied()
        }
    }
}

/// Where the values of the paths stand in a line. A path that is not there has no place; one that goes on below
/// something that is no object is broken.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: Vec<Place>,
    /// Places of other lines count as none.
    line: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    line: u32,
    start: u32,
    end: u32,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At<'t> {
    /// Nothing, or below null.
    Nothing,
    /// Below something else than an object: the part of the path at this depth cannot be followed.
    Broken(u8),
    Value(&'t [u8]),
}

/// Of a broken path; no line is that long.
const BROKEN: u32 = u32::MAX;

impl Places {
    /// Looks for all paths of `trie` in `line`.
    pub(super) fn scan(&mut self, trie: &Trie, paths: &Paths, line: &[u8]) {
        if self.all.len() < paths.len() {
            self.all.resize(paths.len(), Place::default());
        }
        self.line = match self.line.checked_add(1) {
            Some(next) => next,
            None => {
                self.all.fill(Place::default());
                1
            }
        };
        if let Some(root) = trie.nodes.first() {
            if root.wanted {
                self.put(0, 0, line.len());
            }
            self.object(trie, root, line, 0, true);
        }
    }

    #[inline]
    fn put(&mut self, path: PathId, start: usize, end: usize) {
        if let Some(place) = self.all.get_mut(path as usize) {
            let cut = |n: usize| u32::try_from(n).unwrap_or(BROKEN);
            *place = Place { line: self.line, start: cut(start), end: cut(end) };
        }
    }

    /// The object that starts at `at`; the place behind it. Of the outermost one the rest is passed over once all its
    /// keys have been seen.
    fn object(&mut self, trie: &Trie, branch: &Branch, line: &[u8], at: usize, outermost: bool) -> usize {
        let mut left = branch.children.len();
        let mut at = at + 1;
        while line.get(at) == Some(&b'"') {
            let key_end = string_end(line, at);
            let key = line.get(at + 1..key_end.saturating_sub(1)).unwrap_or_default();
            let start = key_end + 1;
            let child = if left > 0 { branch.child(key).and_then(|c| trie.nodes.get(c as usize)) } else { None };
            let end = match child {
                None => value_end(line, start),
                Some(child) => {
                    left -= 1;
                    let end = match line.get(start) {
                        Some(b'{') if !child.children.is_empty() => self.object(trie, child, line, start, false),
                        first => {
                            if !child.children.is_empty() && first != Some(&b'n') {
                                self.break_off(trie, child, 0);
                            }
                            value_end(line, start)
                        }
                    };
                    if child.wanted {
                        self.put(child.path, start, end);
                    }
                    if left == 0 && outermost {
                        return line.len();
                    }
                    end
                }
            };
            at = end + 1;
            if line.get(end) != Some(&b',') {
                return at;
            }
        }
        at + 1
    }

    /// Nothing below this branch can be followed; `depth` is of the part that fails, from the branch.
    fn break_off(&mut self, trie: &Trie, branch: &Branch, depth: usize) {
        for (_, child) in &branch.children {
            let Some(child) = trie.nodes.get(*child as usize) else { continue };
            self.put(child.path, BROKEN as usize, depth);
            self.break_off(trie, child, depth + 1);
        }
    }

    /// What is at a path of the line that was scanned.
    #[inline]
    pub(super) fn at<'t>(&self, path: PathId, paths: &Paths, line: &'t [u8]) -> At<'t> {
        match self.all.get(path as usize) {
            Some(place) if place.line == self.line => {
                if place.start == BROKEN {
                    // Recorded is how far above the end the failing part is.
                    let depth = paths.part(path).map_or(0, |p| p.depth);
                    return At::Broken((depth - 1).saturating_sub(u8::try_from(place.end).unwrap_or(0)));
                }
                line.get(place.start as usize..place.end as usize).map_or(At::Nothing, At::Value)
            }
            _ => At::Nothing,
        }
    }
}

/// What is at a path below a value, looked for there and then.
pub(super) fn lookup<'t>(value: &'t [u8], keys: &[impl AsRef<[u8]>]) -> At<'t> {
    let mut value = value;
    for (depth, key) in keys.iter().enumerate() {
        match value.first() {
            Some(b'{') => match super::text::Members::new(value).find(|(k, _)| *k == key.as_ref()) {
                Some((_, found)) => value = found,
                None => return At::Nothing,
            },
            Some(b'n') => return At::Nothing,
            _ => return At::Broken(u8::try_from(depth).unwrap_or(u8::MAX)),
        }
    }
    At::Value(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::analyse::PathRef;

    #[test]
    fn every_path_is_found_and_broken_ones_are_known() {
        let mut paths = Paths::default();
        let texts = ["type", "payload.name", "payload.columns.path", "payload.columns.path.x.y", "machine", "last.a.b"];
        let all: Vec<PathRef> = texts.iter().map(|t| paths.of(&t.split('.').collect::<Vec<_>>())).collect();
        let trie = Trie::new(&paths, all.iter().map(|p| p.path));
        let mut places = Places::default();
        let mut look = |line: &str| {
            places.scan(&trie, &paths, line.as_bytes());
            all.iter()
                .map(|p| match places.at(p.path, &paths, line.as_bytes()) {
                    At::Nothing => "-".to_owned(),
                    At::Broken(depth) => format!("!{depth}"),
                    At::Value(v) => String::from_utf8_lossy(v).into_owned(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        let line = r#"{"x":{"type":"no"},"type":"t","machine":{"a":[1,{}]},"payload":{"columns":{"q":"\"}","path":"/p"},"name":"n"}}"#;
        assert_eq!(look(line), r#""t" "n" "/p" !3 {"a":[1,{}]} -"#);
        assert_eq!(look("{}"), "- - - - - -");
        assert_eq!(look(r#"{"payload":"s","last":{"a":3}}"#), "- !1 !1 !1 - !2");
        assert_eq!(look(r#"{"payload":null,"last":[],"type":"z"}"#), r#""z" - - - - !1"#);
        assert_eq!(look(r#"{"payload":{"columns":{"path":{"x":1}}}}"#), r#"- - {"x":1} !4 - -"#);
        for garbage in ["", "{", "{\"payload", "{\"payload\":{", "{\"payload\":{\"name\":", "[", "x"] {
            look(garbage);
        }
    }
}
