//! Which machines a probe is about.

use crate::value::Val;

/// Conditions on the event's machine. Within a list any will do, between lists all must hold; an empty list is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are the keys of `scope` in the configuration")]
pub struct Scope {
    pub platforms: Vec<String>,
    pub units: Vec<String>,
    pub tags: Vec<String>,
    pub not_platforms: Vec<String>,
    pub not_units: Vec<String>,
    pub not_tags: Vec<String>,
}

impl Scope {
    /// Does it hold for everything?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Does it hold for the machine of this event? An event without a machine has no platform, unit or tag.
    pub fn holds(&self, event: &Val) -> bool {
        if self.is_empty() {
            return true;
        }
        let machine = event.get("machine");
        let text = |key: &str| machine.and_then(|m| m.get(key)).and_then(Val::as_str);
        let one = |list: &[String], value: Option<&str>| value.is_some_and(|v| list.iter().any(|item| item == v));
        let tags = machine.and_then(|m| m.get("tags")).and_then(Val::as_array).unwrap_or_default();
        let tagged = |list: &[String]| tags.iter().any(|tag| one(list, tag.as_str()));
        let (platform, unit) = (text("platform"), text("unit"));
        (self.platforms.is_empty() || one(&self.platforms, platform))
            && (self.units.is_empty() || one(&self.units, unit))
            && (self.tags.is_empty() || tagged(&self.tags))
            && !one(&self.not_platforms, platform)
            && !one(&self.not_units, unit)
            && !tagged(&self.not_tags)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn lists_are_or_and_between_them_and() {
        let event = crate::parse(br#"{"machine":{"platform":"macos","unit":"berlin","tags":["vip","lab"]}}"#).unwrap();
        let bare = crate::parse(b"{}").unwrap();
        let list = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let scope = |p: &str, u: &str, t: &str, np: &str, nu: &str, nt: &str| Scope {
            platforms: list(p),
            units: list(u),
            tags: list(t),
            not_platforms: list(np),
            not_units: list(nu),
            not_tags: list(nt),
        };
        for (scope, holds, holds_bare) in [
            (scope("", "", "", "", "", ""), true, true),
            (scope("linux macos", "berlin", "vip x", "", "", ""), true, false),
            (scope("linux", "", "", "", "", ""), false, false),
            (scope("", "paris", "", "", "", ""), false, false),
            (scope("", "", "x", "", "", ""), false, false),
            (scope("macos", "", "", "", "", "lab"), false, false),
            (scope("", "", "", "macos", "", ""), false, true),
            (scope("", "", "", "linux", "berlin", ""), false, true),
        ] {
            assert_eq!((scope.holds(&event), scope.holds(&bare)), (holds, holds_bare), "{scope:?}");
        }
    }
}
