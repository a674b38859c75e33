//! A disk in memory that can stop at any operation and lose power: it knows what is written and what is durable. For
//! tests.
//!
//! After [`SimFs::crash`] unsynced data is lost, kept, torn at any byte, filled up with zeros or has holes of zeros, file
//! by file; unsynced creations, renames and removals have happened or not. After [`SimFs::kill`] all that was written is
//! there, and still not durable.

mod disk;
mod files;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::Disk;

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

    /// From now on what is left when a process stops at an operation is kept, for each operation that is made.
    pub fn keep_stops(&self) {
        self.disk().stops = Some(Vec::new());
    }

    /// Nothing is kept any more.
    pub fn forget_stops(&self) {
        self.disk().stops = None;
    }

    /// The machines kept since the last call, in order, each as the process that stopped sees it; from there on they are
    /// machines of their own, which keep nothing.
    pub fn take_stops(&self) -> Vec<Self> {
        let kept = self.disk().stops.as_mut().map(std::mem::take).unwrap_or_default();
        kept.into_iter().map(|(process, disk)| Self { shared: Arc::new(Mutex::new(disk)), process }).collect()
    }

    /// Whether both are the same process (of the same machine or of one left by a stop of it).
    pub fn same_process(&self, other: &Self) -> bool {
        self.process == other.process
    }

    /// Whether this process has stopped.
    pub fn stopped(&self) -> bool {
        self.disk().alive(self.process).is_err()
    }

    /// Counts something that happens elsewhere (another database's commit) as one operation: whether it happens, and
    /// whether the process lives to see it.
    pub fn step(&self) -> (bool, bool) {
        let mut disk = self.disk();
        disk.stepped = false;
        let lived = disk.whole(self.process, |disk| disk.stepped = true);
        (disk.stepped, lived.is_ok())
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
        let inode = disk.names.get(path.as_os_str())?;
        disk.inodes.get(inode).map(|i| i.data.clone())
    }

    /// Changes a file behind everyone's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let inode = disk.names.get(path.as_os_str()).copied();
        if let Some(inode) = inode.and_then(|i| disk.inode(i)) {
            change(&mut inode.data);
            inode.durable.clone_from(&inode.data);
            inode.changes.clear();
        }
    }
}
