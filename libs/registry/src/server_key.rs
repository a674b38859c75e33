//! `data/secret.key`: the 32 random bytes that enrolment secrets are computed from. Whoever comes first makes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::enrolments::ServerKey;

/// The file's name in the data folder.
pub const FILE: &str = "secret.key";

/// The key in this data folder; `None` if there is none yet. A file of any other length is an error, never replaced:
/// with it every secret that was ever handed out would be worthless.
pub fn read(data: &Path) -> io::Result<Option<ServerKey>> {
    let file = match File::open(data.join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::with_capacity(33);
    file.take(33).read_to_end(&mut bytes)?;
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} does not hold 32 bytes"));
    bytes.try_into().map(|key| Some(ServerKey(key))).map_err(wrong)
}

/// The key in this data folder, made if there is none. Two who make it at once get the same one.
pub fn read_or_make(data: &Path) -> io::Result<ServerKey> {
    if let Some(key) = read(data)? {
        return Ok(key);
    }
    crate::folder::make_private(data)?;
    let key = random()?;
    let mut name = [0u8; 8];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let temporary = data.join(format!("{FILE}.{:016x}", u64::from_ne_bytes(name)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&key.0)?;
    file.sync_all()?;
    // A link fails where a rename would replace the key of whoever was faster.
    let linked = fs::hard_link(&temporary, data.join(FILE));
    fs::remove_file(&temporary)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => File::open(data)?.sync_all()?,
    }
    read(data)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{FILE} has vanished")))
}

/// A key that nobody has a secret of.
pub fn random() -> io::Result<ServerKey> {
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(ServerKey(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_key_whoever_asks() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(read(&data).unwrap().is_none());
        let keys: Vec<[u8; 32]> = std::thread::scope(|s| {
            let all: Vec<_> = (0..8).map(|_| s.spawn(|| read_or_make(&data).unwrap().0)).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|w| w.first() == w.last()) && keys.first() != Some(&[0; 32]));
        assert_eq!(fs::metadata(data.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing else is left behind");
        for bad in [&b"short"[..], &[1; 33]] {
            fs::write(data.join(FILE), bad).unwrap();
            assert!(read(&data).is_err() && read_or_make(&data).is_err());
        }
    }
}
