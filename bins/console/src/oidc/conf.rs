//! `oidc` of `[stage.console]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipe::config::{Secret, Settings};
use registry::users::Role;

/// The claim that holds the groups, if nothing else is said.
const GROUPS: &str = "groups";

/// All of it.
#[derive(Debug, Clone)]
pub struct Conf {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What it calls us.
    pub client: String,
    /// What it knows us by.
    pub secret: Secret,
    /// Certificate authorities beside the well-known ones.
    pub ca: Option<PathBuf>,
    /// The claim that holds the groups.
    pub groups: String,
    /// The groups that come in with a role of theirs.
    pub roles: Vec<(Role, Vec<String>)>,
    /// The groups whose viewers and editors see a unit; empty: all see all.
    pub units: BTreeMap<String, Vec<String>>,
}

impl Conf {
    /// Reads the table; what is wrong is said there.
    pub fn read(table: &mut Settings) -> Option<Self> {
        let (issuer, client) = (table.required_str("issuer"), table.required_str("client"));
        if !table.has("secret") {
            table.fail("", "needs the key `secret` = { env = \"NAME\" } or { file = \"PATH\" }");
        }
        let secret = table.secret("secret");
        if let Some(text) = &issuer
            && let Err(why) = remote::address(text)
        {
            table.fail("issuer", why);
        }
        let roles = [(Role::Admin, "admins"), (Role::Editor, "editors"), (Role::Viewer, "viewers")];
        let roles: Vec<_> = roles.into_iter().map(|(role, key)| (role, table.strings(key))).collect();
        let mut units = BTreeMap::new();
        if let Some(mut of) = table.table("units") {
            for unit in of.keys() {
                let groups = of.strings(&unit);
                units.insert(unit, groups);
            }
            table.absorb(of);
        }
        let named = roles.iter().any(|(_, groups)| !groups.is_empty());
        if (table.has("groups") || !units.is_empty()) && !named {
            table.fail("", "no group comes in: say which in `admins`, `editors` or `viewers`");
        }
        let groups = table.str("groups").unwrap_or_else(|| GROUPS.to_owned());
        let ca = table.path("ca");
        Some(Self { issuer: issuer?, client: client?, secret: secret?, ca, groups, roles, units })
    }

    /// Whether groups matter at all.
    pub fn by_group(&self) -> bool {
        self.roles.iter().any(|(_, groups)| !groups.is_empty())
    }

    /// What somebody in these groups may do and see; none: they do not come in by a group. An admin sees all; with `units`
    /// others see those whose groups they are in, and no others.
    pub fn given(&self, groups: &[String]) -> Option<(Role, Vec<String>)> {
        let is_in = |some: &[String]| some.iter().any(|group| groups.contains(group));
        let role = self.roles.iter().find(|(_, some)| is_in(some))?.0;
        if role == Role::Admin || self.units.is_empty() {
            return Some((role, Vec::new()));
        }
        let units: Vec<String> =
            self.units.iter().filter(|(_, some)| is_in(some)).map(|(unit, _)| unit.clone()).collect();
        (!units.is_empty()).then_some((role, units))
    }

    /// Its host, as people read it.
    pub fn host(&self) -> &str {
        let rest = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn conf(units: &[(&str, &[&str])]) -> Conf {
        let all = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
        Conf {
            issuer: "https://id.example.com/realm".into(),
            client: "zentral".into(),
            secret: Secret::Literal("s".into()),
            ca: None,
            groups: GROUPS.into(),
            roles: vec![
                (Role::Admin, all(&["secops"])),
                (Role::Editor, all(&["it"])),
                (Role::Viewer, all(&["staff", "it"])),
            ],
            units: units.iter().map(|(unit, groups)| ((*unit).to_owned(), all(groups))).collect(),
        }
    }

    #[test]
    fn what_groups_give() {
        let groups = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
        let all = conf(&[]);
        assert_eq!(all.host(), "id.example.com");
        for (given, role) in [
            (&["secops", "staff"][..], Some(Role::Admin)),
            (&["it"], Some(Role::Editor)),
            (&["staff"], Some(Role::Viewer)),
            (&["Secops", "other"], None),
            (&[], None),
        ] {
            assert_eq!(all.given(&groups(given)), role.map(|role| (role, Vec::new())), "{given:?}");
        }
        let some = conf(&[("berlin", &["b"]), ("rome", &["r", "it"])]);
        assert_eq!(some.given(&groups(&["secops", "b"])), Some((Role::Admin, Vec::new())), "an admin sees all");
        assert_eq!(some.given(&groups(&["it", "b"])), Some((Role::Editor, groups(&["berlin", "rome"]))));
        assert_eq!(some.given(&groups(&["staff", "b"])), Some((Role::Viewer, groups(&["berlin"]))));
        assert_eq!(some.given(&groups(&["staff"])), None, "who has no unit sees nothing, rather than all");
        assert_eq!(some.given(&groups(&["b"])), None, "a unit alone is no role");
    }
}
