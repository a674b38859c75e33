//! Files of filters and examples.

use std::io::Write as _;
use std::path::Path;

use pipe::StageError;

/// The text of a file.
pub fn read(path: &Path) -> Result<String, StageError> {
    std::fs::read_to_string(path).map_err(|e| StageError::usage(format!("{}: {e}", path.display())))
}

/// Puts another text into a file (or a new one): the old one or the new one is there, never a part of either.
pub fn replace(path: &Path, text: &str) -> Result<(), StageError> {
    let fail = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
    // A link stays a link.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut next = tempfile::Builder::new();
    let mut next = next.prefix(".zentral-").tempfile_in(folder).map_err(fail)?;
    next.write_all(text.as_bytes()).map_err(fail)?;
    let permissions = match std::fs::metadata(path) {
        Ok(old) => old.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    next.as_file().set_permissions(permissions).map_err(fail)?;
    next.as_file().sync_all().map_err(fail)?;
    next.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}
