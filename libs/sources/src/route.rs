//! Which source answers a path.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Source;

/// A path that a source answers.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The URL path. A part of it that is `*` stands for any one part: see [`Request::parts`].
    pub path: &'static str,
    /// What its requests are called in metrics and in lines about them: nothing of what a client sends, which may be a
    /// secret.
    pub kind: &'static str,
    /// Bytes that a body may have, inflated; `None`: as many as the hub takes (a log is split while it streams).
    pub body_max: Option<usize>,
    /// Its answer waits for the disk: it is worked on beside the other requests.
    pub waits: bool,
    /// It is a path of the hub of 2017: answered only where the configuration says so. See [`crate::legacy`].
    pub legacy: bool,
}

impl Route {
    /// One that is answered at once.
    pub const fn new(path: &'static str, kind: &'static str, body_max: Option<usize>) -> Self {
        Self { path, kind, body_max, waits: false, legacy: false }
    }

    /// The same, of the hub of 2017.
    pub const fn legacy(self) -> Self {
        Self { legacy: true, ..self }
    }

    /// The same, waiting for the disk.
    pub const fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    /// What stands in the places of `*` in a path that this route is for.
    pub fn parts<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let (mut own, mut theirs, mut parts) = (self.path.split('/'), path.split('/'), Vec::new());
        loop {
            match (own.next(), theirs.next()) {
                (None, None) => return Some(parts),
                (Some("*"), Some(part)) if !part.is_empty() => parts.push(part),
                (Some(own), Some(part)) if own == part && own != "*" => {}
                _ => return None,
            }
        }
    }
}

/// The headers of a request.
pub trait Headers {
    /// The value of the first one of this name (in lower case), if it is text.
    fn get(&self, name: &str) -> Option<&str>;
}

/// For whoever has none, and for tests.
impl Headers for &[(&str, &str)] {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

/// Who answers a path.
type Answers = (&'static dyn Source, &'static Route);

/// Those whose path is told as it stands, and the others.
static ALL: LazyLock<(HashMap<&'static str, Answers>, Vec<Answers>)> = LazyLock::new(|| {
    let all = crate::ALL.iter().flat_map(|source| source.routes().iter().map(move |route| (*source, route)));
    let (open, fixed): (Vec<Answers>, Vec<Answers>) = all.partition(|(_, route)| route.path.contains('*'));
    (fixed.into_iter().map(|answers| (answers.1.path, answers)).collect(), open)
});

/// Who answers this URL path, by which route.
pub fn route(path: &str) -> Option<(&'static dyn Source, &'static Route)> {
    let (fixed, open) = &*ALL;
    let answers = fixed.get(path).or_else(|| open.iter().find(|(_, route)| route.parts(path).is_some()));
    answers.copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_for_paths_of_its_shape() {
        let route = Route::new("/sync/*/preflight/*", "preflight", None);
        assert_eq!(route.parts("/sync/s3cret/preflight/ID"), Some(vec!["s3cret", "ID"]));
        for other in [
            "/sync/s/preflight",
            "/sync/s/preflight/",
            "/sync//preflight/ID",
            "/sync/s/postflight/ID",
            "/sync/s/preflight/ID/",
            "sync/s/preflight/ID",
        ] {
            assert_eq!(route.parts(other), None, "{other}");
        }
        assert_eq!(Route::new("/*/", "x", None).parts("/*/"), Some(vec!["*"]));
        assert_eq!(Route::new("/a/", "x", None).parts("/a/"), Some(vec![]));
    }

    #[test]
    fn every_route_is_found_under_its_own_path() {
        for (source, own) in crate::ALL.iter().flat_map(|s| s.routes().iter().map(move |route| (s, route))) {
            let path = own.path.replace('*', "x-1");
            let (by, found) = route(&path).unwrap();
            assert_eq!((by.name(), found.path), (source.name(), own.path), "{path}");
            assert!(!own.kind.is_empty() && own.kind.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{path}");
        }
        assert!(route("/public/osquery/").is_none() && route("").is_none());
    }
}
