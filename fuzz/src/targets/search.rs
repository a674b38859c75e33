//! The search language: any text is a query or an error with a place; a query's own text reads as the same query; and
//! an index answers it, page and count alike.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use event::Time;
use store::index::Index;
use store::query::{self, Query};
use store::search::{Finder as _, Scope, Search, SearchError};
use tempfile::TempDir;

/// More than any search of five events needs; one that takes longer is a finding (it runs into libFuzzer's timeout).
const DEADLINE: Duration = Duration::from_secs(20);

/// Queries with more wildcards are read but not run: each is an automaton, which takes a sanitizer 50 ms to build.
const WILDCARDS_MAX: usize = 3;

/// `data` is a query; bytes that are no UTF-8 never reach the parser, so they are replaced.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let query = match query::parse(&text) {
        Ok(query) => query,
        Err(error) => {
            assert!(error.column() >= 1 && !error.what().is_empty());
            assert_eq!(error.caret().lines().count(), 2, "{text:?}: {}", error.caret());
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = query.to_string();
    // Escapes may make it longer than a query may be.
    if written.len() <= query::QUERY_MAX {
        match query::parse(&written) {
            Ok(again) => assert_eq!(again, query, "{text:?} is written as {written:?}"),
            Err(e) => panic!("{text:?} is written as {written:?}: {e}"),
        }
    }
    if wildcards(&query) > WILDCARDS_MAX {
        return;
    }
    let scope = Scope { query, since: None, until: None, deadline: Some(Instant::now() + DEADLINE) };
    let search = &index().1;
    match (search.page(&scope, 100, None), search.count(&scope)) {
        (Ok(page), Ok((count, skipped))) => {
            assert!(page.skipped.is_empty() && skipped.is_empty(), "{text:?}: {:?}", page.skipped);
            assert_eq!(page.events.len() as u64, count, "{text:?}");
        }
        (Err(SearchError::TooMuch(_)), _) | (_, Err(SearchError::TooMuch(_))) => {}
        (page, count) => panic!("{text:?}: {page:?} {count:?}"),
    }
}

fn wildcards(query: &Query) -> usize {
    match query {
        Query::Wild { .. } => 1,
        Query::Not(inner) => wildcards(inner),
        Query::And(all) | Query::Or(all) => all.iter().map(wildcards).sum(),
        Query::All | Query::Match { .. } | Query::Range { .. } | Query::Exists(_) => 0,
    }
}

/// A few events over two days, made once a process.
fn index() -> &'static (TempDir, Search) {
    static INDEX: OnceLock<(TempDir, Search)> = OnceLock::new();
    INDEX.get_or_init(|| {
        let dir = TempDir::new().expect("a scratch folder");
        let now: Time = "2026-11-21T20:00:00Z".parse().expect("a time");
        let mut writer = Index::new(dir.path(), Duration::from_secs(30 * 86_400));
        let lines: Vec<&[u8]> = include_str!("search_corpus.ndjson").lines().map(str::as_bytes).collect();
        let verdicts = writer.store(&lines, now).expect("a writable index");
        assert!(verdicts.iter().all(|v| *v == store::index::Verdict::Stored), "{verdicts:?}");
        drop(writer);
        let search = Search::new(dir.path());
        (dir, search)
    })
}
