//! What is written and what is durable, and what a power cut makes of the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Paths, compared as text, which is quicker.
pub(super) type Names = BTreeMap<Arc<OsStr>, u64>;

/// Cheap to clone: files and names are shared until they change.
#[derive(Clone)]
pub(super) struct Disk {
    pub inodes: BTreeMap<u64, Arc<Inode>>,
    pub names: Names,
    pub durable_names: Names,
    pub name_changes: Vec<NameChange>,
    pub locks: BTreeMap<PathBuf, u64>,
    pub random: Random,
    pub processes: u64,
    pub stopped: BTreeSet<u64>,
    /// Processes below this one ended with the power.
    pub alive_from: u64,
    pub boot: u64,
    pub ops: u64,
    pub stop_at: u64,
    /// What the stop at each operation leaves, with the process that stopped; none: nobody asks.
    pub stops: Option<Vec<(u64, Self)>>,
    /// Whether the last step happened.
    pub stepped: bool,
    pub lie: bool,
    pub full: Option<u64>,
    pub free: u64,
    pub now_ms: i64,
}

#[derive(Default, Clone)]
pub(super) struct Inode {
    pub data: Vec<u8>,
    pub durable: Vec<u8>,
    pub changes: Vec<Change>,
    pub modified_ms: i64,
}

#[derive(Clone)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Clone)]
pub(super) struct NameChange {
    pub dir: Arc<OsStr>,
    pub gone: Option<Arc<OsStr>>,
    pub made: Option<(Arc<OsStr>, u64)>,
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        Self {
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
            stops: None,
            stepped: false,
            lie: false,
            full: None,
            free: u64::MAX,
            now_ms: 1_800_000_000_000,
        }
    }

    pub fn alive(&self, process: u64) -> io::Result<()> {
        if process < self.alive_from || self.stopped.contains(&process) {
            return Err(io::Error::other("the simulated process has stopped"));
        }
        Ok(())
    }

    /// Counts an operation of so many parts and does it: all of it, or if the process stops there, some of it.
    pub fn operate(
        &mut self,
        process: u64,
        parts: u64,
        act: impl Fn(&mut Self, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.alive(process)?;
        self.ops += 1;
        if let Some(mut stops) = self.stops.take() {
            let mut left = self.clone();
            // Other numbers than the history's own, which must not depend on who looks on.
            left.random.0 ^= self.ops.rotate_right(20);
            left.stop(process, parts, &act);
            stops.push((process, left));
            self.stops = Some(stops);
        }
        if self.ops == self.stop_at {
            self.stop(process, parts, &act);
        } else {
            return act(self, parts);
        }
        self.alive(process)
    }

    fn stop(&mut self, process: u64, parts: u64, act: &impl Fn(&mut Self, u64) -> io::Result<()>) {
        let done = self.random.below(parts + 1);
        if done > 0 {
            let _ = act(self, done); // nobody is there to hear of a full disk
        }
        self.stopped.insert(process);
    }

    /// Counts an operation that is done or not, and does it.
    pub fn whole(&mut self, process: u64, act: impl Fn(&mut Self)) -> io::Result<()> {
        self.operate(process, 1, |disk, _| {
            act(disk);
            Ok(())
        })
    }

    /// A file to be changed.
    pub fn inode(&mut self, inode: u64) -> Option<&mut Inode> {
        self.inodes.get_mut(&inode).map(Arc::make_mut)
    }

    pub fn lose_power(&mut self) {
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
        for inode in self.inodes.values_mut().filter(|i| !i.changes.is_empty()) {
            Arc::make_mut(inode).lose_power(&mut self.random);
        }
    }

    pub fn change_name(&mut self, dir: &Path, gone: Option<&Path>, made: Option<(&Path, u64)>) {
        let change = NameChange {
            dir: dir.as_os_str().into(),
            gone: gone.map(|p| p.as_os_str().into()),
            made: made.map(|(p, i)| (p.as_os_str().into(), i)),
        };
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl NameChange {
    pub fn apply(&self, names: &mut Names) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, inode)) = &self.made {
            names.insert(Arc::clone(path), *inode);
        }
    }
}

impl Inode {
    pub fn change(&mut self, change: Change) {
        apply(&mut self.data, &change);
        self.changes.push(change);
    }

    pub fn sync(&mut self) {
        for change in self.changes.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    pub fn lose_power(&mut self, random: &mut Random) {
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
