//! `[packages]`: what packages for machines are made with.

use std::path::PathBuf;

use super::{Secret, Settings};

/// `packages.sign`: who signs installers of macOS. The files are read by whoever signs.
#[derive(Debug, Clone)]
pub struct Signing {
    /// PEM: the signer's certificate, then those that vouch for it.
    pub cert: PathBuf,
    /// PEM: its key.
    pub key: Secret,
    /// The table, to say what is wrong with it.
    pub settings: Settings,
}

impl Signing {
    /// Reads the table.
    pub(super) fn read(packages: &mut Settings) -> Option<Self> {
        let mut table = packages.table("sign")?;
        for key in ["cert", "key"] {
            if !table.has(key) {
                table.fail("", format!("needs the key `{key}`"));
            }
        }
        let (cert, key) = (table.path("cert"), table.secret("key"));
        let settings = table.clone();
        packages.absorb(table);
        Some(Self { cert: cert?, key: key?, settings })
    }
}
