//! The file operations a disk topic makes, behind one thin trait, so that a simulated disk can lose power at any of them.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It must exist; reading only.
    Read,
    /// Reading and writing; made if missing.
    Write,
    /// Reading and writing; made if missing, emptied if not.
    Fresh,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name without its folder.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Last change, milliseconds since 1970 UTC.
    pub modified_ms: i64,
}

/// Held as long as the lock is wanted; dropping it lets go.
pub type Guard = Box<dyn Send + Sync>;

/// An open file. All positions are given by the caller; there is no cursor.
#[allow(clippy::len_without_is_empty, reason = "a length on disk, which can fail")]
pub trait File: Send + Sync {
    /// Reads at most `buf.len()` bytes at `at`; 0 is the end of the file.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `data` at `at`.
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Sets the time of the last change, milliseconds since 1970 UTC.
    fn set_modified(&self, ms: i64) -> io::Result<()>;
}

/// A file system and the machine under it.
pub trait Fs: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>>;
    /// Reads a small file whole into `out` (cleared first), at most [`SMALL_MAX`] bytes of it.
    fn read_small(&self, path: &Path, out: &mut Vec<u8>) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Replaces `to` by `from`, both in one folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and its missing parents, durably; no error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The files of a folder, in no order; names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Takes the exclusive lock on a file (made if missing) without waiting; `None` if another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Guard>>;
    /// Bytes that an unprivileged process may still write there.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
    /// Milliseconds since 1970 UTC.
    fn now_ms(&self) -> i64;
    /// What changes at every start of the machine and at nothing else; empty where the machine does not tell.
    fn boot_id(&self) -> String;
}

/// The most that [`Fs::read_small`] reads.
pub const SMALL_MAX: u64 = 4096;

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl RealFs {
    /// Ready to be handed to a topic.
    pub fn shared() -> Arc<dyn Fs> {
        Arc::new(Self)
    }
}

impl File for fs::File {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buf, at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(data, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_modified(&self, ms: i64) -> io::Result<()> {
        Self::set_modified(self, UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let write = mode != Mode::Read;
        let file =
            fs::OpenOptions::new().read(true).write(write).create(write).truncate(mode == Mode::Fresh).open(path)?;
        Ok(Box::new(file))
    }

    fn read_small(&self, path: &Path, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        fs::File::open(path)?.take(SMALL_MAX).read_to_end(out)?;
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_path_buf);
        self.create_dir(&parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => self.sync_dir(&parent),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // removed since the folder was read
                Err(e) => return Err(e),
            };
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                entries.push(Entry { name, len: meta.len(), modified_ms: millis(meta.modified()?) });
            }
        }
        Ok(entries)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Guard>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn now_ms(&self) -> i64 {
        millis(SystemTime::now())
    }

    #[cfg(not(target_os = "macos"))]
    fn boot_id(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    #[cfg(target_os = "macos")]
    fn boot_id(&self) -> String {
        // The call behind it needs unsafe code; this runs once per start of a writer.
        let out = std::process::Command::new("/usr/sbin/sysctl").args(["-n", "kern.bootsessionuuid"]).output();
        out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    }
}

fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(d) => i64::try_from(d.as_millis()).unwrap_or(i64::MAX),
        Err(e) => i64::try_from(e.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}
