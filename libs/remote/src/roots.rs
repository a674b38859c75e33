//! Certificate authorities beside the well-known ones: a `ca` of the configuration and `SSL_CERT_FILE`.

use std::path::{Path, PathBuf};

/// The longest file of certificates, in bytes.
const PEM_MAX: u64 = 4 << 20;

/// A file in PEM form.
pub struct Pem {
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The files to trust besides.
pub fn extra(ca: Option<&Path>) -> Result<Vec<Pem>, String> {
    let named = std::env::var_os("SSL_CERT_FILE").filter(|v| !v.is_empty()).map(PathBuf::from);
    ca.map(Path::to_owned).into_iter().chain(named).map(read).collect()
}

/// A file of certificates or keys, of at most 4 MiB.
pub fn read(path: PathBuf) -> Result<Pem, String> {
    let fail = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    if std::fs::metadata(&path).map_err(fail)?.len() > PEM_MAX {
        return Err(format!("{} is longer than {PEM_MAX} bytes", path.display()));
    }
    let bytes = std::fs::read(&path).map_err(fail)?;
    Ok(Pem { path, bytes })
}
