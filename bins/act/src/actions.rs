//! What there is to do, a file a kind. A test keeps the list in step with the files of this folder.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pipe::config::{Config, Files, Secret, Settings};
use registry::db::Home;
use serde_json::Value;

use crate::call::Call;
use crate::jq::Jq;
use crate::preset::Preset;

// actions: begin
pub mod email;
pub mod exec;
pub mod file;
pub mod http;
pub mod jamf;
pub mod munki;
pub mod osquery;
pub mod santa;
pub mod tag;
pub mod twilio;
// actions: end

/// Every kind that is code; presets are data for [`http`].
pub const ALL: &[Kind] = &[
    // list: begin
    email::KIND,
    exec::KIND,
    file::KIND,
    http::KIND,
    jamf::KIND,
    munki::KIND,
    osquery::KIND,
    santa::KIND,
    tag::KIND,
    twilio::KIND,
    // list: end
];

/// Stands for a secret that is not there in a dry run.
const STAND_IN: &str = "secret";

/// One kind of action.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// Whether a try that was cut off may be made again, unless the configuration says otherwise.
    pub repeatable: bool,
    /// How long one try may take, unless the configuration says otherwise.
    pub timeout: Duration,
    /// Whether it changes machines: then it has the brakes `max` and `never`.
    pub changes_machines: bool,
    /// Reads the keys of its own; what is wrong is said through the settings.
    pub read: fn(&mut Settings, &Reading<'_>) -> Option<Box<dyn Spec>>,
}

/// The text of a file that the configuration names: `None` if there is no such file, an error if it cannot be read.
/// It comes from the copy of the configuration that is in force.
pub type Texts = Arc<dyn Fn(&Path) -> Result<Option<String>, String> + Send + Sync>;

/// Texts beside the configuration at `path` (the file, or the folder of a copy), looked up each time.
pub fn texts_at(path: std::path::PathBuf) -> Texts {
    Arc::new(move |wanted| {
        let files = Files::open(&path).map_err(|finding| finding.to_string())?;
        found(files.read(wanted))
    })
}

/// Texts through these files, which remember what was read: so `up` knows what to copy.
pub fn texts_through(files: Files) -> Texts {
    Arc::new(move |wanted| found(files.read(wanted)))
}

fn found(text: Result<String, String>) -> Result<Option<String>, String> {
    match text {
        Err(why) if why == "no such file" => Ok(None),
        text => text.map(Some),
    }
}

/// What a kind may look at while it reads its settings.
pub struct Reading<'a> {
    /// The whole configuration: contacts, the folder of the file.
    pub config: &'a Config,
    /// Files beside it.
    pub texts: &'a Texts,
    /// The preset that was asked for.
    pub preset: Option<Preset>,
}

impl Reading<'_> {
    /// A jq program: a string ending in `.jq` is a path, anything else a program. Compiled here, to find mistakes.
    pub fn program(&self, settings: &mut Settings, key: &str) -> Option<Arc<str>> {
        let text = settings.str(key)?;
        let source = if text.ends_with(".jq") {
            let path = settings.base().join(&text);
            match (self.texts)(&path) {
                Ok(Some(source)) => source,
                Ok(None) => {
                    settings.fail(key, format!("{}: no such file", path.display()));
                    return None;
                }
                Err(why) => {
                    settings.fail(key, format!("{}: {why}", path.display()));
                    return None;
                }
            }
        } else {
            text
        };
        match crate::jq::check(&source) {
            Ok(()) => Some(source.into()),
            Err(why) => {
                settings.fail(key, why);
                None
            }
        }
    }
}

/// An action as it is configured: nothing is looked up or opened yet.
pub trait Spec: Send + Sync {
    /// Looks up its secrets and makes it ready. The error names a variable or a file, never a value.
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String>;

    /// Whom one match goes to, a delivery each. Most have one nameless target.
    fn targets(&self) -> Vec<String> {
        vec![String::new()]
    }

    /// Whether a try that was cut off may be made again, where this is a matter of more than the kind.
    fn repeatable(&self) -> Option<bool> {
        None
    }
}

/// What an action is opened with.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The jq of actions.
    pub jq: &'a Jq,
    /// `registry.db`, for kinds that write there.
    pub registry: &'a Home,
    /// Nothing will be sent: a secret that cannot be looked up need not be there.
    pub dry_run: bool,
}

impl Opening<'_> {
    /// The secret itself; in a dry run `stand_in` if it cannot be looked up.
    pub fn secret(&self, secret: &Secret, stand_in: &str) -> Result<String, String> {
        match secret.resolve() {
            Err(_) if self.dry_run => Ok(stand_in.to_owned()),
            resolved => resolved,
        }
    }
}

/// The end of one try.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
/// What is said of credentials that were tried.
pub type Trying<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
/// What would be sent.
pub type Showing<'a> = Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>>;

/// An action that is ready. It has no clock and no memory: when it is tried again is not its business.
pub trait Action: Send + Sync {
    /// Tries once. Whoever drops the future ends the try.
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a>;

    /// What [`Action::send`] would send, without secrets.
    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a>;

    /// Tries its credentials without telling anybody, for `check --online`; `None`: there is no such way.
    fn online(&self) -> Option<Trying<'_>> {
        None
    }

    /// Whether one match changes more than its own machine: each counts as a machine of its own for `max`.
    fn reaches_many(&self) -> bool {
        false
    }

    /// Whether what it notes of an incident's first delivery is needed for the later ones: each incident is told alone.
    fn keeps_reference(&self) -> bool {
        false
    }
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Done, later or never.
    pub verdict: Verdict,
    /// The other side's number: an HTTP status, an SMTP code, an exit code.
    pub status: Option<i64>,
    /// Why it is not done; a lower-case fragment without secrets.
    pub error: String,
    /// What is to be remembered of the incident: {id, link?, …}.
    pub reference: Option<Value>,
}

/// The three ends of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// Not now.
    Later {
        /// How long the other side asked us to wait.
        after: Option<Duration>,
        /// Whether it may have been done all the same: the answer did not arrive.
        unsure: bool,
    },
    /// It will never work.
    Never,
}

impl Answer {
    /// Done.
    pub fn done(status: Option<i64>) -> Self {
        Self { verdict: Verdict::Done, status, error: String::new(), reference: None }
    }

    /// With what is to be remembered of the incident.
    pub fn noting(self, reference: Value) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// The other side said: not now.
    pub fn later(status: Option<i64>, error: impl Into<String>) -> Self {
        Self { verdict: Verdict::Later { after: None, unsure: false }, status, error: error.into(), reference: None }
    }

    /// Nobody knows whether it was done.
    pub fn unsure(error: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Later { after: None, unsure: true },
            status: None,
            error: error.into(),
            reference: None,
        }
    }

    /// It will never work.
    pub fn never(status: Option<i64>, error: impl Into<String>) -> Self {
        Self { verdict: Verdict::Never, status, error: error.into(), reference: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    /// The list above is the folder: a new file is one new line in each of its two parts.
    #[test]
    fn the_list_is_the_folder() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files: Vec<String> = std::fs::read_dir(here.join("actions"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let text = std::fs::read_to_string(here.join("actions.rs")).unwrap();
        let between = |name: &str| -> Vec<String> {
            let (_, rest) = text.split_once(&format!("// {name}: begin")).unwrap();
            let (list, _) = rest.split_once(&format!("// {name}: end")).unwrap();
            list.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
        };
        assert_eq!(between("actions"), files.iter().map(|f| format!("pub mod {f};")).collect::<Vec<_>>());
        assert_eq!(between("list"), files.iter().map(|f| format!("{f}::KIND,")).collect::<Vec<_>>());
    }
}
