//! The table of an action to be pasted into `pipeline.toml`: the least one of its kind's page in `docs/actions/`, with the
//! values that somebody gave. A secret is never one of them: the table names the file or the variable that will hold it.

use pipe::config::{Config, is_name};
use serde::Serialize;
use shipped::actions::Page;
use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

/// Bytes of a value.
const VALUE_MAX: usize = 2000;

/// Where secrets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// A file for each, beside `pipeline.toml`.
    File,
    /// A variable for each, of the process `zentral up`.
    Env,
}

/// A value that may be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "TableField")]
pub struct Field {
    /// Its key in the table, with dots; of a contact with `contact.NAME` before it.
    pub key: String,
    /// What stands in the table. Of a list the values with commas.
    pub value: String,
    /// Several values with commas.
    pub list: bool,
}

/// Where a secret is to be put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "SecretPlace")]
pub struct Place {
    pub key: String,
    /// The file, from the folder of `pipeline.toml`; none: `env` is it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// A table that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    pub name: String,
    pub toml: String,
    pub fields: Vec<Field>,
    pub secrets: Vec<Place>,
}

/// The name that the action has on its page.
pub fn usual_name(page: &Page) -> &'static str {
    let header = page.table().lines().find_map(|line| line.strip_prefix("[action.")?.strip_suffix(']'));
    header.unwrap_or_default()
}

/// The table with this name and these values; a key that nobody says, or says nothing for, has that of the page. The
/// error is what to tell a person.
pub fn fill(
    config: &Config,
    page: &Page,
    name: &str,
    keep: Keep,
    said: impl Fn(&str) -> Option<String>,
) -> Result<Filled, String> {
    if !is_name(name) {
        return Err("A name has small letters, digits and `-`, at most 63, and begins with a letter or digit.".into());
    }
    let usual = usual_name(page);
    let text = page.table().replacen(&format!("[action.{usual}]"), &format!("[action.{name}]"), 1);
    // A comment that names it.
    let text = text.replace(&format!("act resume {usual}`"), &format!("act resume {name}`"));
    let mut table: DocumentMut = text.parse().map_err(|e| format!("The page of this kind has no table: {e}"))?;
    let mut filling = Filling { keep, said: &said, fields: Vec::new(), secrets: Vec::new(), wrong: None };
    for (group, tables) in table.iter_mut() {
        let Some(tables) = tables.as_table_like_mut() else { continue };
        let group = group.get().to_owned();
        if group == "contact" {
            // Who is known already stands in another place.
            let known: Vec<String> =
                tables.iter().map(|(who, _)| who.to_owned()).filter(|who| config.contacts.contains_key(who)).collect();
            known.iter().for_each(|who| drop(tables.remove(who)));
        }
        for (own, table) in tables.iter_mut() {
            let own = own.get().to_owned();
            let before = if group == "action" { String::new() } else { format!("{group}.{own}.") };
            if let Some(table) = table.as_table_like_mut() {
                filling.table(table, &before, &own);
            }
        }
    }
    let Filling { fields, secrets, wrong, .. } = filling;
    match wrong {
        Some(why) => Err(why),
        None => Ok(Filled { name: name.to_owned(), toml: format!("{}\n", table.to_string().trim()), fields, secrets }),
    }
}

struct Filling<'a> {
    keep: Keep,
    said: &'a dyn Fn(&str) -> Option<String>,
    fields: Vec<Field>,
    secrets: Vec<Place>,
    wrong: Option<String>,
}

impl Filling<'_> {
    /// `own`: the name of the action or the contact whose table it is, or is part of.
    fn table(&mut self, table: &mut dyn TableLike, before: &str, own: &str) {
        for (key, item) in table.iter_mut() {
            let key = format!("{before}{}", key.get());
            if let Item::Value(value) = item {
                self.value(value, key, own);
            }
        }
    }

    fn value(&mut self, value: &mut Value, key: String, own: &str) {
        match value {
            Value::String(_) if key == "kind" => {}
            Value::String(text) => {
                let text = self.other(&key).unwrap_or_else(|| text.value().clone());
                put(value, text.as_str().into());
                self.fields.push(Field { key, value: text, list: false });
            }
            Value::Array(list) if list.iter().all(Value::is_str) => {
                let old = || list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
                let text = self.other(&key).unwrap_or_else(old);
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                put(value, Value::Array(words.collect()));
                self.fields.push(Field { key, value: text, list: true });
            }
            Value::InlineTable(table) if is_secret(table) => {
                let (place, within) = self.place(&key, own);
                self.secrets.push(place);
                put(value, within.into());
            }
            Value::InlineTable(table) => self.table(table, &format!("{key}."), own),
            _ => {}
        }
    }

    /// What somebody says for a key.
    fn other(&mut self, key: &str) -> Option<String> {
        let text = (self.said)(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())?;
        if text.len() > VALUE_MAX {
            self.wrong.get_or_insert(format!("`{key}` has at most {VALUE_MAX} bytes here."));
        }
        Some(text)
    }

    /// Where the secret of this key goes, and what stands in the table for it.
    fn place(&self, key: &str, own: &str) -> (Place, InlineTable) {
        let last = key.rsplit('.').next().unwrap_or_default().to_lowercase();
        let (word, at) = match self.keep {
            Keep::File => ("file", format!("secrets/{own}.{last}")),
            Keep::Env => ("env", format!("{own}_{last}").replace('-', "_").to_uppercase()),
        };
        let within = InlineTable::from_iter([(word, at.as_str())]);
        let (file, env) = if self.keep == Keep::File { (Some(at), None) } else { (None, Some(at)) };
        (Place { key: key.to_owned(), file, env }, within)
    }
}

/// `{ env = "…" }` or `{ file = "…" }`.
fn is_secret(table: &InlineTable) -> bool {
    table.len() == 1 && table.iter().all(|(key, value)| matches!(key, "env" | "file") && value.is_str())
}

/// Another value, with the space and the comment of the old one.
fn put(old: &mut Value, new: Value) {
    let around = old.decor().clone();
    *old = new;
    *old.decor_mut() = around;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn filled(kind: &str, name: &str, keep: Keep, said: &[(&str, &str)]) -> Result<Filled, String> {
        let page = shipped::actions::page(kind).unwrap();
        let said = |key: &str| said.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned());
        fill(&Config::empty(None), &page, name, keep, said)
    }

    #[test]
    fn a_secret_is_named_and_never_there() {
        let slack = filled("slack", "slack-ops", Keep::File, &[("url", "https://hooks.slack.com/x")]).unwrap();
        let want = "[action.slack-ops]\nkind = \"slack\"\nurl  = { file = \"secrets/slack-ops.url\" }\n";
        assert_eq!((slack.toml.as_str(), slack.fields.len()), (want, 0));
        assert_eq!(slack.secrets.first().unwrap().file.as_deref(), Some("secrets/slack-ops.url"));
        let slack = filled("slack", "slack-secops", Keep::Env, &[]).unwrap();
        assert_eq!(slack.toml, shipped::actions::page("slack").unwrap().table(), "as its page has it");
    }

    #[test]
    fn values_are_given_and_cannot_be_more_than_values() {
        let said = [("channel", "C1\"\n[probe.x]\nfilter = \"true"), ("kind", "exec")];
        let bot = filled("slack-bot", "bot", Keep::Env, &said).unwrap();
        let table: toml_edit::DocumentMut = bot.toml.parse().unwrap();
        assert_eq!(table["action"]["bot"]["channel"].as_str(), Some("C1\"\n[probe.x]\nfilter = \"true"));
        assert_eq!((table["action"]["bot"]["kind"].as_str(), table.get("probe").is_none()), (Some("slack-bot"), true));
        for name in ["", "A b", "x]\n[probe.y", "../x"] {
            assert!(filled("slack", name, Keep::File, &[]).is_err(), "{name}");
        }
        assert!(filled("slack-bot", "b", Keep::File, &[("channel", &"x".repeat(VALUE_MAX + 1))]).is_err());
    }

    #[test]
    fn lists_and_tables_within_and_contacts() {
        let said =
            [("to", "ada, group:it"), ("smtp.url", "smtps://m.example.com"), ("contact.ada.email", "a@b.example")];
        let mail = filled("email", "mail", Keep::File, &said).unwrap();
        let table: toml_edit::DocumentMut = mail.toml.parse().unwrap();
        let action = &table["action"]["mail"];
        assert_eq!(action["to"].as_array().unwrap().len(), 2);
        assert_eq!(action["smtp"]["url"].as_str(), Some("smtps://m.example.com"));
        assert_eq!(action["smtp"]["password"]["file"].as_str(), Some("secrets/mail.password"));
        assert_eq!(table["contact"]["ada"]["email"].as_str(), Some("a@b.example"));
        let keys: Vec<&str> = mail.fields.iter().map(|field| field.key.as_str()).collect();
        assert_eq!(keys, ["contact.ada.email", "contact.ada.groups", "smtp.url", "smtp.user", "from", "to"]);
        let munki = filled("munki", "tidy", Keep::File, &[]).unwrap();
        assert!(munki.toml.contains("`zentral act resume tidy`"), "{}", munki.toml);
    }

    #[test]
    fn whoever_is_known_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, "version = 1\n[contact.ada]\nemail = \"ada@example.com\"\n").unwrap();
        let config = Config::load(&file, None).unwrap().0;
        let page = shipped::actions::page("pushover").unwrap();
        let push = fill(&config, &page, "push", Keep::File, |_| None).unwrap();
        assert!(push.toml.starts_with("[action.push]\n") && !push.toml.contains("contact"), "{}", push.toml);
    }
}
