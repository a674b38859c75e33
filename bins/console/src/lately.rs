//! The files of the configuration as they were read last: thousands of probes are not read again for a page that only
//! looks, unless a file is another by now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pipe::config::Config;

use crate::app::held;
use crate::edit::Disk;

/// A file that was written so shortly before it was read may have been written again since, with the same time.
const FRESH: Duration = Duration::from_secs(2);

/// Of each file its size and when it was written; none: it is not there.
type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

/// What was read last, and of which files.
#[derive(Default)]
pub struct Lately {
    kept: Mutex<Option<(Arc<Disk>, Stamp)>>,
}

impl Lately {
    /// As they are now. Who writes reads them anew ([`Disk::read`]). The error is what to tell a person.
    pub fn read(&self, in_force: &Config) -> Result<Arc<Disk>, String> {
        let mut kept = held(&self.kept);
        if let Some((disk, _)) = kept.as_ref().filter(|(disk, before)| stamp(disk) == *before) {
            return Ok(disk.clone());
        }
        let begun = SystemTime::now();
        let disk = Arc::new(Disk::read(in_force)?);
        let stamp = stamp(&disk);
        let rests = |at: &SystemTime| begun.duration_since(*at).is_ok_and(|age| age >= FRESH);
        let rest = stamp.iter().all(|(_, found)| found.as_ref().is_some_and(|(_, at)| rests(at)));
        *kept = rest.then(|| (disk.clone(), stamp));
        Ok(disk)
    }

    /// Another configuration is in force.
    pub fn forget(&self) {
        *held(&self.kept) = None;
    }
}

fn stamp(disk: &Disk) -> Stamp {
    let config = disk.config();
    config.files.as_ref().map(|files| files.stamp(&config.includes())).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn age(file: &std::path::Path) {
        let hour = Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - hour).unwrap();
    }

    #[test]
    fn what_is_another_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (main, more) = (dir.path().join("pipeline.toml"), dir.path().join("more.toml"));
        let write = |file: &std::path::Path, text: &str| std::fs::write(file, text).unwrap();
        write(&main, "version = 1\ninclude = [\"more*.toml\"]\n[probe.a]\nfilter = \"true\"\n");
        let config = Config::load(&main, None).unwrap().0;
        let lately = Lately::default();
        let read = || lately.read(&config).unwrap();
        assert!(!Arc::ptr_eq(&read(), &read()), "its time may hide another write");
        age(&main);
        let first = read();
        assert!(Arc::ptr_eq(&first, &read()));
        // A file of the same pattern comes; another changes, and keeps its size.
        write(&more, "[probe.b]\nfilter = \"true\"\n");
        age(&more);
        let second = read();
        assert_eq!(second.config().probes.len(), 2);
        assert!(Arc::ptr_eq(&second, &read()));
        write(&more, "[probe.b]\nfilter = \"null\"\n");
        assert_eq!(read().filter("b").unwrap().text, "null");
        std::fs::remove_file(&more).unwrap();
        assert_eq!(read().config().probes.len(), 1);
        write(&main, "version =");
        assert!(lately.read(&config).is_err());
    }
}
