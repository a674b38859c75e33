//! Who signs installers of macOS: whether they can, now and in a month. A warning: the hub runs without, and another machine
//! may have the files.

use event::Time;
use pipe::config::{Config, Finding};

/// Reads the certificate and its key.
pub fn look(config: &Config) -> Vec<Finding> {
    let Some(conf) = &config.signing else { return Vec::new() };
    let at = |key: &str, why: String| conf.settings.finding(key, why).map(Finding::warning);
    match enrol::signer(config) {
        Ok(None) => Vec::new(),
        Ok(Some(signer)) => signer.doubts(Time::now()).into_iter().filter_map(|why| at("cert", why)).collect(),
        Err(why) => {
            let (key, why) =
                why.strip_prefix("packages.sign.").and_then(|rest| rest.split_once(": ")).unwrap_or(("cert", &why));
            at(key, why.to_owned()).into_iter().collect()
        }
    }
}
