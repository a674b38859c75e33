//! Files that osquery watches, by category.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What is watched under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileCategory {
    /// Patterns: `%` is one level, `%%` all of them.
    pub paths: Vec<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Queries whose column `path` names more.
    pub queries: Vec<String>,
    /// Reading is told as well as writing.
    pub accesses: bool,
}

/// All categories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePaths(pub BTreeMap<String, FileCategory>);

impl FilePaths {
    /// The keys of osquery's configuration that say it.
    pub(super) fn write(&self, config: &mut Map<String, Value>) {
        type Part = fn(&FileCategory) -> &Vec<String>;
        let parts: [(&str, Part); 3] = [
            ("file_paths", |category| &category.paths),
            ("exclude_paths", |category| &category.exclude),
            ("file_paths_query", |category| &category.queries),
        ];
        for (key, part) in parts {
            let lists: BTreeMap<_, _> = self.0.iter().map(|(name, of)| (name, part(of))).collect();
            if lists.values().any(|list| !list.is_empty()) {
                let told: BTreeMap<_, _> = lists.into_iter().filter(|(_, list)| !list.is_empty()).collect();
                config.insert(key.into(), json!(told));
            }
        }
        let accesses: Vec<_> = self.0.iter().filter(|(_, of)| of.accesses).map(|(name, _)| name).collect();
        if !accesses.is_empty() {
            config.insert("file_accesses".into(), json!(accesses));
        }
    }
}
