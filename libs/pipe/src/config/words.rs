//! The small words of the configuration: names, times, sizes, secrets.

use std::path::PathBuf;
use std::time::Duration;

/// Whether this may be the name of a stage, topic, probe, action or unit: `[a-z0-9][a-z0-9-]{0,62}`, so that it can
/// become a path, a topic or a label as it is.
pub fn is_name(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.as_bytes().first().is_some_and(plain)
        && text.as_bytes().iter().all(|b| plain(b) || *b == b'-')
}

/// `"250ms"`, `"30s"`, `"10m"`, `"1h"`, `"7d"`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(ms)?))
}

/// `"10 KiB"`, `"64 MiB"`, `"2 GiB"`, `"1 TiB"`, also powers of ten (`"1 GB"`), in bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// A secret as the configuration names it; resolved by the stage that uses it. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the file.
    Literal(String),
    /// An environment variable.
    Env(String),
    /// A file; the white space at its end is not part of it.
    File(PathBuf),
}

/// The longest secret file that is read, in bytes.
const SECRET_MAX: u64 = 64 << 10;

impl Secret {
    /// The secret itself. The error names the variable or file, never a value.
    pub fn resolve(&self) -> Result<String, String> {
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set")),
            Self::File(path) => {
                let fail = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
                if std::fs::metadata(path).map_err(fail)?.len() > SECRET_MAX {
                    return Err(format!("{} is longer than {SECRET_MAX} bytes", path.display()));
                }
                Ok(std::fs::read_to_string(path).map_err(fail)?.trim_end().to_owned())
            }
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Secret(***)"),
            Self::Env(name) => write!(f, "Secret(env {name})"),
            Self::File(path) => write!(f, "Secret(file {})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, want) in
            [("250ms", Some(250)), ("30s", Some(30_000)), ("7d", Some(604_800_000)), ("1 h", Some(3_600_000))]
        {
            assert_eq!(parse_duration(text), want.map(Duration::from_millis), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "1.5h", "1w", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(parse_size("2 GiB"), Some(2 << 30));
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("2 Gib"), None);
        for (name, ok) in
            [("a", true), ("usb-1", true), ("-a", false), ("A", false), ("a_b", false), ("", false), ("../x", false)]
        {
            assert_eq!(is_name(name), ok, "{name}");
        }
        assert!(!is_name(&"a".repeat(64)));
        assert!(!format!("{:?}", Secret::Literal("hunter2".into())).contains("hunter2"));
    }
}
