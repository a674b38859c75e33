//! The files of a repository: named safely, read within bounds, written whole or not at all.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, FlockOperation, Gid, OFlags, Uid, fchown, flock};
use rustix::io::Errno;

use super::Fault;

/// Bytes of a manifest.
const MANIFEST_MAX: u64 = 4 << 20;
/// Bytes of a catalog.
pub const CATALOG_MAX: u64 = 64 << 20;
/// Characters of a manifest's name, and folders in it.
const NAME_MAX: usize = 255;
const PARTS_MAX: usize = 8;
/// Files that are looked at to find who includes a manifest.
const FILES_MAX: usize = 100_000;
/// How often a list that ends too early is looked at again, and the time between.
const LOOKS: usize = 2;
const BETWEEN: Duration = Duration::from_millis(100);
/// Only while it is younger than this.
const FRESH: Duration = Duration::from_secs(60);
/// Mode of a manifest that is made.
const NEW_MODE: u32 = 0o644;

/// Whether this may be the name of a manifest or a catalog: parts with `/` between them, none of which leads elsewhere
/// or is hidden.
pub fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.trim() == part;
    let plain = |c: char| !c.is_control() && c != '\\' && !('\u{202a}'..='\u{202e}').contains(&c);
    name.len() <= NAME_MAX
        && name.split('/').count() <= PARTS_MAX
        && name.split('/').all(part)
        && name.chars().all(plain)
}

/// A repository: the folder that holds `manifests` and `catalogs`.
#[derive(Debug, Clone)]
pub struct Repo {
    /// The folder of manifests, without links.
    manifests: PathBuf,
    /// The folder itself, without links.
    root: PathBuf,
}

/// Nobody else who asks changes a manifest while this lives.
pub struct Lock(#[expect(dead_code, reason = "it is held")] File);

/// A file as it was read.
pub struct Found {
    /// What it holds.
    pub text: String,
    real: PathBuf,
    meta: Metadata,
}

/// What came of writing.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Yes,
    /// Somebody changed the file after it was read: read it again.
    Stale,
}

impl Repo {
    /// Looks where it is now: it may be a share that comes and goes.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let real = |path: &Path| path.canonicalize().map_err(|e| Fault::now(path.display(), e));
        let root = real(path)?;
        let manifests = real(&path.join("manifests"))?;
        if !manifests.starts_with(&root) {
            return Err(Fault::for_good(path.join("manifests").display(), "it leads out of the repository"));
        }
        Ok(Self { manifests, root })
    }

    /// Whether manifests could be written.
    pub fn try_out(&self) -> Result<(), Fault> {
        let access = rustix::fs::access(&self.manifests, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
        access.map_err(|e| Fault::now(self.manifests.display(), e))
    }

    /// Waits until nobody else changes manifests.
    pub fn lock(&self) -> Result<Lock, Fault> {
        let fault = |e: &dyn std::fmt::Display| Fault::now(self.manifests.display(), e);
        let folder = File::open(&self.manifests).map_err(|e| fault(&e))?;
        match flock(&folder, FlockOperation::LockExclusive) {
            // A file system without locks on folders: nobody else can be kept away there.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::BADF | Errno::NOLCK | Errno::INVAL) => Ok(Lock(folder)),
            Err(e) => Err(fault(&e)),
        }
    }

    /// A manifest; none if there is no such file.
    pub fn manifest(&self, name: &str) -> Result<Option<Found>, Fault> {
        self.read(&self.manifests, name, MANIFEST_MAX)
    }

    /// A catalog; none if there is no such file.
    pub fn catalog(&self, name: &str) -> Result<Option<Found>, Fault> {
        let folder = self.root.join("catalogs");
        match folder.canonicalize() {
            Ok(real) if real.starts_with(&self.root) => self.read(&real, name, CATALOG_MAX),
            Ok(_) => Err(Fault::for_good(folder.display(), "it leads out of the repository")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::now(folder.display(), e)),
        }
    }

    fn read(&self, folder: &Path, name: &str, max: u64) -> Result<Option<Found>, Fault> {
        if !is_name(name) {
            return Err(Fault::ForGood(format!("`{}` is no name of a file there", crate::call::one_line(name, 100))));
        }
        let path = folder.join(name);
        let of = self.shown(&path);
        let real = match path.canonicalize() {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // A link to nowhere is not the same as nothing.
                return if path.symlink_metadata().is_ok() {
                    Err(Fault::for_good(of, "it is a link to nowhere"))
                } else {
                    Ok(None)
                };
            }
            real => real.map_err(|e| Fault::now(&of, e))?,
        };
        if !real.starts_with(folder) {
            return Err(Fault::for_good(of, "it leads out of its folder"));
        }
        let (meta, bytes) = match settled(&real, max) {
            Ok(Some((_, bytes))) if bytes.len() as u64 > max => return Err(Fault::for_good(of, "it is too long")),
            Ok(Some(found)) => found,
            Ok(None) => return Err(Fault::for_good(of, "it is no regular file")),
            Err(e) => return Err(Fault::now(of, e)),
        };
        if bytes.starts_with(b"bplist") {
            return Err(Fault::for_good(of, "it is a binary property list; `plutil -convert xml1` makes it text"));
        }
        let text = String::from_utf8(bytes).map_err(|_| Fault::for_good(&of, "it is not UTF-8"))?;
        Ok(Some(Found { text, real, meta }))
    }

    /// Puts `text` in the place of what was read: a new file beside it, on disk, with the mode and the owner of the old
    /// one, then renamed. The lock is held.
    pub fn write(&self, found: &Found, text: &str) -> Result<Written, Fault> {
        let of = self.shown(&found.real);
        let same = || {
            let now = std::fs::metadata(&found.real);
            now.is_ok_and(|now| stamp(&now) == stamp(&found.meta))
        };
        self.replace(&found.real, text, Some(&found.meta), &same).map_err(|e| Fault::now(of, e))
    }

    /// Makes a manifest that is not there. Its folder must be.
    pub fn create(&self, name: &str, text: &str) -> Result<Written, Fault> {
        let path = self.manifests.join(name);
        let of = self.shown(&path);
        let fault = |e: std::io::Error| Fault::now(&of, e);
        let folder = path.parent().unwrap_or(&self.manifests).canonicalize().map_err(fault)?;
        if !is_name(name) || !folder.starts_with(&self.manifests) {
            return Err(Fault::for_good(of, "it leads out of its folder"));
        }
        self.replace(&path, text, None, &|| path.symlink_metadata().is_err()).map_err(fault)
    }

    /// Takes a manifest away again that was made a moment ago. The lock is held.
    pub fn take_back(&self, made: &Found) {
        // What stays is found by the next try.
        let _ = std::fs::remove_file(&made.real);
    }

    fn replace(
        &self,
        path: &Path,
        text: &str,
        like: Option<&Metadata>,
        still: &dyn Fn() -> bool,
    ) -> std::io::Result<Written> {
        let folder = path.parent().unwrap_or(&self.manifests);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = folder.join(format!(".{name}.zentral"));
        // Of a process that was killed here; the lock says that nobody is at it.
        let _ = std::fs::remove_file(&temp);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        let done = (|| {
            file.write_all(text.as_bytes())?;
            if let Some(like) = like {
                own(&file, like)?;
            }
            let mode = like.map_or(NEW_MODE, |like| like.permissions().mode() & 0o7777);
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            if !still() {
                return Ok(Written::Stale);
            }
            match like.map_or_else(|| std::fs::hard_link(&temp, path), |_| std::fs::rename(&temp, path)) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(Written::Stale),
                // A file system without links: what was looked at just now has to do.
                Err(_) if like.is_none() => std::fs::rename(&temp, path)?,
                done => done?,
            }
            if like.is_none() {
                // Nothing is there where it was renamed.
                let _ = std::fs::remove_file(&temp);
            }
            File::open(folder)?.sync_all()?;
            Ok(Written::Yes)
        })();
        if !matches!(done, Ok(Written::Yes)) {
            let _ = std::fs::remove_file(&temp);
        }
        done
    }

    /// The path of a manifest, from the repository on.
    pub fn path(&self, name: &str) -> String {
        self.shown(&self.manifests.join(name))
    }

    /// Whether a name stands somewhere in a manifest that is no text. What Munki could not read either mentions nothing: no
    /// regular file, or one outside of the folder.
    pub fn mentions(&self, manifest: &str, name: &str) -> Result<bool, Fault> {
        let path = self.manifests.join(manifest);
        let Ok(real) = path.canonicalize() else { return Ok(false) };
        if !real.starts_with(&self.manifests) {
            return Ok(false);
        }
        let found = look(&real, MANIFEST_MAX).map_err(|e| Fault::now(self.shown(&path), e))?;
        let holds = |bytes: &[u8]| bytes.windows(name.len().max(1)).any(|window| window == name.as_bytes());
        Ok(found.is_some_and(|(_, bytes)| holds(&bytes)))
    }

    /// The name of a manifest itself, where it was found by a link.
    pub fn name_of(&self, found: &Found) -> String {
        found.real.strip_prefix(&self.manifests).unwrap_or(&found.real).to_string_lossy().into_owned()
    }

    /// Where a manifest is, or would be made.
    pub fn place(&self, name: &str, found: Option<&Found>) -> PathBuf {
        found.map_or_else(|| self.manifests.join(name), |found| found.real.clone())
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The names of all manifests.
    pub fn names(&self) -> Result<Vec<String>, Fault> {
        let (mut names, mut folders) = (Vec::new(), vec![self.manifests.clone()]);
        while let Some(folder) = folders.pop() {
            let fault = |e| Fault::now(self.shown(&folder), e);
            for entry in std::fs::read_dir(&folder).map_err(fault)? {
                let path = entry.map_err(fault)?.path();
                let Some(name) = path.strip_prefix(&self.manifests).ok().and_then(Path::to_str) else { continue };
                let Ok(kind) = path.symlink_metadata() else { continue };
                if !is_name(name) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else {
                    names.push(name.to_owned());
                }
                if names.len() + folders.len() > FILES_MAX {
                    let why = format!("it holds more than {FILES_MAX} files");
                    return Err(Fault::for_good(self.shown(&self.manifests), why));
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// What a regular file holds once nobody is at it: who writes a list in its place is waited for a little.
fn settled(path: &Path, max: u64) -> std::io::Result<Option<(Metadata, Vec<u8>)>> {
    let mut found = look(path, max)?;
    let Some(first) = found.as_ref().map(|(meta, _)| stamp(meta)) else { return Ok(found) };
    let is_torn = |found: &Option<(Metadata, Vec<u8>)>| {
        let fresh = |meta: &Metadata| meta.modified().is_ok_and(|at| at.elapsed().map_or(true, |age| age < FRESH));
        let whole = |bytes: &[u8]| bytes.starts_with(b"bplist") || bytes.trim_ascii_end().ends_with(b"</plist>");
        found.as_ref().is_some_and(|(meta, bytes)| fresh(meta) && !whole(bytes))
    };
    for _ in 0..LOOKS {
        if !is_torn(&found) {
            return Ok(found);
        }
        std::thread::sleep(BETWEEN);
        found = look(path, max)?;
    }
    if is_torn(&found) && found.as_ref().is_none_or(|(meta, _)| stamp(meta) != first) {
        return Err(std::io::Error::other("somebody is writing it"));
    }
    Ok(found)
}

/// What a regular file holds, as far as one byte behind `max`; none: it is something else.
fn look(path: &Path, max: u64) -> std::io::Result<Option<(Metadata, Vec<u8>)>> {
    // Not blocking: opening a FIFO that nobody writes would never return.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok(Some((meta, bytes)))
}

/// The group is kept in any case, or who serves the repository might not read it any more; the owner if the system lets.
fn own(file: &File, like: &Metadata) -> std::io::Result<()> {
    let mine = file.metadata()?;
    let gid = (mine.gid() != like.gid()).then(|| Gid::from_raw(like.gid()));
    let uid = (mine.uid() != like.uid()).then(|| Uid::from_raw(like.uid()));
    if gid.is_some() {
        fchown(file, None, gid).map_err(|e| std::io::Error::other(format!("cannot keep its group: {e}")))?;
    }
    if uid.is_some() {
        let _ = fchown(file, uid, None);
    }
    Ok(())
}

fn stamp(meta: &Metadata) -> (u64, u64, u64, i64, i64) {
    (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn repo() -> (tempfile::TempDir, Repo) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("repo/manifests/groups")).unwrap();
        let repo = Repo::open(&dir.path().join("repo")).unwrap();
        (dir, repo)
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for name in ["C02", "groups/dev", "ada-mbp.example.com", "Ärzte 2", &"x".repeat(NAME_MAX)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/",
            ".hidden",
            "a/.git",
            "a\nb",
            "a\0b",
            "a\\b",
            " a",
            "a ",
            "a\u{202e}b",
            "a/b/c/d/e/f/g/h/i",
            &"x".repeat(NAME_MAX + 1),
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn links_do_not_lead_out() {
        let (dir, repo) = repo();
        let manifests = dir.path().join("repo/manifests");
        std::fs::write(dir.path().join("outside"), "x").unwrap();
        std::fs::write(manifests.join("groups/dev"), "y").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, manifests.join(name)).unwrap();
        link("../../outside", "out");
        link("groups/dev", "in");
        link("nowhere", "gone");
        link("../..", "up");
        let why = |name: &str| repo.manifest(name).map(|_| ()).unwrap_err();
        assert_eq!(why("out"), Fault::ForGood("manifests/out: it leads out of its folder".into()));
        assert!(why("up/outside").why().contains("leads out"));
        assert!(why("gone").why().contains("nowhere"));
        assert!(why("groups").why().contains("no regular file"));
        assert!(matches!(repo.create("up/new", "x"), Err(Fault::ForGood(_))));
        assert!(!dir.path().join("new").exists());
        let found = repo.manifest("in").unwrap().unwrap();
        assert_eq!(repo.write(&found, "z"), Ok(Written::Yes));
        assert_eq!(std::fs::read_to_string(manifests.join("groups/dev")).unwrap(), "z");
        assert!(manifests.join("in").symlink_metadata().unwrap().is_symlink(), "the link stays");
        std::fs::remove_dir_all(&manifests).unwrap();
        std::os::unix::fs::symlink("/tmp", &manifests).unwrap();
        assert!(matches!(Repo::open(&dir.path().join("repo")), Err(Fault::ForGood(_))));
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let (dir, repo) = repo();
        let path = dir.path().join("repo/manifests/C02");
        assert!(repo.manifest("C02").unwrap().is_none());
        std::fs::write(dir.path().join("repo/manifests/.C02.zentral"), "of a process that was killed").unwrap();
        assert_eq!(repo.create("C02", "one"), Ok(Written::Yes));
        assert_eq!(repo.create("C02", "two"), Ok(Written::Stale), "it is there already");
        let other = path.with_file_name("C03");
        let meanwhile = || std::fs::write(&other, "theirs").is_ok();
        assert_eq!(repo.replace(&other, "ours", None, &meanwhile).unwrap(), Written::Stale);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "theirs");
        std::fs::remove_file(other).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&path, Some(1234), Some(5678)).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        let found = repo.manifest("C02").unwrap().unwrap();
        assert_eq!(repo.write(&found, "two"), Ok(Written::Yes));
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o664);
        assert!(!is_root || (meta.uid(), meta.gid()) == (1234, 5678));
        repo.try_out().unwrap();
        assert_eq!(repo.write(&found, "three"), Ok(Written::Stale), "it is another file than was read");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let names: Vec<_> =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
        assert_eq!(repo.names().unwrap(), ["C02"]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let (dir, repo) = repo();
        let path = dir.path().join("repo/manifests/C02");
        for (bytes, says) in [
            (&b"bplist00\x00"[..], "plutil -convert xml1"),
            (b"\xff\xfe<\x00", "not UTF-8"),
            (&vec![b' '; 5 << 20], "too long"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let why = repo.manifest("C02").map(|_| ()).unwrap_err();
            assert!(matches!(&why, Fault::ForGood(why) if why.contains(says)), "{why:?}");
        }
    }

    #[test]
    fn who_writes_in_place_is_waited_for_a_little() {
        let (dir, repo) = repo();
        let path = dir.path().join("repo/manifests/C02");
        std::fs::write(&path, "<plist><dict>").unwrap();
        let half = repo.manifest("C02").unwrap().unwrap();
        assert_eq!(half.text, "<plist><dict>", "nobody is at it");
        let (other, mut file) = (path.clone(), OpenOptions::new().append(true).open(&path).unwrap());
        let thread = std::thread::spawn(move || {
            std::thread::sleep(BETWEEN / 2);
            file.write_all(b"</dict></plist>\n").unwrap();
        });
        let text = || repo.manifest("C02").map(|found| found.unwrap().text);
        let whole = Ok("<plist><dict></dict></plist>\n".to_owned());
        assert!((0..3).any(|_| text() == whole), "{:?}", text());
        thread.join().unwrap();
        std::fs::write(&path, "<plist>").unwrap();
        let (to, from) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(other).unwrap();
            while from
                .recv_timeout(Duration::from_millis(5))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                file.write_all(b"<dict>").unwrap();
            }
        });
        let busy = Err(Fault::Now("manifests/C02: somebody is writing it".into()));
        assert!((0..10).any(|_| text() == busy), "{:?}", text());
        drop(to);
        thread.join().unwrap();
    }

    #[test]
    fn a_second_writer_waits() {
        let (_dir, repo) = repo();
        let lock = repo.lock().unwrap();
        let other = repo.clone();
        let (to, from) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _lock = other.lock().unwrap();
            to.send(()).unwrap();
        });
        assert!(from.recv_timeout(std::time::Duration::from_millis(200)).is_err());
        drop(lock);
        from.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        thread.join().unwrap();
    }
}
