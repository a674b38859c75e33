//! People: who is meant by the key `to` of an action, and how each of them is reached.

use super::words::Secret;
use super::{Config, Settings, nearest};

/// The most people that one action may tell.
const PEOPLE_MAX: usize = 1_000;
/// The longest mail address (RFC 5321, § 4.5.3.1.3: a path of 256 octets with its brackets).
const EMAIL_MAX: usize = 254;
/// The most digits of a telephone number (ITU-T E.164, § 6.1), and the fewest that make sense.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// `[contact.NAME]`.
#[derive(Debug, Clone)]
pub struct Contact {
    /// Mail address.
    pub email: Option<String>,
    /// Telephone number, E.164.
    pub phone: Option<String>,
    /// Key of a push service.
    pub push: Option<Secret>,
    /// Groups, addressed as `group:NAME`.
    pub groups: Vec<String>,
}

impl Contact {
    pub(super) fn read(table: &mut Settings) -> Self {
        let (email, phone) = (table.str("email"), table.str("phone"));
        if let Some(text) = email.as_deref().filter(|text| !is_email(text)) {
            table.fail("email", format!("`{text}` is no mail address"));
        }
        if let Some(text) = phone.as_deref().filter(|text| !is_phone(text)) {
            table.fail("phone", format!("`{text}` is no telephone number such as +4930123456 (E.164)"));
        }
        Self { email, phone, push: table.secret("push"), groups: table.strings("groups") }
    }
}

/// Somebody whom an action tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person<T> {
    /// Name of the contact; none where the address itself stands in `to`.
    pub contact: Option<String>,
    /// How they are reached.
    pub at: T,
}

/// One way to reach people.
#[derive(Debug, Clone, Copy)]
pub struct Channel<T> {
    /// What a contact has, for findings.
    pub what: &'static str,
    /// Takes it from a contact.
    pub of: fn(&Contact) -> Option<T>,
    /// Takes it from a word of `to`, where it may be written out.
    pub written: fn(&str) -> Option<T>,
}

/// By mail.
pub const EMAIL: Channel<String> = Channel {
    what: "mail address",
    of: |contact| contact.email.clone(),
    written: |word| is_email(word).then(|| word.to_owned()),
};
/// By telephone.
pub const PHONE: Channel<String> = Channel {
    what: "telephone number",
    of: |contact| contact.phone.clone(),
    written: |word| is_phone(word).then(|| word.to_owned()),
};
/// By a push service; its key is a secret, so that it is never written out.
pub const PUSH: Channel<Secret> =
    Channel { what: "key of a push service", of: |contact| contact.push.clone(), written: |_| None };

impl Config {
    /// Whom the key `to` of an action names: `group:NAME`, `contact:NAME` or just the name, or an address. Each person
    /// once, in the order of their names; of a group those who can be reached. Who is nobody is a finding.
    pub fn people<T: PartialEq>(&self, settings: &mut Settings, channel: &Channel<T>) -> Vec<Person<T>> {
        if !settings.has("to") {
            settings.required_str("to");
            return Vec::new();
        }
        let mut all: Vec<Person<T>> = Vec::new();
        for word in settings.strings("to") {
            match self.person(&word, channel) {
                Ok(found) => {
                    for person in found {
                        if !all.iter().any(|known| known.at == person.at) {
                            all.push(person);
                        }
                    }
                }
                Err(why) => settings.fail_word("to", &word, why),
            }
            if all.len() > PEOPLE_MAX {
                settings.fail("to", format!("names more than {PEOPLE_MAX} people"));
                break;
            }
        }
        all
    }

    fn person<T>(&self, word: &str, channel: &Channel<T>) -> Result<Vec<Person<T>>, String> {
        let what = channel.what;
        let reach = |name: &String, contact| Some(Person { contact: Some(name.clone()), at: (channel.of)(contact)? });
        if let Some(group) = word.strip_prefix("group:") {
            let members: Vec<_> = self.contacts.iter().filter(|(_, c)| c.groups.iter().any(|g| g == group)).collect();
            if members.is_empty() {
                let known = self.contacts.values().flat_map(|c| c.groups.iter().map(String::as_str));
                return Err(format!("no contact is in the group `{group}`{}", nearest(group, known)));
            }
            let found: Vec<_> = members.into_iter().filter_map(|(name, contact)| reach(name, contact)).collect();
            return if found.is_empty() { Err(format!("nobody in `{word}` has a {what}")) } else { Ok(found) };
        }
        let name = word.strip_prefix("contact:").unwrap_or(word);
        if let Some((name, contact)) = self.contacts.get_key_value(name) {
            return match reach(name, contact) {
                Some(person) => Ok(vec![person]),
                None => Err(format!("the contact `{name}` has no {what}")),
            };
        }
        match (channel.written)(word) {
            Some(at) => Ok(vec![Person { contact: None, at }]),
            None => {
                let near = nearest(name, self.contacts.keys().map(String::as_str));
                Err(format!("`{word}` is neither a contact nor a group (`group:NAME`){near}"))
            }
        }
    }
}

/// Whether this may be a mail address: somebody, `@`, somewhere, and nothing that a header or a command could trip over.
fn is_email(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || event::steers(c) || "<>()[],;:\"\\".contains(c);
    let parts = text.split_once('@');
    text.len() <= EMAIL_MAX
        && parts.is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains(odd)
}

/// Whether this is a number in the form of E.164: `+`, the country's code, the rest; digits only.
fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        PHONE_DIGITS.contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::config::render;

    fn config() -> Config {
        let contact = |email: &str, phone: Option<&str>, groups: &[&str]| Contact {
            email: Some(email.to_owned()),
            phone: phone.map(str::to_owned),
            push: None,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        };
        let mut config = Config::empty(None);
        config.contacts.insert("ada".into(), contact("ada@example.com", Some("+491700000000"), &["secops"]));
        config.contacts.insert("bob".into(), contact("bob@example.com", None, &["secops", "office"]));
        config
    }

    fn people<T: PartialEq + Clone>(to: &str, channel: &Channel<T>) -> Result<Vec<T>, String> {
        let words = [("to".to_owned(), to.to_owned())];
        let mut settings = Settings::from_words("action.a", "a", &words).unwrap();
        let found = config().people(&mut settings, channel);
        let findings = settings.finish();
        if findings.is_empty() { Ok(found.into_iter().map(|p| p.at).collect()) } else { Err(render(&findings)) }
    }

    #[test]
    fn who_is_meant() {
        let ada = || "ada@example.com".to_owned();
        let bob = || "bob@example.com".to_owned();
        for to in ["[\"group:secops\", \"ada\"]", "[\"contact:ada\", \"bob@example.com\"]"] {
            assert_eq!(people(to, &EMAIL), Ok(vec![ada(), bob()]), "{to}");
        }
        assert_eq!(people("[\"group:secops\", \"+15005550006\"]", &PHONE).unwrap(), ["+491700000000", "+15005550006"]);
        for (to, part) in [
            ("group:secopps", "no contact is in the group `secopps`; did you mean `secops`?"),
            ("group:office", "nobody in `group:office` has a telephone number"),
            ("bob", "the contact `bob` has no telephone number"),
            ("adda", "`adda` is neither a contact nor a group (`group:NAME`); did you mean `ada`?"),
            ("017012345", "neither a contact"),
        ] {
            let found = people(to, &PHONE).unwrap_err();
            assert!(found.contains(part), "{found}");
        }
        assert!(people("ada", &PUSH).unwrap_err().contains("has no key of a push service"));
    }

    #[test]
    fn addresses_and_numbers() {
        for (text, holds) in [
            ("ada@example.com", true),
            ("ada+hub@münchen.example", true),
            ("ada", false),
            ("ada@", false),
            ("a@b@c", false),
            ("a@b\r\nBcc: eve@x", false),
            ("Ada <a@b>", false),
            ("a@b,c@d", false),
            ("a\u{202e}@b", false),
        ] {
            assert_eq!(is_email(text), holds, "{text}");
        }
        for (text, holds) in [
            ("+4930123456", true),
            ("4930123456", false),
            ("+0301234567", false),
            ("+49 30 123456", false),
            ("+1", false),
        ] {
            assert_eq!(is_phone(text), holds, "{text}");
        }
    }
}
