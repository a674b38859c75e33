//! `data/config/`: the copies of the configuration that stages read, and which of them is in force.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use pipe::config::{Files, copy_in_force};

/// Copies that are kept.
const KEPT: usize = 5;
/// The file in a copy that says that all of it is on disk.
const SYNCED: &str = "synced";

/// The folder of copies.
#[derive(Debug, Clone)]
pub struct Copies {
    dir: PathBuf,
    current: PathBuf,
}

impl Copies {
    /// Those of this data folder.
    pub fn of(data: &Path) -> Self {
        let current = copy_in_force(data);
        Self { dir: current.parent().map(Path::to_owned).unwrap_or_default(), current }
    }

    /// The name of the copy in force, a link to its folder.
    pub fn current(&self) -> PathBuf {
        self.current.clone()
    }

    /// The name of the folder that is in force.
    pub fn in_force(&self) -> Option<String> {
        Some(fs::read_link(self.current()).ok()?.to_string_lossy().into_owned())
    }

    /// Copies everything that was read, durably; the name of the folder. The same files give the same one.
    pub fn make(&self, files: &Files) -> io::Result<String> {
        fs::create_dir_all(&self.dir)?;
        let mut target = files.copy_to(&self.dir)?;
        if !target.join(SYNCED).exists() {
            // What lies there may stem from before a power cut, and be torn.
            fs::remove_dir_all(&target)?;
            target = files.copy_to(&self.dir)?;
            for entry in fs::read_dir(&target)? {
                File::open(entry?.path())?.sync_all()?;
            }
            File::open(&target)?.sync_all()?;
            File::create(target.join(SYNCED))?.sync_all()?;
            File::open(&target)?.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(target.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Puts a copy in force and removes old ones.
    pub fn switch(&self, name: &str) -> io::Result<()> {
        if self.in_force().as_deref() != Some(name) {
            let link = self.dir.join("current.tmp");
            match fs::remove_file(&link) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            std::os::unix::fs::symlink(name, &link)?;
            fs::rename(&link, self.current())?;
            File::open(&self.dir)?.sync_all()?;
            // So that it is the youngest, also if it was made long ago and is taken up again.
            let _ = File::open(self.dir.join(name)).and_then(|dir| dir.set_modified(std::time::SystemTime::now()));
        }
        if let Err(e) = self.forget_old(name) {
            tracing::warn!("{}: old copies stay: {e}", self.dir.display());
        }
        Ok(())
    }

    fn forget_old(&self, keep: &str) -> io::Result<()> {
        let mut copies = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != *keep {
                copies.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        copies.sort();
        for (_, path) in copies.iter().rev().skip(KEPT - 1) {
            fs::remove_dir_all(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use pipe::config::Config;

    #[test]
    fn a_copy_is_whole_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let (main, copies) = (dir.path().join("pipeline.toml"), Copies::of(&dir.path().join("data")));
        let make = |i: usize| {
            fs::write(&main, format!("version = 1\n# {i}\n")).unwrap();
            let (_, files) = Config::load(&main, None).expect("it is right");
            copies.make(&files).unwrap()
        };
        let mut names = Vec::new();
        for i in 0..8 {
            let name = make(i);
            copies.switch(&name).unwrap();
            assert_eq!(copies.in_force().as_ref(), Some(&name));
            assert!(Config::load(&copies.current(), None).is_ok());
            names.push(name);
        }
        let kept = names.iter().filter(|n| dir.path().join("data/config").join(n).exists()).count();
        assert_eq!(kept, KEPT);
        // A copy that a power cut has torn is made anew.
        let torn = make(9);
        let folder = dir.path().join("data/config").join(&torn);
        fs::remove_file(folder.join(SYNCED)).unwrap();
        fs::write(folder.join("0000-pipeline.toml"), "").unwrap();
        assert_eq!(make(9), torn);
        assert_ne!(fs::read_to_string(folder.join("0000-pipeline.toml")).unwrap(), "");
    }
}
