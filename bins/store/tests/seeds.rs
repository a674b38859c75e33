//! Seeds of the search language, as a fuzzer starts from them: nothing panics, and what is understood comes back.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests may panic")]

use store::query::{QUERY_MAX, parse};

#[test]
fn seeds_of_the_search_language() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/query");
    let (mut understood, mut refused) = (0, 0);
    for seed in std::fs::read_dir(folder).unwrap().map(|f| std::fs::read(f.unwrap().path()).unwrap()) {
        // Every cut of a seed is a seed.
        for end in 0..=seed.len() {
            let text = String::from_utf8_lossy(seed.get(..end).unwrap());
            match parse(&text) {
                Ok(query) => {
                    let shown = query.to_string();
                    assert!(shown.len() > QUERY_MAX || parse(&shown).as_ref() == Ok(&query), "{text} → {shown}");
                    understood += 1;
                }
                Err(error) => {
                    assert!(error.column() <= text.chars().count() + 1 && error.caret().contains('^'), "{text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(understood > 50 && refused > 50, "{understood} {refused}");
}
