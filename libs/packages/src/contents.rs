//! What a package puts on a machine, whatever its form.

/// Files, and what is run around them.
pub struct Contents {
    /// In the order in which they lie in the package.
    pub files: Vec<File>,
    /// Folders that are not 0755.
    pub private: Vec<String>,
    /// Scripts without their first lines, which are the form's: they find `$root`, the folder that stands for `/`
    /// (empty: the machine that runs now).
    pub scripts: Scripts,
}

/// What is run.
#[derive(Default)]
pub struct Scripts {
    /// Before the files are laid down.
    pub before: Option<String>,
    /// After that.
    pub after: String,
    /// Before they are taken away; macOS takes nothing away, so there it is a file.
    pub removal: Option<String>,
}

/// One file.
pub struct File {
    /// Below `/`, without it.
    pub path: String,
    /// Permissions.
    pub mode: u16,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether people change it, so that an upgrade leaves their version.
    pub config: bool,
}

impl File {
    /// A file that is the package's alone.
    pub fn new(path: impl Into<String>, mode: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, bytes: text.into(), config: false }
    }
}

/// A folder, or a file in it.
pub struct Entry<'a> {
    /// Below `/`, without it; empty: `/` itself.
    pub path: String,
    /// Permissions.
    pub mode: u16,
    /// None: a folder.
    pub file: Option<&'a File>,
}

impl Contents {
    /// Every folder before what lies in it, sorted by path.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut all = std::collections::BTreeMap::new();
        for file in &self.files {
            for (slash, _) in file.path.match_indices('/') {
                let folder = file.path.get(..slash).unwrap_or_default().to_owned();
                let mode = if self.private.contains(&folder) { 0o700 } else { 0o755 };
                all.entry(folder.clone()).or_insert(Entry { path: folder, mode, file: None });
            }
            all.insert(file.path.clone(), Entry { path: file.path.clone(), mode: file.mode, file: Some(file) });
        }
        all.into_values().collect()
    }
}
