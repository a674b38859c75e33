//! Filters that are compiled together when jq first has to run one of them.
//!
//! Compiling costs a millisecond for the functions that every program has, and little for each filter beside them; most
//! filters of a large set are never asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::compile::{Text, bundle};
use crate::link::Modules;
use crate::program::Bundle;

/// Programs of a segment.
pub(crate) const SEGMENT: usize = 256;

/// Programs that have been read and found right.
pub(crate) struct Segment {
    /// Name and text of each.
    texts: Vec<(Arc<str>, Arc<str>)>,
    modules: Arc<Recorded>,
    bundle: OnceLock<Option<Bundle>>,
}

impl Segment {
    pub(crate) fn new(texts: Vec<(Arc<str>, Arc<str>)>, modules: Arc<Recorded>) -> Self {
        Self { texts, modules, bundle: OnceLock::new() }
    }

    /// The compiled programs; `None` only by a fault of the engine, as what does not compile is refused before.
    pub(crate) fn bundle(&self) -> Option<&Bundle> {
        let compiled = self.bundle.get_or_init(|| {
            let texts: Vec<Text<'_>> = self.texts.iter().map(|(name, text)| Text { name, text }).collect();
            bundle(&texts, &*self.modules).ok()
        });
        compiled.as_ref()
    }

    /// The modules that its programs import.
    pub(crate) fn modules(&self) -> &dyn Modules {
        &*self.modules
    }

    /// Whether somebody has needed it.
    pub(crate) fn is_compiled(&self) -> bool {
        self.bundle.get().is_some()
    }
}

/// Modules as they were when the filters were read: what is compiled later is the same.
#[derive(Default)]
pub(crate) struct Recorded(HashMap<String, Option<String>>);

impl Modules for Recorded {
    fn read(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned().flatten()
    }
}

/// Hands modules on and remembers them.
pub(crate) struct Recorder<'m> {
    modules: &'m dyn Modules,
    seen: Mutex<HashMap<String, Option<String>>>,
}

impl<'m> Recorder<'m> {
    pub(crate) fn new(modules: &'m dyn Modules) -> Self {
        Self { modules, seen: Mutex::default() }
    }

    pub(crate) fn finish(self) -> Recorded {
        Recorded(self.seen.into_inner().unwrap_or_default())
    }
}

impl Modules for Recorder<'_> {
    fn read(&self, path: &str) -> Option<String> {
        let text = self.modules.read(path);
        if let Ok(mut seen) = self.seen.lock() {
            seen.insert(path.to_owned(), text.clone());
        }
        text
    }
}
