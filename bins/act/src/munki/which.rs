//! Which manifest is a machine's own, and whether it is of that machine alone.

use super::repo::{Repo, is_name};
use super::{Fault, chain};

/// The manifest that every machine gets that has none of its own.
pub const SITE_DEFAULT: &str = "site_default";

/// Which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Named(String),
    /// The machine's own: of its serial number; where host names are believed, else of the host name, whole or up to the
    /// first point. A machine may call itself what it likes, also as another's serial number.
    Of {
        /// The serial number.
        serial: Option<String>,
        /// The host name, if it is believed.
        hostname: Option<String>,
    },
}

impl Which {
    /// The name of the manifest itself. `shared`: one that is named may be used by others as well, which that of a machine
    /// may never; `or_none`: it need not be there yet.
    pub fn manifest(&self, repo: &Repo, shared: bool, or_none: bool) -> Result<String, Fault> {
        let mut names = match self {
            Self::Named(name) => vec![name.clone()],
            Self::Of { serial, hostname } => names_of(serial.as_deref(), hostname.as_deref()),
        };
        // What a machine says of itself names no folder, and one odd name does not hide the other.
        let may_be = |name: &String| is_name(name) && (matches!(self, Self::Named(_)) || !name.contains('/'));
        if let (Some(odd), false) = (names.first(), names.iter().any(may_be)) {
            return Err(Fault::ForGood(format!("`{}` is no name of a manifest", crate::call::one_line(odd, 100))));
        }
        names.retain(may_be);
        let name = match self {
            Self::Named(name) => repo.manifest(name)?.map_or_else(|| name.clone(), |found| repo.name_of(&found)),
            Self::Of { .. } => own(repo, &names, or_none)?,
        };
        let named = matches!(self, Self::Named(_));
        if !(shared && named) {
            // Some file systems do not tell letters of both sizes apart.
            let by = match name.as_str() {
                name if name.eq_ignore_ascii_case(SITE_DEFAULT) => {
                    Some("every machine without one of its own gets it".to_owned())
                }
                other if !names.contains(&name) => Some(format!("`{}` is a link to `{other}`", names.join("`, `"))),
                name => chain::used_by(repo, name, &names)?.map(|by| format!("`{by}` uses it")),
            };
            if let Some(by) = by {
                let allows = if named { "`shared = true` allows it" } else { "only `manifest` could name it" };
                let why = format!("it is not of one machine alone: {by} ({allows})");
                return Err(Fault::for_good(repo.path(&name), why));
            }
        }
        Ok(name)
    }
}

/// The names that a machine's own manifest may have.
fn names_of(serial: Option<&str>, hostname: Option<&str>) -> Vec<String> {
    let short = hostname.and_then(|name| name.split('.').next());
    let mut names: Vec<String> = Vec::new();
    for name in [serial, hostname, short].into_iter().flatten() {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The machine's own manifest. Munki looks for the host name before the serial number, so where there are both, only who
/// knows the machine's `ClientIdentifier` can say which one it uses. `or_none`: it need not be there yet.
fn own(repo: &Repo, names: &[String], or_none: bool) -> Result<String, Fault> {
    let mut there: Vec<String> = Vec::new();
    for name in names {
        if let Some(real) = repo.manifest(name)?.map(|found| repo.name_of(&found))
            && !there.contains(&real)
        {
            there.push(real);
        }
    }
    let paths = |names: &[String], between: &str| {
        let all: Vec<String> = names.iter().map(|name| repo.path(name)).collect();
        all.join(between)
    };
    match (there.as_slice(), names.first()) {
        ([name], _) => Ok(name.clone()),
        ([], Some(name)) if or_none => Ok(name.clone()),
        ([], Some(_)) => {
            Err(Fault::ForGood(format!("there is no {} (`create = true` makes one)", paths(names, ", no "))))
        }
        ([], None) => Err(Fault::ForGood("the machine has no name that a manifest could have".to_owned())),
        (several, _) => {
            let all = paths(several, " and ");
            Err(Fault::ForGood(format!("there are {all}: say with `manifest` which one the machine uses")))
        }
    }
}
