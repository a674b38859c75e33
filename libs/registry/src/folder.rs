//! The data folder, by whomever it is made first.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes a folder and its missing parents, each for this user alone and durable in the one above. One that is there
/// stays as it is.
pub fn make_private(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_private(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        // Two may make it at once; a file of that name is an error.
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_it_makes_is_private_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        fs::create_dir(dir.path().join("there")).unwrap();
        fs::set_permissions(dir.path().join("there"), fs::Permissions::from_mode(0o750)).unwrap();
        make_private(&dir.path().join("there/a/data")).unwrap();
        make_private(&dir.path().join("there")).unwrap();
        assert_eq!((mode("there"), mode("there/a"), mode("there/a/data")), (0o750, 0o700, 0o700));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_private(&dir.path().join("file")).is_err());
    }
}
