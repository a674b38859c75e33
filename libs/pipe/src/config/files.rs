//! The files of a configuration: read from where they lie, or from the copy that `up` made of them.
//!
//! Everything that is read is remembered, so that `up` can copy exactly that. In a copy the paths stay those of the
//! originals (messages and relative paths count from there); only the texts come from the copy.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Finding;

/// The longest file of a configuration, in bytes.
const FILE_MAX: u64 = 16 << 20;
/// The most files that one pattern may name.
const GLOB_MAX: usize = 10_000;
const MANIFEST: &str = "manifest.json";

/// Where the texts come from, and what was read so far; clones share what they remember.
#[derive(Debug, Clone)]
pub struct Files {
    main: PathBuf,
    /// Texts of a copy by the path of the original; none: the disk itself.
    copy: Option<Arc<BTreeMap<PathBuf, String>>>,
    read: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Files {
    /// `path` is `pipeline.toml`, or the folder of a copy.
    pub fn open(path: &Path) -> Result<Self, Finding> {
        if !path.is_dir() {
            return Ok(Self { main: path.to_owned(), copy: None, read: Arc::default() });
        }
        let fail = |what: String| Finding::file(path, format!("no copy of a configuration: {what}"));
        // `current` may point elsewhere in the next moment: everything comes from the one folder that it is now.
        let path = &std::fs::canonicalize(path).map_err(|e| fail(e.to_string()))?;
        let text = std::fs::read_to_string(path.join(MANIFEST)).map_err(|e| fail(e.to_string()))?;
        let manifest: serde_json::Value = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let mut copy = BTreeMap::new();
        for entry in manifest.get("files").and_then(|f| f.as_array()).into_iter().flatten() {
            let part = |key: &str| entry.get(key).and_then(|v| v.as_str());
            if let (Some(original), Some(name)) = (part("path"), part("copy")) {
                let text = std::fs::read_to_string(path.join(name)).map_err(|e| fail(format!("{name}: {e}")))?;
                copy.insert(PathBuf::from(original), text);
            }
        }
        let main = manifest.get("main").and_then(|m| m.as_str()).ok_or_else(|| fail("no `main`".into()))?;
        Ok(Self { main: main.into(), copy: Some(Arc::new(copy)), read: Arc::default() })
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The main file.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// The text of a file; the error is a lower-case fragment without the path.
    pub fn read(&self, path: &Path) -> Result<String, String> {
        let path = tidy(path);
        let text = match &self.copy {
            Some(copy) => copy.get(&path).cloned().ok_or_else(|| "no such file".to_owned())?,
            None => {
                let size = std::fs::metadata(&path).map_err(|e| plain(&e))?.len();
                if size > FILE_MAX {
                    return Err(format!("longer than {FILE_MAX} bytes"));
                }
                text(std::fs::read(&path).map_err(|e| plain(&e))?)?
            }
        };
        self.remembered().insert(path, text.clone());
        Ok(text)
    }

    /// The files that a pattern names (`*` in its last part only), sorted. A plain path that is not there is an error.
    pub fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let pattern = tidy(pattern);
        let (dir, name) = (pattern.parent().unwrap_or(Path::new(".")), pattern.file_name().unwrap_or_default());
        let name = name.to_string_lossy();
        if dir.to_string_lossy().contains('*') {
            return Err("`*` may only stand in the last part of a path".into());
        }
        if !name.contains('*') {
            return Ok(vec![pattern.clone()]);
        }
        let mut all: Vec<PathBuf> = match &self.copy {
            Some(copy) => copy.keys().filter(|p| p.parent() == Some(dir)).cloned().collect(),
            None => match std::fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) {
                Ok(entries) => entries.filter_map(Result::ok).map(|e| dir.join(e.file_name())).collect(),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                Err(e) => return Err(plain(&e)),
            },
        };
        all.retain(|p| p.file_name().is_some_and(|n| matches(&name, &n.to_string_lossy())));
        all.sort();
        if all.len() > GLOB_MAX { Err(format!("names more than {GLOB_MAX} files")) } else { Ok(all) }
    }

    /// Writes everything that was read to `dir/HASH` and says which folder that is. The same files give the same one.
    pub fn copy_to(&self, dir: &Path) -> std::io::Result<PathBuf> {
        let mut hash = Sha256::new();
        let read = self.remembered().clone();
        for (path, text) in &read {
            for part in [path.to_string_lossy().as_bytes(), text.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        let name: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        let target = dir.join(&name);
        if target.join(MANIFEST).exists() {
            return Ok(target);
        }
        std::fs::create_dir_all(&target)?;
        let mut list = Vec::new();
        for (i, (path, text)) in read.iter().enumerate() {
            let base = path.file_name().unwrap_or_default().to_string_lossy();
            let copy = format!("{i:04}-{base}");
            std::fs::write(target.join(&copy), text)?;
            list.push(json!({"path": path.to_string_lossy(), "copy": copy}));
        }
        // The manifest goes last: a copy without one is not a copy.
        let manifest = json!({"main": tidy(&self.main).to_string_lossy(), "files": list});
        let temporary = target.join("manifest.tmp");
        std::fs::write(&temporary, manifest.to_string())?;
        std::fs::rename(temporary, target.join(MANIFEST))?;
        Ok(target)
    }

    /// Whether a file that was read, or the set that a pattern names, may have changed since: cheap, by time and size.
    pub fn stamp(&self, patterns: &[PathBuf]) -> Vec<(PathBuf, Option<(u64, std::time::SystemTime)>)> {
        let mut paths: Vec<PathBuf> = self.remembered().keys().cloned().collect();
        for pattern in patterns {
            paths.extend(self.glob(pattern).unwrap_or_default());
        }
        paths.sort();
        paths.dedup();
        let stamp = |p: &PathBuf| std::fs::metadata(p).ok().and_then(|m| Some((m.len(), m.modified().ok()?)));
        paths
            .into_iter()
            .map(|p| {
                let s = stamp(&p);
                (p, s)
            })
            .collect()
    }
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|b| **b == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}

fn plain(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        _ => e.to_string(),
    }
}

/// The same path without `.` and, where it can be told from the text alone, without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match rest.find(part) {
            Some(i) => rest = rest.get(i + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last) && (pattern.contains('*') || rest.is_empty())
}
