//! A disk in memory that can stop at any operation and lose power: it knows what is written and what is durable. For
//! tests.
//!
//! After [`SimFs::crash`] unsynced data is lost, kept, torn at any byte, filled up with zeros or has holes of zeros, file
//! by file; unsynced creations, renames and removals have happened or not. After [`SimFs::kill`] all that was written is
//! there, and still not durable.

mod disk;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{Entry, File, Fs, Guard, Mode};

use disk::{Change, Disk, Inode};

pub use disk::Random;

/// The simulated disk as one process sees it; clones are the same process.
#[derive(Clone)]
pub struct SimFs {
    shared: Arc<Mutex<Disk>>,
    process: u64,
}

impl SimFs {
    /// An empty disk, and the first process.
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Mutex::new(Disk::new(seed))), process: 0 }
    }

    /// Another process on the same machine.
    pub fn spawn(&self) -> Self {
        let mut disk = self.disk();
        disk.processes += 1;
        Self { shared: Arc::clone(&self.shared), process: disk.processes - 1 }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations that change the disk so far, [`step`](Self::step)s included.
    pub fn ops(&self) -> u64 {
        self.disk().ops
    }

    /// Stops the process that makes the operation with this number: it is done, half done or not done, and it and all
    /// later ones of that process fail.
    pub fn stop_at(&self, op: u64) {
        self.disk().stop_at = op;
    }

    /// Whether this process has stopped.
    pub fn stopped(&self) -> bool {
        self.disk().alive(self.process).is_err()
    }

    /// Counts something that happens elsewhere (another database's commit) as one operation: whether it happens, and
    /// whether the process lives to see it.
    pub fn step(&self) -> (bool, bool) {
        let mut disk = self.disk();
        match disk.begin(self.process) {
            Err(_) => (false, false),
            Ok(false) => (true, true),
            Ok(true) => (disk.random.one_in(2), false),
        }
    }

    /// From now on fsync does nothing and says it did.
    pub fn lie(&self) {
        self.disk().lie = true;
    }

    /// After this many more bytes the disk is full; `None`: never.
    pub fn full_after(&self, bytes: Option<u64>) {
        self.disk().full = bytes;
    }

    /// Sets what [`Fs::free_space`] says.
    pub fn set_free(&self, bytes: u64) {
        self.disk().free = bytes;
    }

    /// Lets time pass.
    pub fn pass(&self, ms: i64) {
        self.disk().now_ms += ms;
    }

    /// This process dies: its handles and locks are gone, what it wrote stays.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.stopped.insert(self.process);
        disk.locks.retain(|_, holder| *holder != self.process);
    }

    /// The power goes and comes back; no process lives.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.disk();
        disk.random = Random(seed);
        disk.lose_power();
        disk.boot += 1;
        disk.alive_from = disk.processes;
        disk.stop_at = u64::MAX;
        disk.locks.clear();
    }

    /// The contents of a file as a process would read them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let inode = disk.names.get(path)?;
        disk.inodes.get(inode).map(|i| i.data.clone())
    }

    /// Changes a file behind everyone's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let inode = disk.names.get(path).copied();
        if let Some(inode) = inode.and_then(|i| disk.inodes.get_mut(&i)) {
            change(&mut inode.data);
            inode.durable.clone_from(&inode.data);
            inode.changes.clear();
        }
    }
}

struct Handle {
    fs: SimFs,
    inode: u64,
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.fs.disk();
        disk.alive(self.fs.process)?;
        act(&mut disk, self.inode)
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|disk, inode| {
            let data = disk.inodes.get(&inode).map(|i| i.data.as_slice()).unwrap_or_default();
            let mut rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
            io::Read::read(&mut rest, buf)
        })
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.with(|disk, inode| {
            let mut fit = data.len();
            if disk.begin(self.fs.process)? {
                fit = usize::try_from(disk.random.below(fit as u64 + 1)).unwrap_or(0);
            }
            if let Some(full) = &mut disk.full {
                fit = fit.min(usize::try_from(*full).unwrap_or(fit));
                *full -= fit as u64;
            }
            let now = disk.now_ms;
            if let Some(inode) = disk.inodes.get_mut(&inode) {
                let at = usize::try_from(at).map_err(io::Error::other)?;
                inode.change(Change::Write(at, data.get(..fit).unwrap_or_default().to_vec()));
                inode.modified_ms = now;
            }
            disk.alive(self.fs.process)?;
            if fit < data.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.whole(self.fs.process, |disk| {
                if let (Some(inode), false) = (disk.inodes.get_mut(&inode), disk.lie) {
                    inode.sync();
                }
            })
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|disk, inode| {
            disk.whole(self.fs.process, |disk| {
                if let Some(inode) = disk.inodes.get_mut(&inode) {
                    inode.change(Change::Len(len));
                }
            })
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk, inode| Ok(disk.inodes.get(&inode).map_or(0, |i| i.data.len() as u64)))
    }

    fn set_modified(&self, ms: i64) -> io::Result<()> {
        self.with(|disk, inode| {
            if let Some(inode) = disk.inodes.get_mut(&inode) {
                inode.modified_ms = ms;
            }
            Ok(())
        })
    }
}

/// Lets go of a lock, unless the process that held it is gone already.
struct Held {
    fs: SimFs,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut disk = self.fs.disk();
        if disk.locks.get(&self.path) == Some(&self.fs.process) {
            disk.locks.remove(&self.path);
        }
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        disk.alive(self.process)?;
        let found = disk.names.get(path).copied();
        let inode = match (found, mode) {
            (None, Mode::Read) => return Err(ErrorKind::NotFound.into()),
            (None, _) => {
                let inode = disk.inodes.last_key_value().map_or(0, |(i, _)| i + 1);
                let now = disk.now_ms;
                disk.whole(self.process, |disk| {
                    disk.inodes.insert(inode, Inode { modified_ms: now, ..Inode::default() });
                    disk.change_name(path.parent().unwrap_or(Path::new("")), None, Some((path, inode)));
                })?;
                inode
            }
            (Some(inode), _) => inode,
        };
        let handle = Handle { fs: self.clone(), inode };
        drop(disk);
        if found.is_some() && mode == Mode::Fresh {
            handle.set_len(0)?;
        }
        Ok(Box::new(handle))
    }

    fn read_small(&self, path: &Path, out: &mut Vec<u8>) -> io::Result<()> {
        self.disk().alive(self.process)?;
        out.clear();
        out.extend(self.contents(path).ok_or(ErrorKind::NotFound)?);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk().whole(self.process, |disk| {
            if disk.lie {
                return;
            }
            let (done, open): (Vec<_>, Vec<_>) =
                std::mem::take(&mut disk.name_changes).into_iter().partition(|c| c.dir == dir);
            disk.name_changes = open;
            done.iter().for_each(|c| c.apply(&mut disk.durable_names));
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.names.get(from).copied().ok_or(ErrorKind::NotFound)?;
        disk.whole(self.process, |disk| {
            disk.change_name(to.parent().unwrap_or(Path::new("")), Some(from), Some((to, inode)))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if !disk.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.whole(self.process, |disk| {
            let freed = disk.names.get(path).and_then(|i| disk.inodes.get(i)).map_or(0, |i| i.data.len() as u64);
            disk.full = disk.full.map(|full| full.saturating_add(freed));
            disk.change_name(path.parent().unwrap_or(Path::new("")), Some(path), None);
        })
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.disk().alive(self.process)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        disk.alive(self.process)?;
        let here = disk.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(here
            .filter_map(|(path, inode)| {
                let inode = disk.inodes.get(inode)?;
                let name = path.file_name()?.to_str()?.to_owned();
                Some(Entry { name, len: inode.data.len() as u64, modified_ms: inode.modified_ms })
            })
            .collect())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Guard>> {
        self.open(path, Mode::Write)?;
        let mut disk = self.disk();
        if disk.locks.contains_key(path) {
            return Ok(None);
        }
        disk.locks.insert(path.to_path_buf(), self.process);
        Ok(Some(Box::new(Held { fs: self.clone(), path: path.to_path_buf() })))
    }

    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.disk().free)
    }

    fn now_ms(&self) -> i64 {
        self.disk().now_ms
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.disk().boot)
    }
}
