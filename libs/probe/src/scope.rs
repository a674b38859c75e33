//! Which machines a probe is about.

use crate::value::Val;

/// Conditions on the event's machine. Within a list any will do, between lists all must hold; an empty list is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are the keys of `scope` in the configuration")]
pub struct Scope {
    pub platforms: Vec<String>,
    pub units: Vec<String>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub machines: Vec<String>,
    pub not_platforms: Vec<String>,
    pub not_units: Vec<String>,
    pub not_tags: Vec<String>,
    pub not_groups: Vec<String>,
    pub not_machines: Vec<String>,
}

/// Whichever is there first is the machine key.
pub(crate) const KEYS: [&str; 3] = ["serial_number", "hardware_uuid", "hostname"];

impl Scope {
    /// Does it hold for everything?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Does it hold for the machine of this event? An event without a machine has no platform, unit, tag,
    /// group or key.
    pub fn holds(&self, event: &Val) -> bool {
        if self.is_empty() {
            return true;
        }
        let machine = event.get("machine");
        let text = |key: &str| machine.and_then(|m| m.get(key)).and_then(Val::as_str);
        let one = |list: &[String], value: Option<&str>| value.is_some_and(|v| list.iter().any(|item| item == v));
        let words = |key: &str| machine.and_then(|m| m.get(key)).and_then(Val::as_array).unwrap_or_default();
        let any = |words: &[Val], list: &[String]| words.iter().any(|word| one(list, word.as_str()));
        let (platform, unit, tags, groups) = (text("platform"), text("unit"), words("tags"), words("groups"));
        let said = |value: &&Val| !matches!(value, Val::Null | Val::Bool(false));
        let key = KEYS.iter().find_map(|key| machine?.get(key).filter(said)).and_then(Val::as_str);
        (self.platforms.is_empty() || one(&self.platforms, platform))
            && (self.units.is_empty() || one(&self.units, unit))
            && (self.tags.is_empty() || any(tags, &self.tags))
            && (self.groups.is_empty() || any(groups, &self.groups))
            && (self.machines.is_empty() || one(&self.machines, key))
            && !one(&self.not_platforms, platform)
            && !one(&self.not_units, unit)
            && !any(tags, &self.not_tags)
            && !any(groups, &self.not_groups)
            && !one(&self.not_machines, key)
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
            ..Scope::default()
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

    #[test]
    fn groups_and_machines_are_lists_like_the_others() {
        let event = |machine: &str| crate::parse(format!(r#"{{"machine":{machine}}}"#).as_bytes()).unwrap();
        let named = event(r#"{"serial_number":"C02","hardware_uuid":"U1","hostname":"h","groups":["dev","ops"]}"#);
        let unnamed = event(r#"{"serial_number":null,"hostname":"h","groups":"dev"}"#);
        let list = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let scope = |g: &str, m: &str, ng: &str, nm: &str| Scope {
            groups: list(g),
            machines: list(m),
            not_groups: list(ng),
            not_machines: list(nm),
            ..Scope::default()
        };
        for (scope, holds, holds_unnamed) in [
            (scope("x ops", "", "", ""), true, false),
            (scope("x", "", "", ""), false, false),
            (scope("", "C02 h", "", ""), true, true),
            (scope("", "U1", "", ""), false, false),
            (scope("dev", "h", "", ""), false, false),
            (scope("", "", "dev", ""), false, true),
            (scope("", "", "", "C02"), false, true),
            (scope("", "", "x", "h"), true, false),
        ] {
            assert_eq!((scope.holds(&named), scope.holds(&unnamed)), (holds, holds_unnamed), "{scope:?}");
        }
    }
}
