//! What the console is lent: this program links the store, and counts what `zentral status` counts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pipe::config::Config;
use store::search::{Finder, Search};
use store::stores::embedded;

use crate::status;

/// The index that was asked last: a reader keeps it open.
static INDEX: Mutex<Option<(PathBuf, Arc<Search>)>> = Mutex::new(None);

/// Lends it.
pub fn lend() {
    console::lend(console::Lent { store: ask_store, report });
}

/// Asks the index itself, read-only, or the cluster. The answers are those of the store's process.
fn ask_store(config: &Config, path: &str, query: &str) -> Option<(u16, Vec<u8>)> {
    let settings = &config.searched()?.settings;
    let is_embedded = settings.peek("kind").is_none_or(|kind| kind == embedded::KIND.name);
    let finder: Arc<dyn Finder> = match store::index_dir(config).filter(|_| is_embedded) {
        Some(dir) => index(dir),
        None => {
            let made = store::finder(settings, config);
            made.inspect_err(|e| tracing::warn!("the store cannot be asked: {e}")).ok()??.into()
        }
    };
    store::ask::answer(&*finder, path, query).map(|(status, _, body)| (status, body))
}

fn index(dir: PathBuf) -> Arc<Search> {
    let mut kept = INDEX.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, search)) = kept.as_ref().filter(|(of, _)| *of == dir) {
        return search.clone();
    }
    let search = Arc::new(Search::new(&dir));
    *kept = Some((dir, search.clone()));
    search
}

/// What `up` would tell.
fn report(config: &Config, path: &str) -> Option<Vec<u8>> {
    match path {
        "/report" => Some(status::told(config, None)),
        "/probes" => Some(status::told_of_probes(config, None)),
        _ => None,
    }
}
