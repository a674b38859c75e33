//! The disk as the code under test sees it: its files, names and locks.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{Entry, File, Fs, Guard, Mode};

use super::SimFs;
use super::disk::{Change, Disk, Inode};

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
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.with(|disk, inode| {
            disk.operate(self.fs.process, data.len() as u64, |disk, much| {
                let mut fit = usize::try_from(much).unwrap_or(data.len());
                if let Some(full) = &mut disk.full {
                    fit = fit.min(usize::try_from(*full).unwrap_or(fit));
                    *full -= fit as u64;
                }
                let now = disk.now_ms;
                if let Some(inode) = disk.inode(inode) {
                    inode.change(Change::Write(at, data.get(..fit).unwrap_or_default().to_vec()));
                    inode.modified_ms = now;
                }
                if fit < data.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
            })
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, inode| {
            let lie = disk.lie;
            disk.whole(self.fs.process, |disk| {
                if let (Some(inode), false) = (disk.inode(inode), lie) {
                    inode.sync();
                }
            })
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|disk, inode| {
            disk.whole(self.fs.process, |disk| {
                if let Some(inode) = disk.inode(inode) {
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
            if let Some(inode) = disk.inode(inode) {
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
        let found = disk.names.get(path.as_os_str()).copied();
        let inode = match (found, mode) {
            (None, Mode::Read) => return Err(ErrorKind::NotFound.into()),
            (None, _) => {
                let inode = disk.inodes.last_key_value().map_or(0, |(i, _)| i + 1);
                let now = disk.now_ms;
                disk.whole(self.process, |disk| {
                    disk.inodes.insert(inode, Arc::new(Inode { modified_ms: now, ..Inode::default() }));
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
                std::mem::take(&mut disk.name_changes).into_iter().partition(|c| *c.dir == *dir.as_os_str());
            disk.name_changes = open;
            done.iter().for_each(|c| c.apply(&mut disk.durable_names));
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.names.get(from.as_os_str()).copied().ok_or(ErrorKind::NotFound)?;
        disk.whole(self.process, |disk| {
            disk.change_name(to.parent().unwrap_or(Path::new("")), Some(from), Some((to, inode)))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if !disk.names.contains_key(path.as_os_str()) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.whole(self.process, |disk| {
            let freed =
                disk.names.get(path.as_os_str()).and_then(|i| disk.inodes.get(i)).map_or(0, |i| i.data.len() as u64);
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
        let here = disk.names.iter().filter(|(path, _)| Path::new(path).parent() == Some(dir));
        Ok(here
            .filter_map(|(path, inode)| {
                let inode = disk.inodes.get(inode)?;
                let name = Path::new(path).file_name()?.to_str()?.to_owned();
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
