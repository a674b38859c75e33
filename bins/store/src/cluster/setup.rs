//! `store setup`: the template, and what people look at it with; to where they belong, or as files.

use std::path::Path;

use pipe::StageError;

use super::Flavour;
use super::connection::{Connection, Target};
use super::import::import;
use super::names::Names;
use super::objects::objects;
use super::template::{self, Shape};

/// Where people look at what is stored.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// The address of Kibana or OpenSearch Dashboards, a space's path included.
    pub at: Option<String>,
    /// The hub's own, which links in them lead to.
    pub hub: Option<String>,
}

/// What is set up.
pub struct Of<'a> {
    /// The cluster.
    pub connection: &'a Connection,
    /// Its indices.
    pub names: &'a Names,
    /// Which of the two it is.
    pub flavour: Flavour,
    /// What the template is to say besides.
    pub shape: Shape,
    /// Where people look at it.
    pub pages: &'a Pages,
}

/// Writes all of it anew, or with a folder only files; what was done, a line each.
pub fn run(of: &Of<'_>, to: Option<&Path>) -> Result<Vec<String>, StageError> {
    let objects = objects(of.names, of.pages.hub.as_deref()).map_err(StageError::state)?;
    if let Some(dir) = to {
        let template = template::template(of.names, of.flavour, of.shape);
        let files = [("template.json", format!("{template:#}\n")), ("dashboards.ndjson", objects)];
        return files.into_iter().map(|(name, text)| file(&dir.join(name), &text)).collect();
    }
    let found = template::ensure(of.connection, of.names, of.flavour, of.shape, true);
    found.map_err(|e| StageError::unreachable(format!("the index template: {e}")))?;
    let who = of.flavour.dashboards();
    let pages = match &of.pages.at {
        Some(at) => {
            let connection = Connection::new(Target { hosts: vec![at.clone()], ..of.connection.target().clone() });
            let imported = import(&connection, of.flavour, &objects);
            let n = imported.map_err(|why| StageError::unreachable(format!("{who} at {at}: {why}")))?;
            format!("wrote {n} saved objects to {who} at {at}")
        }
        None => format!("no `dashboards` = the address of {who}: `--to DIR` writes the saved objects to a folder"),
    };
    Ok(vec![format!("wrote the index template {}", template::name(of.names)), pages])
}

fn file(path: &Path, text: &str) -> Result<String, StageError> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = made.and_then(|()| std::fs::write(path, text));
    written.map_err(|e| StageError::usage(format!("cannot write {}: {e}", path.display())))?;
    Ok(format!("wrote {}", path.display()))
}
