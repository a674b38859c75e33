//! A disk in memory that can stop at any operation and lose power: it knows what is written and what is durable. For
//! tests.
//!
//! After [`SimFs::crash`] unsynced data is lost, kept, torn at any byte, filled up with zeros or has holes of zeros, file
//! by file; unsynced creations, renames and removals have happened or not. After [`SimFs::kill`] all that was written is
//! there, and still not durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{Entry, File, Fs, Guard, Mode};

/// Pseudo-random numbers (splitmix64): the same for the same seed, everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.number().checked_rem(n).unwrap_or(0)
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The simulated disk as one process sees it; clones are the same process.
#[derive(Clone)]
pub struct SimFs {
    shared: Arc<Mutex<Disk>>,
    process: u64,
}

struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    locks: BTreeMap<PathBuf, u64>,
    random: Random,
    processes: u64,
    stopped: BTreeSet<u64>,
    /// Processes below this one ended with the power.
    alive_from: u64,
    boot: u64,
    ops: u64,
    stop_at: u64,
    lie: bool,
    full: Option<u64>,
    free: u64,
    now_ms: i64,
}

#[derive(Default, Clone)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    modified_ms: i64,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

struct NameChange {
    dir: PathBuf,
    gone: Option<PathBuf>,
    made: Option<(PathBuf, u64)>,
}

impl SimFs {
    /// An empty disk, and the first process.
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            locks: BTreeMap::new(),
            random: Random(seed),
            processes: 1,
            stopped: BTreeSet::new(),
            alive_from: 0,
            boot: 1,
            ops: 0,
            stop_at: u64::MAX,
            lie: false,
            full: None,
            free: u64::MAX,
            now_ms: 1_800_000_000_000,
        };
        Self { shared: Arc::new(Mutex::new(disk)), process: 0 }
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

impl Disk {
    fn alive(&self, process: u64) -> io::Result<()> {
        if process < self.alive_from || self.stopped.contains(&process) {
            return Err(io::Error::other("the simulated process has stopped"));
        }
        Ok(())
    }

    /// Counts an operation; true if it is the one to stop at.
    fn begin(&mut self, process: u64) -> io::Result<bool> {
        self.alive(process)?;
        self.ops += 1;
        let stop = self.ops == self.stop_at;
        if stop {
            self.stopped.insert(process);
        }
        Ok(stop)
    }

    /// Counts an operation that is done or not, and does it.
    fn whole(&mut self, process: u64, act: impl FnOnce(&mut Self)) -> io::Result<()> {
        let stop = self.begin(process)?;
        if !stop || self.random.one_in(2) {
            act(self);
        }
        self.alive(process)
    }

    fn lose_power(&mut self) {
        // Journals keep the order of names; other file systems may not.
        let (ordered, until) = (self.random.one_in(2), self.random.below(self.name_changes.len() as u64 + 1));
        for (i, change) in std::mem::take(&mut self.name_changes).into_iter().enumerate() {
            let kept = if ordered { (i as u64) < until } else { self.random.one_in(2) };
            if kept {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|i, _| named.contains(i));
        for inode in self.inodes.values_mut() {
            inode.lose_power(&mut self.random);
        }
    }

    fn change_name(&mut self, dir: &Path, gone: Option<&Path>, made: Option<(&Path, u64)>) {
        let change = NameChange {
            dir: dir.to_path_buf(),
            gone: gone.map(Path::to_path_buf),
            made: made.map(|(p, i)| (p.to_path_buf(), i)),
        };
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, inode)) = &self.made {
            names.insert(path.clone(), *inode);
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        apply(&mut self.data, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        let kind = random.below(5);
        let changes = std::mem::take(&mut self.changes);
        let whole = match kind {
            0 => 0,
            1 => changes.len() as u64,
            _ => random.below(changes.len() as u64 + 1),
        };
        for (i, mut change) in changes.into_iter().enumerate() {
            if let (Change::Write(_, data), 2..) = (&mut change, kind) {
                let torn = usize::try_from(random.below(data.len() as u64 + 1)).unwrap_or(0);
                match (kind, (i as u64).cmp(&whole)) {
                    (2, std::cmp::Ordering::Equal) => data.truncate(torn), // the length shows how far it came
                    (3, std::cmp::Ordering::Equal) => data.iter_mut().skip(torn).for_each(|b| *b = 0),
                    (3, std::cmp::Ordering::Greater) => data.fill(0), // the length came through, the data did not
                    (4, _) if random.one_in(3) => data.iter_mut().skip(torn).for_each(|b| *b = 0), // nor here and there
                    (4, _) => {}
                    (_, std::cmp::Ordering::Less) => {}
                    _ => break,
                }
            } else if i as u64 >= whole {
                break;
            }
            apply(&mut self.durable, &change);
        }
        self.data.clone_from(&self.durable);
    }
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => data.resize(*len, 0),
        Change::Write(at, bytes) => {
            data.resize(data.len().max(at + bytes.len()), 0);
            if let Some(place) = data.get_mut(*at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
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
        disk.whole(self.process, |disk| disk.change_name(path.parent().unwrap_or(Path::new("")), Some(path), None))
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
