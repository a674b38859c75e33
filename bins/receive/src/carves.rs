//! Carves of files: which are awaited, and the files that their blocks become. A carve grows as `SESSION.part`, with the
//! length of each block in `SESSION.got`, so that it goes on after a restart; when it is whole it is renamed.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Machine;
use registry::carves::{self, Carve};
use registry::db::{Db, DbError};
use sources::osquery::{Announced, Block, Finished, NotTaken, Scheduled};

use crate::conf::CarveLimits;

/// Carves of one machine that may be awaited or under way at a time.
const OPEN_MAX: usize = 20;
/// Carves of all machines that are remembered.
const ALL_MAX: usize = 10_000;
/// An awaited or unfinished carve that is not heard of for this long is given up; a finished one is forgotten, its file stays.
const KEPT_MS: i64 = 3_600_000;

/// All of them.
pub struct Carves {
    /// Where the files lie; none: no state is kept, and no carve taken.
    dir: Option<PathBuf>,
    all: Mutex<HashMap<String, Known>>,
}

struct Known {
    carve: Carve,
    /// For each block that is there its length and one; 0: it is not there.
    got: Vec<u32>,
    /// It is not in the database as it is.
    moved: bool,
}

impl Carves {
    /// Nothing is known yet.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, all: Mutex::default() }
    }

    /// What the state remembers, and which blocks lie on disk.
    pub fn load(&self, db: &Db) -> Result<(), DbError> {
        let mut all = self.all();
        for carve in carves::all(db)? {
            let blocks = carve.announced.map_or(0, |announced| announced.count);
            let mut got = vec![0; usize::try_from(blocks).unwrap_or(0)];
            let marks = self.path(&carve.session, "got").and_then(|path| fs::read(path).ok()).unwrap_or_default();
            let marks = marks.chunks_exact(4).map(|mark| mark.try_into().map_or(0, u32::from_le_bytes));
            got.iter_mut().zip(marks).for_each(|(got, mark)| *got = mark);
            all.insert(carve.session.clone(), Known { carve, got, moved: false });
        }
        Ok(())
    }

    /// A machine has scheduled one; true if it was not known.
    pub fn scheduled(&self, machine: &Machine, scheduled: &Scheduled, now: i64) -> bool {
        let key = machine.key().unwrap_or_default();
        let mut all = self.all();
        let own = || all.values().filter(|known| known.carve.machine == key);
        let open = own().filter(|known| known.carve.finished.is_none()).count();
        let known = own().any(|known| known.carve.carve == scheduled.carve);
        if self.dir.is_none() || known || open >= OPEN_MAX || all.len() >= ALL_MAX {
            return false;
        }
        let (Some(session), Ok(block)) = (random::<32>(), serde_json::to_string(machine)) else { return false };
        let carve = Carve {
            session: session.clone(),
            carve: scheduled.carve.clone(),
            machine: key.to_owned(),
            block,
            request: scheduled.request.clone(),
            path: scheduled.path.clone(),
            announced: None,
            moved: now,
            finished: None,
        };
        all.insert(session, Known { carve, got: Vec::new(), moved: true });
        true
    }

    /// Begins one, within the limits. The caller writes it down before it answers.
    pub fn start(
        &self,
        machine: &Machine,
        carve: &str,
        announced: Announced,
        limits: CarveLimits,
        now: i64,
    ) -> Result<(Carve, bool), NotTaken> {
        let Some(dir) = &self.dir else { return Err(NotTaken::Unknown) };
        let key = machine.key().unwrap_or_default();
        let mut all = self.all();
        let open = |known: &Known| if known.carve.finished.is_none() { known.carve.announced } else { None };
        let promised: u64 = all.values().filter_map(open).map(|announced| announced.size).sum();
        let mut own = all.values_mut().filter(|known| known.carve.machine == key);
        let known = own.find(|known| known.carve.carve == carve).ok_or(NotTaken::Unknown)?;
        let said = carves::Announced { count: announced.count, block_size: announced.block_size, size: announced.size };
        if let Some(before) = known.carve.announced {
            let same = before == said;
            return if same {
                Ok((known.carve.clone(), true))
            } else {
                Err(NotTaken::Wrong("it was announced otherwise"))
            };
        }
        if announced.size > limits.max {
            return Err(NotTaken::TooBig("carve is bigger than carves.max"));
        }
        registry::folder::make_private(dir).map_err(|_| NotTaken::Unavailable)?;
        let kept = finished_bytes(dir).map_err(|_| NotTaken::Unavailable)?;
        if kept.saturating_add(promised).saturating_add(announced.size) > limits.quota {
            return Err(NotTaken::TooBig("carves.quota is used up"));
        }
        known.carve.announced = Some(said);
        (known.carve.moved, known.moved) = (now, true);
        known.got = vec![0; usize::try_from(announced.count).unwrap_or(0)];
        Ok((known.carve.clone(), false))
    }

    /// Keeps a block; of two of the same number the longer one counts, else the first. Some: the carve is whole. One whose
    /// blocks are there and shorter than was announced never is.
    pub fn block(&self, block: &Block<'_>, now: i64) -> Result<Option<(Carve, Finished)>, NotTaken> {
        let mut all = self.all();
        let known = all.get_mut(block.session).ok_or(NotTaken::Unknown)?;
        let Some(said) = known.carve.announced else { return Err(NotTaken::Unknown) };
        if block.by.is_some_and(|by| by.key() != Some(&known.carve.machine)) {
            return Err(NotTaken::Unknown);
        }
        let announced = Announced { count: said.count, block_size: said.block_size, size: said.size };
        let bytes = announced.bytes_of(block.number).ok_or(NotTaken::Wrong("there is no such block"))?;
        if block.data.len() as u64 > bytes {
            return Err(NotTaken::Wrong("block is longer than was announced"));
        }
        let mark = u32::try_from(block.data.len() + 1).map_err(|_| NotTaken::Wrong("block is too long"))?;
        let number = usize::try_from(block.number).map_err(|_| NotTaken::Wrong("there is no such block"))?;
        if known.carve.finished.is_some() || known.got.get(number).is_none_or(|got| *got >= mark) {
            return Ok(None); // sent twice
        }
        let (part, got) = (self.path(block.session, "part"), self.path(block.session, "got"));
        let (Some(part), Some(got)) = (part, got) else { return Err(NotTaken::Unknown) };
        let failed = |e: io::Error| {
            tracing::warn!("a block of a carve cannot be kept: {e}");
            NotTaken::Unavailable
        };
        write_at(&part, block.data, block.number * said.block_size).map_err(failed)?;
        write_at(&got, &mark.to_le_bytes(), block.number * 4).map_err(failed)?;
        known.got.iter_mut().skip(number).take(1).for_each(|got| *got = mark);
        (known.carve.moved, known.moved) = (now, true);
        if known.got.contains(&0) {
            return Ok(None);
        }
        if known.got.iter().map(|mark| u64::from(mark.saturating_sub(1))).sum::<u64>() != said.size {
            return Err(NotTaken::Wrong("carve is shorter than was announced"));
        }
        let name = self.finish(&part, &got).map_err(|e| {
            // The block comes again, and with it another try.
            known.got.iter_mut().skip(number).take(1).for_each(|got| *got = 0);
            failed(e)
        })?;
        known.carve.finished = Some(now);
        let machine = serde_json::from_str(&known.carve.block).unwrap_or_default();
        let Carve { carve, request, path, .. } = known.carve.clone();
        let scheduled = Scheduled { carve, request, path };
        Ok(Some((known.carve.clone(), Finished { machine, scheduled, size: said.size, file: name })))
    }

    /// Durable, under a name of its own: the session is a secret.
    fn finish(&self, part: &Path, got: &Path) -> io::Result<String> {
        let Some(dir) = &self.dir else { return Err(io::ErrorKind::NotFound.into()) };
        let name = random::<12>().ok_or_else(|| io::Error::other("no random numbers"))?;
        OpenOptions::new().write(true).open(part)?.sync_all()?;
        fs::rename(part, dir.join(&name))?;
        File::open(dir)?.sync_all()?;
        let _ = fs::remove_file(got);
        Ok(name)
    }

    /// Writes down what is new, and gives up what was not heard of for long.
    pub fn flush(&self, db: &mut Db, now: i64) -> Result<(), DbError> {
        let mut all = self.all();
        let gone: Vec<String> =
            all.iter().filter(|(_, known)| known.carve.moved < now - KEPT_MS).map(|(key, _)| key.clone()).collect();
        for session in &gone {
            all.remove(session);
            for end in ["part", "got"] {
                let _ = self.path(session, end).map(fs::remove_file);
            }
        }
        let fresh: Vec<Carve> = all
            .values_mut()
            .filter_map(|known| std::mem::take(&mut known.moved).then(|| known.carve.clone()))
            .collect();
        drop(all);
        if fresh.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin()?;
        for carve in &fresh {
            carves::put(&mut tx, carve)?;
        }
        carves::forget(&mut tx, now - KEPT_MS)?;
        tx.commit()
    }

    fn path(&self, session: &str, end: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(format!("{session}.{end}")))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of what is finished: whoever fetched a file may remove it.
fn finished_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0u64;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if Path::new(&entry.file_name()).extension().is_none() {
            bytes = bytes.saturating_add(entry.metadata()?.len());
        }
    }
    Ok(bytes)
}

fn write_at(path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?.write_all_at(bytes, offset)
}

fn random<const N: usize>() -> Option<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    // A name that begins with a dash is a nuisance at a shell.
    Some(URL_SAFE_NO_PAD.encode(bytes).replace('-', "_"))
}
