//! The names of the daily indices, `zentral-%Y.%m.%d`, from a day and back; or the one name of a data stream.

use event::Time;

use crate::index::day::Day;

/// The name unless `index` says otherwise.
pub const DEFAULT: &str = "zentral-%Y.%m.%d";
/// The name of a data stream unless `index` says otherwise.
pub const DEFAULT_STREAM: &str = "zentral";
/// Bytes of an index's name, as both clusters allow.
const NAME_MAX: usize = 255;

/// How the indices are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pattern: String,
    stream: bool,
}

impl Names {
    /// From the configuration; the error is a fragment for people.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        let bare = pattern.replace("%Y", "").replace("%m", "").replace("%d", "");
        let once = ["%Y", "%m", "%d"].iter().all(|part| pattern.matches(part).count() == 1);
        if !once || bare.contains('%') {
            return Err(format!("needs %Y, %m and %d once each, and no other %, as in {DEFAULT}"));
        }
        check(&bare, pattern)?;
        Ok(Self { pattern: pattern.to_owned(), stream: false })
    }

    /// The name of a data stream; the error is a fragment for people.
    pub fn stream(name: &str) -> Result<Self, String> {
        if name.contains('%') {
            return Err(format!("is the one name of a data stream, without %Y, %m and %d, as in {DEFAULT_STREAM}"));
        }
        check(name, name)?;
        Ok(Self { pattern: name.to_owned(), stream: true })
    }

    /// Whether all events go to one data stream.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// The index of a moment; a data stream's own name.
    pub fn of(&self, time: Time) -> String {
        let day = Day::of(time).to_string();
        let mut parts = day.splitn(3, '-');
        let mut name = self.pattern.clone();
        for part in ["%Y", "%m", "%d"] {
            name = name.replace(part, parts.next().unwrap_or_default());
        }
        name
    }

    /// The day of an index; none if it is not one of these.
    pub fn day(&self, name: &str) -> Option<Day> {
        if self.stream {
            return None;
        }
        let mut found = [None; 3];
        let (mut pattern, mut rest) = (self.pattern.as_str(), name);
        while let Some(c) = pattern.chars().next() {
            let place = ["%Y", "%m", "%d"].iter().position(|part| pattern.starts_with(part));
            let digits = match place {
                Some(0) => 4,
                Some(_) => 2,
                None => {
                    rest = rest.strip_prefix(c)?;
                    pattern = pattern.get(c.len_utf8()..)?;
                    continue;
                }
            };
            let (number, after) = rest.split_at_checked(digits)?;
            *found.get_mut(place?)? = Some(number);
            (rest, pattern) = (after, pattern.get(2..)?);
        }
        let [Some(year), Some(month), Some(day)] = found else { return None };
        rest.is_empty().then(|| Day::parse(&format!("{year}-{month}-{day}")))?
    }

    /// What stands for all of them.
    pub fn all(&self) -> String {
        self.pattern.replace("%Y", "*").replace("%m", "*").replace("%d", "*")
    }

    /// What begins all of them, for names of other things: `zentral`.
    pub fn stem(&self) -> &str {
        self.pattern.split('%').next().unwrap_or_default().trim_end_matches(['-', '_', '.', '+'])
    }
}

/// Which of the indices behind a data stream this is: the number that ends `.ds-zentral-2026.11.21-000007`.
pub fn generation(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Lower case, and no \ / * ? " < > | space , # :
/// (<https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create>).
fn check(bare: &str, whole: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.+".contains(c);
    if !bare.chars().all(fine) || !whole.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("is no name for an index: lower-case letters, digits, - _ . and a letter first".into());
    }
    if whole.len() + 4 > NAME_MAX {
        return Err(format!("is longer than {NAME_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_back() {
        for pattern in [DEFAULT, "hub_%d-%m-%Y", "a%Y%m%d.x"] {
            let names = Names::parse(pattern).unwrap();
            let time: Time = "2026-11-21T23:59:59.999Z".parse().unwrap();
            let name = names.of(time);
            assert_eq!(names.day(&name), Some(Day::of(time)), "{name}");
            for other in [format!("{name}1"), format!("x{name}"), name.replace("11", "13"), String::new()] {
                assert_eq!(names.day(&other), None, "{other}");
            }
        }
        let names = Names::parse(DEFAULT).unwrap();
        assert_eq!((names.all().as_str(), names.stem()), ("zentral-*.*.*", "zentral"));
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in [
            "",
            "zentral",
            "zentral-%Y",
            "zentral-%Y.%m.%d.%H",
            "Zentral-%Y.%m.%d",
            "%Y.%m.%d",
            "a/%Y%m%d",
            "a-%Y%Y%m%d",
        ] {
            assert!(Names::parse(pattern).is_err(), "{pattern}");
            assert!(pattern == "zentral" || Names::stream(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_data_stream_has_one_name() {
        let names = Names::stream("hub-events").unwrap();
        let time: Time = "2026-11-21T23:59:59.999Z".parse().unwrap();
        assert_eq!(
            (names.of(time), names.all().as_str(), names.stem()),
            ("hub-events".into(), "hub-events", "hub-events")
        );
        assert_eq!(names.day(".ds-hub-events-2026.11.21-000007"), None);
        for (name, number) in [(".ds-hub-events-2026.11.21-000007", 7), (".ds-hub-000123", 123), ("hub", 0)] {
            assert_eq!(generation(name), number, "{name}");
        }
    }
}
