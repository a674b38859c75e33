//! Connecting an action: the kinds there are, and of each the table to paste and where its secret goes. Nothing is written.

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;
use shipped::actions;

use super::Head;
use super::actions::whole;
use crate::answer::{Answer, Wrong};
use crate::api::{self, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::kinds::{Field, Keep, Place, fill, usual_name};
use crate::text;

/// A kind of action in the list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KindOfAction")]
pub struct Kind {
    kind: &'static str,
    what: &'static str,
    #[serde(skip)]
    markup: String,
}

/// Kinds that serve the same end.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KindsOfActions")]
pub struct Group {
    name: &'static str,
    kinds: Vec<Kind>,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "connect.html")]
#[schemars(rename = "Connect")]
pub struct Kinds {
    #[serde(skip)]
    head: Head,
    groups: Vec<Group>,
}

pub fn list(_: &App, asked: &Asked) -> Result<Answer, Wrong> {
    whole(asked)?;
    let kind = |(kind, what): (&'static str, &'static str)| Kind { kind, what, markup: text::markdown(what) };
    let group = |group: actions::Group| Group { name: group.name, kinds: group.kinds.into_iter().map(kind).collect() };
    let groups = actions::groups().into_iter().map(group).collect();
    Answer::page(asked, &Kinds { head: Head::new(asked, "Connect an action"), groups })
}

/// What is taken of a kind; people say its keys as well, as `set.KEY`.
pub const WORDS: &[Word] = &[
    Word::new("name", TEXT, "What the action is called; as the kind usually is").like("slack-secops"),
    Word::new(
        "secret",
        api::Kind::OneOf(&["file", "env"]),
        "Where its secret lies: in a file, or in a variable; a file",
    ),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "connect_one.html")]
#[schemars(rename = "ConnectOne")]
pub struct One {
    #[serde(skip)]
    head: Head,
    kind: String,
    name: String,
    /// The table to be pasted into `pipeline.toml`.
    toml: String,
    fields: Vec<Field>,
    secrets: Vec<Place>,
    /// The configuration in force has this action.
    here: bool,
    #[serde(skip)]
    title: &'static str,
    #[serde(skip)]
    prose: Vec<String>,
    #[serde(skip)]
    keys: Vec<(String, String)>,
    #[serde(skip)]
    in_env: bool,
    /// The folder of the configuration as a word for a shell, and its file.
    #[serde(skip)]
    folder: String,
    #[serde(skip)]
    file: String,
    /// Another action has this name.
    #[serde(skip)]
    taken: Option<String>,
    #[serde(skip)]
    error: Option<String>,
}

impl One {
    fn action_link(&self) -> String {
        format!("/actions/{}?do=try#try", text::part(&self.name))
    }

    fn many(&self) -> bool {
        self.secrets.len() > 1
    }
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    whole(asked)?;
    let (config, kind) = (app.live().config.clone(), asked.part("kind"));
    let page = actions::page(kind).ok_or_else(|| Wrong::not_found("kind of action"))?;
    let usual = usual_name(&page);
    let name = Some(asked.word("name")).filter(|name| !name.is_empty()).unwrap_or(usual);
    let keep = if asked.word("secret") == "env" { Keep::Env } else { Keep::File };
    let said = |key: &str| asked.query.get(&format!("set.{key}")).cloned();
    let (filled, error) = match fill(&config, &page, name, keep, said) {
        Ok(filled) => (filled, None),
        // What was wrong is told over the table as its page has it.
        Err(why) => (fill(&config, &page, usual, keep, |_| None).map_err(|why| Wrong::new(500, why, ""))?, Some(why)),
    };
    let running = config.actions.get(&filled.name).map(|table| table.peek("kind").unwrap_or_default().to_owned());
    let folder = std::path::absolute(&config.base).unwrap_or_else(|_| config.base.clone());
    let status = if error.is_some() { 400 } else { 200 };
    let shown = One {
        head: Head::new(asked, format!("Connect {kind}")),
        kind: kind.to_owned(),
        here: running.as_deref() == Some(kind),
        taken: running.filter(|running| running != kind),
        title: page.title(),
        prose: page.prose().into_iter().map(text::markdown).collect(),
        keys: page.keys().into_iter().map(|(key, what)| (text::markdown(key), text::markdown(what))).collect(),
        in_env: keep == Keep::Env,
        folder: format!("'{}'", folder.display().to_string().replace('\'', "'\\''")),
        file: config
            .file
            .as_deref()
            .and_then(|f| f.file_name())
            .map_or_else(|| "pipeline.toml".into(), |f| f.to_string_lossy().into_owned()),
        name: filled.name,
        toml: filled.toml,
        fields: filled.fields,
        secrets: filled.secrets,
        error,
    };
    Ok(Answer::page(asked, &shown)?.status(status))
}
