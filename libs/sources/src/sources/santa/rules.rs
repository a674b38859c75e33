//! Rules: what they may say, and how each version of Santa wants to hear it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A version of Santa: three numbers; zeros where it is not known, which is older than all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 3]);

impl Version {
    /// The first that says allow and block in place of white and black.
    pub const ALLOW: Self = Self([1, 14, 0]);
    /// The first that knows rules for teams.
    pub const TEAM: Self = Self([2021, 8, 0]);
    /// The first that calls the target of a rule its identifier.
    pub const IDENTIFIER: Self = Self([2022, 1, 0]);
    /// The first that knows rules for signing ids.
    pub const SIGNING: Self = Self([2023, 5, 0]);
    /// The first that asks what kind of sync it is; before it there is clean or not.
    pub const SYNC_TYPE: Self = Self([2024, 1, 0]);
    /// The first that knows rules for code directory hashes.
    pub const CDHASH: Self = Self([2024, 3, 0]);
    /// The first of which it is known that it takes the kind of a sync in capitals.
    pub const LETTERS: Self = Self([2025, 1, 0]);
    /// The first that knows rules that are programs.
    pub const CEL: Self = Self([2025, 6, 0]);

    /// `2025.6`, `1.13`; what is no number is 0.
    pub fn parse(text: &str) -> Self {
        let mut version = [0; 3];
        for (to, part) in version.iter_mut().zip(text.trim().split('.')) {
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| part.get(..end).unwrap_or(""));
            *to = digits.parse().unwrap_or(0);
        }
        Self(version)
    }
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum RuleType {
    Binary,
    Certificate,
    TeamId,
    SigningId,
    CdHash,
}

impl RuleType {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("BINARY", Self::Binary),
        ("CERTIFICATE", Self::Certificate),
        ("TEAMID", Self::TeamId),
        ("SIGNINGID", Self::SigningId),
        ("CDHASH", Self::CdHash),
    ];

    /// The word of the protocol.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, own)| *own == self).map_or("", |(word, _)| word)
    }

    /// The first version that knows it.
    fn since(self) -> Version {
        match self {
            Self::Binary | Self::Certificate => Version::default(),
            Self::TeamId => Version::TEAM,
            Self::SigningId => Version::SIGNING,
            Self::CdHash => Version::CDHASH,
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Policy {
    Allowlist,
    AllowlistCompiler,
    Blocklist,
    SilentBlocklist,
    Cel,
    Remove,
}

impl Policy {
    /// Those that a configuration may say.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ALLOWLIST", Self::Allowlist),
        ("ALLOWLIST_COMPILER", Self::AllowlistCompiler),
        ("BLOCKLIST", Self::Blocklist),
        ("SILENT_BLOCKLIST", Self::SilentBlocklist),
        ("CEL", Self::Cel),
    ];

    fn word(self, version: Version) -> &'static str {
        match (self, version < Version::ALLOW) {
            (Self::Allowlist, true) => "WHITELIST",
            (Self::AllowlistCompiler, true) => "WHITELIST_COMPILER",
            (Self::Blocklist, true) => "BLACKLIST",
            (Self::SilentBlocklist, true) => "SILENT_BLACKLIST",
            _ => Self::ALL.iter().find(|(_, own)| *own == self).map_or("REMOVE", |(word, _)| word),
        }
    }
}

/// Bytes of a program or a text of a rule.
pub const TEXT_MAX: usize = 16 << 10;

/// Bytes of an identifier that comes from elsewhere than a file.
const IDENTIFIER_MAX: usize = 1024;

/// The keys of a rule, each with the names by which it is said.
const KEYS: [(&str, &[&str]); 6] = [
    ("rule_type", &["rule_type", "type"]),
    ("identifier", &["identifier", "id", "sha256"]),
    ("policy", &["policy"]),
    ("custom_msg", &["custom_msg"]),
    ("custom_url", &["custom_url"]),
    ("cel_expr", &["cel_expr"]),
];

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What kind of thing it is about.
    pub rule_type: RuleType,
    /// Which one.
    pub identifier: String,
    /// What becomes of it.
    pub policy: Policy,
    /// What people read when it is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_msg: Option<String>,
    /// Where they read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_url: Option<String>,
    /// The program of a CEL rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel_expr: Option<String>,
}

impl Rule {
    /// What it is about.
    pub fn target(&self) -> (RuleType, &str) {
        (self.rule_type, &self.identifier)
    }

    /// The rule that takes this one away.
    pub fn removal(&self) -> Self {
        let identifier = self.identifier.clone();
        Self {
            rule_type: self.rule_type,
            identifier,
            policy: Policy::Remove,
            custom_msg: None,
            custom_url: None,
            cel_expr: None,
        }
    }

    /// A rule that somebody wrote as JSON, by the names of today or of before: `rule_type` or `type`, `identifier`, `id` or
    /// `sha256`, `BLOCKLIST` or `BLACKLIST`. The error is a fragment that names the key.
    pub fn read(json: &Value) -> Result<Self, String> {
        let object = json.as_object().ok_or("it is no object")?;
        if let Some(odd) = object.keys().find(|key| !KEYS.iter().flat_map(|(_, names)| *names).any(|name| name == key))
        {
            let own: Vec<&str> = KEYS.iter().map(|(own, _)| *own).collect();
            return Err(format!("`{odd}`: a rule has no such key (it has {})", own.join(", ")));
        }
        let text = |own: &str| -> Result<Option<String>, String> {
            let names = KEYS.iter().find(|(key, _)| *key == own).map_or(&[][..], |(_, names)| names);
            let mut said = names.iter().filter_map(|name| object.get(*name)).filter(|value| !value.is_null());
            match (said.next(), said.next()) {
                (None, _) => Ok(None),
                (Some(_), Some(_)) => Err(format!("`{own}`: it is said twice")),
                (Some(Value::String(text)), None) => Ok(Some(text.clone())),
                (Some(_), None) => Err(format!("`{own}`: it is no text")),
            }
        };
        let needed = |own: &str| text(own)?.ok_or_else(|| format!("`{own}`: it is missing"));
        let rule_type = needed("rule_type")?;
        let Some((_, rule_type)) = RuleType::ALL.into_iter().find(|(word, _)| *word == rule_type) else {
            let all = RuleType::ALL.map(|(word, _)| word).join(", ");
            return Err(format!("`rule_type`: it is none of {all}"));
        };
        let policy = needed("policy")?;
        let known =
            Policy::ALL.into_iter().find(|(word, own)| *word == policy || own.word(Version::default()) == policy);
        let Some((_, policy)) = known else {
            return Err(format!("`policy`: it is none of {}", Policy::ALL.map(|(word, _)| word).join(", ")));
        };
        let (identifier, custom_msg) = (needed("identifier")?, text("custom_msg")?);
        let (custom_url, cel_expr) = (text("custom_url")?, text("cel_expr")?);
        if identifier.len() > IDENTIFIER_MAX {
            return Err(format!("`identifier`: it is longer than {IDENTIFIER_MAX} bytes"));
        }
        let rule = Self { rule_type, identifier, policy, custom_msg, custom_url, cel_expr };
        for (key, said) in
            [("custom_msg", &rule.custom_msg), ("custom_url", &rule.custom_url), ("cel_expr", &rule.cel_expr)]
        {
            if said.as_ref().is_some_and(|said| said.len() > TEXT_MAX || said.contains('\0')) {
                return Err(format!("`{key}`: it is no text of at most {} KiB without NUL", TEXT_MAX >> 10));
            }
        }
        match rule.flaws().into_iter().next() {
            Some((key, why)) => Err(format!("`{key}`: {why}")),
            None => Ok(rule.plain()),
        }
    }

    /// What is wrong with it, by key.
    pub fn flaws(&self) -> Vec<(&'static str, String)> {
        let mut flaws = Vec::new();
        if let Some(wanted) = identifier_flaw(self.rule_type, &self.identifier) {
            let (identifier, kind) = (&self.identifier, self.rule_type.word());
            flaws.push(("identifier", format!("`{identifier}` is no {kind} identifier: {wanted}")));
        }
        for (key, said) in [("custom_msg", &self.custom_msg), ("custom_url", &self.custom_url)] {
            if said.is_some() && !matches!(self.policy, Policy::Blocklist | Policy::Cel) {
                let why = "is shown where something is blocked: the policy is neither BLOCKLIST nor CEL";
                flaws.push((key, why.to_owned()));
            }
        }
        match (self.policy == Policy::Cel, self.cel_expr.is_some()) {
            (true, false) => flaws.push(("policy", "a rule with the policy CEL needs the key `cel_expr`".to_owned())),
            (false, true) => flaws.push(("cel_expr", "belongs to the policy CEL".to_owned())),
            _ => {}
        }
        flaws
    }

    /// With its identifier as agents compare it: hashes are in small letters.
    pub fn plain(mut self) -> Self {
        if matches!(self.rule_type, RuleType::Binary | RuleType::Certificate | RuleType::CdHash) {
            self.identifier.make_ascii_lowercase();
        }
        self
    }

    /// Whether it may keep something from running.
    pub fn blocks(&self) -> bool {
        matches!(self.policy, Policy::Blocklist | Policy::SilentBlocklist | Policy::Cel)
    }

    /// Whether this version of Santa knows such a rule.
    pub fn is_known_to(&self, version: Version) -> bool {
        version >= self.rule_type.since() && (self.policy != Policy::Cel || version >= Version::CEL)
    }

    /// As this version of Santa wants to hear it.
    pub fn told(&self, version: Version) -> Value {
        let mut told = Map::new();
        told.insert("rule_type".into(), self.rule_type.word().into());
        let name = if version < Version::IDENTIFIER { "sha256" } else { "identifier" };
        told.insert(name.into(), self.identifier.as_str().into());
        told.insert("policy".into(), self.policy.word(version).into());
        let more = [("custom_msg", &self.custom_msg), ("custom_url", &self.custom_url), ("cel_expr", &self.cel_expr)];
        for (name, text) in more {
            if let Some(text) = text {
                told.insert(name.into(), text.as_str().into());
            }
        }
        told.into()
    }
}

/// What is wrong with an identifier of this type, if anything.
pub fn identifier_flaw(rule_type: RuleType, identifier: &str) -> Option<&'static str> {
    let hex = |n: usize| identifier.len() == n && identifier.bytes().all(|b| b.is_ascii_hexdigit());
    let team = |text: &str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let (fine, wanted) = match rule_type {
        RuleType::Binary | RuleType::Certificate => (hex(64), "64 hex digits, a SHA-256"),
        RuleType::CdHash => (hex(40), "40 hex digits"),
        RuleType::TeamId => (team(identifier), "the 10 letters and digits of a team"),
        RuleType::SigningId => {
            let fine = identifier.split_once(':').is_some_and(|(by, id)| {
                (by == "platform" || team(by)) && !id.trim().is_empty() && !id.chars().any(char::is_control)
            });
            (fine, "TEAM:ID or platform:ID")
        }
    };
    (!fine).then_some(wanted)
}

/// A set of rules, one for each target, with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    rules: Vec<Rule>,
    text: String,
    hash: [u8; 32],
}

impl Ruleset {
    /// Of rules for the same target the last one counts.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.reverse();
        rules.sort_by(|a, b| a.target().cmp(&b.target()));
        rules.dedup_by(|b, a| a.target() == b.target());
        // Plain structs with text in them: this cannot fail.
        let text = serde_json::to_string(&rules).unwrap_or_default();
        let hash = Sha256::digest(text.as_bytes()).into();
        Self { rules, text, hash }
    }

    /// What [`Ruleset::text`] gave.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self::new)
    }

    /// Its rules, by target.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// As it is kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of its text.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn rule(rule_type: RuleType, identifier: &str, policy: Policy) -> Rule {
        Rule {
            policy,
            ..Rule {
                rule_type,
                identifier: identifier.into(),
                policy,
                custom_msg: None,
                custom_url: None,
                cel_expr: None,
            }
        }
    }

    #[test]
    fn identifiers_fit_their_type() {
        let hex = |n| "aB0".repeat(n).chars().take(n).collect::<String>();
        for (kind, good) in [
            (RuleType::Binary, hex(64)),
            (RuleType::CdHash, hex(40)),
            (RuleType::TeamId, "EQHXZ8M8AV".into()),
            (RuleType::SigningId, "platform:com.apple.curl".into()),
            (RuleType::SigningId, "ABCDE12345:Frameworks[]Some Framework".into()),
        ] {
            assert_eq!(identifier_flaw(kind, &good), None, "{good}");
        }
        for (kind, bad) in [
            (RuleType::Binary, "abcde".to_owned()),
            (RuleType::Certificate, hex(40)),
            (RuleType::CdHash, hex(64)),
            (RuleType::TeamId, "EQHXZ8M8A".into()),
            (RuleType::SigningId, "com.apple.curl".into()),
            (RuleType::SigningId, "platform: ".into()),
            (RuleType::SigningId, "TEAM:x".into()),
        ] {
            assert!(identifier_flaw(kind, &bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_rule_is_read_by_old_names_and_new_ones() {
        let hex = "aB".repeat(32);
        let read = |text: &str| Rule::read(&serde_json::from_str(&text.replace("HEX", &hex)).unwrap());
        let want = rule(RuleType::Binary, &hex.to_lowercase(), Policy::Blocklist);
        for text in [
            r#"{"rule_type":"BINARY","identifier":"HEX","policy":"BLOCKLIST"}"#,
            r#"{"type":"BINARY","id":"HEX","policy":"BLACKLIST","custom_msg":null}"#,
            r#"{"rule_type":"BINARY","sha256":"HEX","policy":"BLOCKLIST"}"#,
        ] {
            assert_eq!(read(text), Ok(want.clone()), "{text}");
        }
        for (text, says) in [
            ("[1]", "no object"),
            (r#"{"rule_type":"BINARY","policy":"BLOCKLIST"}"#, "`identifier`: it is missing"),
            (r#"{"rule_type":"BINARY","identifier":7,"policy":"BLOCKLIST"}"#, "`identifier`: it is no text"),
            (r#"{"rule_type":"BINARY","identifier":"x","policy":"BLOCKLIST"}"#, "64 hex digits"),
            (r#"{"rule_type":"BINARY","identifier":"HEX","id":"HEX","policy":"BLOCKLIST"}"#, "said twice"),
            (r#"{"rule_type":"BUNDLE","identifier":"HEX","policy":"BLOCKLIST"}"#, "none of BINARY"),
            (r#"{"rule_type":"BINARY","identifier":"HEX","policy":"REMOVE"}"#, "none of ALLOWLIST"),
            (r#"{"rule_type":"BINARY","identifier":"HEX","policy":"BLOCKLIST","cel_expr":"true"}"#, "belongs to"),
            (r#"{"rule_type":"BINARY","identifier":"HEX","policy":"BLOCKLIST","colour":"red"}"#, "`colour`"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn each_version_hears_its_own_words() {
        let check = |version: &str, want: &str| {
            let rule = rule(RuleType::Binary, "ab", Policy::Blocklist);
            assert_eq!(rule.told(Version::parse(version)).to_string(), want, "{version}");
        };
        check("2026.2", r#"{"rule_type":"BINARY","identifier":"ab","policy":"BLOCKLIST"}"#);
        check("2021.8", r#"{"rule_type":"BINARY","sha256":"ab","policy":"BLOCKLIST"}"#);
        check("1.13", r#"{"rule_type":"BINARY","sha256":"ab","policy":"BLACKLIST"}"#);
        check("", r#"{"rule_type":"BINARY","sha256":"ab","policy":"BLACKLIST"}"#);
        for (kind, first, before) in [
            (RuleType::TeamId, "2021.8", "2021.7"),
            (RuleType::SigningId, "2023.5", "2023.4.9"),
            (RuleType::CdHash, "2024.3", "2024.2"),
        ] {
            let rule = rule(kind, "x", Policy::Allowlist);
            assert!(rule.is_known_to(Version::parse(first)) && !rule.is_known_to(Version::parse(before)), "{kind:?}");
        }
        let cel = rule(RuleType::Binary, "x", Policy::Cel);
        assert!(cel.is_known_to(Version::parse("2025.6")) && !cel.is_known_to(Version::parse("2025.5.9")));
    }

    #[test]
    fn a_set_is_the_same_in_any_order() {
        let (a, b) = (rule(RuleType::Binary, "a", Policy::Allowlist), rule(RuleType::TeamId, "b", Policy::Blocklist));
        let one = Ruleset::new(vec![a.clone(), b.clone()]);
        assert_eq!(one, Ruleset::new(vec![b.clone(), a.clone()]));
        assert_eq!(Ruleset::parse(one.text()).unwrap(), one);
        let twice = Ruleset::new(vec![a.clone(), a.removal()]);
        assert_eq!(twice.rules(), [a.removal()], "the last one counts");
        assert_eq!(one.find(&b.removal()), Some(&b));
    }
}
