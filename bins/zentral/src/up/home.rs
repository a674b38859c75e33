//! The data folder: its lock against a second `up`, its version, its folders.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use pipe::StageError;
use pipe::fs::{Fs as _, Guard, RealFs};
use registry::folder::make_private;

/// The number of the layout of the data folder (contract § 1).
const LAYOUT: u32 = 1;
/// How long a lock is waited for: a predecessor that was killed holds it a moment longer.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const FOLDERS: [&str; 5] = ["config", "state", "topics", "refused", "run"];

/// Makes the folder ready and takes its lock; held until the guard goes.
pub fn open(data: &Path) -> Result<Guard, StageError> {
    let fail = |path: &Path| {
        let path = path.display().to_string();
        move |e: io::Error| StageError::state(format!("{path}: {e}"))
    };
    let make = |dir: &Path| make_private(dir).map_err(fail(dir));
    make(data)?;
    if pipe::is_network(data) {
        let text = "lies on a network file system, where locks and fsync promise little";
        return Err(StageError::state(format!("{} {text}", data.display())));
    }
    let guard = lock(&data.join("lock"))?;
    let version = data.join("version");
    match fs::read_to_string(&version) {
        Ok(text) => match text.split_whitespace().next().and_then(|n| n.parse::<u32>().ok()) {
            Some(n) if n <= LAYOUT => {}
            _ => {
                let text = format!("{}: `{}` is not a layout that this version knows", version.display(), text.trim());
                return Err(StageError::state(text));
            }
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::write(&version, format!("{LAYOUT}\n")).map_err(fail(&version))?;
        }
        Err(e) => return Err(fail(&version)(e)),
    }
    FOLDERS.iter().try_for_each(|name| make(&data.join(name)))?;
    Ok(guard)
}

fn lock(path: &Path) -> Result<Guard, StageError> {
    let begun = Instant::now();
    loop {
        match RealFs.lock(path) {
            Ok(Some(guard)) => return Ok(guard),
            Ok(None) if begun.elapsed() < LOCK_WAIT => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => return Err(StageError::state(format!("{}: another `up` holds it", path.display()))),
            Err(e) => return Err(StageError::state(format!("{}: {e}", path.display()))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn one_up_and_a_known_layout() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/data");
        let text = |r: Result<Guard, StageError>| r.err().map(|e| e.text).unwrap_or_default();
        let first = open(&data).unwrap();
        assert!(text(open(&data)).contains("another `up`"));
        drop(first);
        fs::write(data.join("version"), "2\n").unwrap();
        assert!(text(open(&data)).contains("not a layout"));
        fs::write(data.join("version"), "1\n").unwrap();
        assert!(open(&data).is_ok());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&data).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
    }
}
