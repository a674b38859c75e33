//! Script checks: what a machine runs, and what is expected of it.

use serde_json::Value;

use super::desk::{Ran, State};

/// A script that machines run now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// 8 hex digits of what it is: another script is another check.
    pub rev: String,
    /// The script, for zsh.
    pub source: String,
    /// What it is to print.
    pub expected: Expected,
    /// Time between two runs, in ms.
    pub every_ms: i64,
    /// Any of these, `arm64` or `x86_64`; empty: all.
    pub arch: Vec<String>,
    /// Versions of the system: all must hold.
    pub os: Vec<Bound>,
}

/// What a script is to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This text.
    Text(String),
    /// This number.
    Int(i64),
    /// This truth value.
    Bool(bool),
}

impl Expected {
    /// How the agent reads what was printed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "ZSH_STR",
            Self::Int(_) => "ZSH_INT",
            Self::Bool(_) => "ZSH_BOOL",
        }
    }

    /// As JSON.
    pub fn value(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Int(n) => (*n).into(),
            Self::Bool(b) => (*b).into(),
        }
    }
}

impl Check {
    /// What results name it by. Its revision is in it, so that the results of an older script are not taken for this
    /// one's.
    pub fn pk(&self) -> String {
        format!("{}/{}", self.name, self.rev)
    }

    /// Whether it is for a system of this version and processor.
    pub fn is_for(&self, version: &Version, arch: &str) -> bool {
        (self.arch.is_empty() || self.arch.iter().any(|own| own == arch)) && self.os.iter().all(|b| b.holds(version))
    }

    /// Whether it is time to run it again.
    pub fn is_due(&self, state: Option<&State>, now: i64) -> bool {
        let ran = state.and_then(|state| state.ran(&self.name)).filter(|ran| ran.rev == self.rev);
        // A clock that was set back must not put it off.
        !ran.is_some_and(|ran| (0..self.every_ms).contains(&now.saturating_sub(ran.at)))
    }
}

impl State {
    /// When and how this check ran last.
    pub fn ran(&self, name: &str) -> Option<&Ran> {
        self.checks.iter().find(|ran| ran.name == name)
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As expected.
    Ok,
    /// It could not be run.
    Unknown,
    /// It printed something else.
    Failed,
}

impl Status {
    /// The number that agents send.
    pub fn of(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Ok),
            200 => Some(Self::Unknown),
            300 => Some(Self::Failed),
            _ => None,
        }
    }

    /// The number that agents send.
    pub fn number(self) -> i64 {
        match self {
            Self::Ok => 0,
            Self::Unknown => 200,
            Self::Failed => 300,
        }
    }

    /// The word for events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Unknown => "UNKNOWN",
            Self::Failed => "FAILED",
        }
    }
}

/// A version of the system: major, minor, patch; what is not said is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// Reads `14`, `14.1` or `14.1.2`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut version = [0; 3];
        let mut parts = text.trim().split('.');
        for (place, part) in version.iter_mut().zip(parts.by_ref()) {
            *place = part.parse().ok()?;
        }
        parts.next().is_none().then_some(Self(version))
    }
}

/// One bound on a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    sign: &'static str,
    version: Version,
}

impl Bound {
    /// Reads a list of bounds: `>=14,<15`; the error is a lower-case fragment.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let parse = |part: &str| {
            let part = part.trim();
            let sign = [">=", "<=", ">", "<", "="].into_iter().find(|sign| part.starts_with(sign))?;
            Some(Self { sign, version: Version::parse(part.strip_prefix(sign)?)? })
        };
        let one = |part| parse(part).ok_or_else(|| format!("`{part}` is no bound such as >=14 or <15.2"));
        text.split(',').map(one).collect()
    }

    fn holds(&self, version: &Version) -> bool {
        match self.sign {
            ">=" => *version >= self.version,
            "<=" => *version <= self.version,
            ">" => *version > self.version,
            "<" => *version < self.version,
            _ => *version == self.version,
        }
    }
}

/// The processor that agents call so.
pub fn arch(name: &str) -> Option<&'static str> {
    match name.trim() {
        "arm64" | "aarch64" => Some("arm64"),
        "x86_64" | "amd64" => Some("x86_64"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn check(os: &str, arch: &[&str]) -> Check {
        Check {
            name: "a".into(),
            rev: "1".into(),
            source: "true".into(),
            expected: Expected::Bool(true),
            every_ms: 1000,
            arch: arch.iter().map(|a| (*a).to_owned()).collect(),
            os: if os.is_empty() { Vec::new() } else { Bound::list(os).unwrap() },
        }
    }

    #[test]
    fn versions_and_processors() {
        let holds = |os: &str, version: &str| check(os, &[]).is_for(&Version::parse(version).unwrap(), "arm64");
        assert!(holds(">=14,<15", "14.1") && holds(">=14,<15", "14") && !holds(">=14,<15", "15.0"));
        assert!(!holds("<=14.0.1", "14.1") && holds("=14.1", "14.1.0") && holds(" > 14 ", "14.0.1"));
        assert!(check("", &["arm64"]).is_for(&Version::parse("1").unwrap(), "arm64"));
        assert!(!check("", &["x86_64"]).is_for(&Version::parse("1").unwrap(), "arm64"));
        for bad in ["", "14", ">=", ">=14,", ">=abc", ">=1.2.3.4", "~14"] {
            assert!(Bound::list(bad).is_err(), "{bad}");
        }
        for bad in ["abc", "", "14.", "14.x", "1.2.3.4", "99999999999"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn due_again_when_time_has_passed_or_the_script_is_another() {
        let check = check("", &[]);
        let ran = |rev: &str, at| State {
            checks: vec![Ran { name: "a".into(), rev: rev.into(), status: Some(0), at }],
            ..State::default()
        };
        assert!(check.is_due(None, 5000) && check.is_due(Some(&State::default()), 5000));
        assert!(!check.is_due(Some(&ran("1", 4500)), 5000) && check.is_due(Some(&ran("1", 4000)), 5000));
        assert!(check.is_due(Some(&ran("2", 4500)), 5000));
        assert!(check.is_due(Some(&ran("1", 9000)), 5000), "the clock was set back");
    }
}
