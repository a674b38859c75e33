//! Who signs installers of macOS, as the configuration names them.

use std::path::PathBuf;

use event::Time;
use packages::{Identity, Unfit};
use pipe::config::{Config, Secret};

/// How long before its end a certificate is spoken of, in seconds: 30 days.
const SOON: i64 = 30 * 86_400;

/// A certificate with its key, and where it lies.
pub struct Signer {
    /// Who signs.
    pub identity: Identity,
    /// The file of the certificate.
    pub file: PathBuf,
}

/// Reads both files each time: they are small, and a certificate that is renewed is used at once.
///
/// # Errors
/// What is wrong, with the file or the variable; nothing of the key.
pub fn signer(config: &Config) -> Result<Option<Signer>, String> {
    let Some(conf) = &config.signing else { return Ok(None) };
    let file = conf.cert.clone();
    let pem = std::fs::read(&file).map_err(|e| format!("packages.sign.cert: {}: {e}", file.display()))?;
    let key = conf.key.resolve().map_err(|why| format!("packages.sign.key: {why}"))?;
    let identity = Identity::read(&pem, key.as_bytes()).map_err(|unfit| match unfit {
        Unfit::Certificate(why) => format!("packages.sign.cert: {}: {why}", file.display()),
        Unfit::Key(why) => format!("packages.sign.key: {}{why}", place(&conf.key)),
    })?;
    Ok(Some(Signer { identity, file }))
}

/// Where the key is, and nothing of it.
fn place(key: &Secret) -> String {
    match key {
        Secret::File(path) => format!("{}: ", path.display()),
        Secret::Env(name) => format!("the environment variable {name} "),
        Secret::Literal(text) if !text.contains("-----BEGIN") => {
            "the text is taken for the key itself (a file is { file = \"…\" }): ".to_owned()
        }
        Secret::Literal(_) => "the text ".to_owned(),
    }
}

impl Signer {
    /// Whether it may sign now.
    ///
    /// # Errors
    /// Why not, with the file.
    pub fn valid_at(&self, now: Time) -> Result<(), String> {
        let why = |why| format!("packages.sign.cert: {}: {why}; macOS would refuse the installer", self.file.display());
        self.identity.valid_at(now.ms() / 1000).map_err(why)
    }

    /// What is to be known of it: that it is over, or will be within a month; that macOS may refuse what it signs.
    pub fn doubts(&self, now: Time) -> Vec<String> {
        let seconds = now.ms() / 1000;
        let mut found: Vec<String> = self.identity.valid_at(seconds).err().into_iter().collect();
        let left = self.identity.ends() - seconds;
        if found.is_empty() && left < SOON {
            found.push(format!("the certificate expires in {} days", left / 86_400));
        }
        found.extend(self.identity.doubts().iter().map(|doubt| (*doubt).to_owned()));
        found.iter().map(|doubt| format!("{}: {doubt}", self.file.display())).collect()
    }
}
