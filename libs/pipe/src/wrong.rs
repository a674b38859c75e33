//! What is wrong with a stage that runs all the same, in words: its side door tells it under `/wrong`, and `zentral status`
//! and the console ask there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::printable;
use serde::{Deserialize, Serialize};

use crate::config::{Config, StageConf};
use crate::ops;

/// Path at the side door; the answer is a list of [`Trouble`].
pub const PATH: &str = "/wrong";
/// How long a stage may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest text of one thing, in characters.
const TEXT_MAX: usize = 1000;

/// One thing that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The action that waits, if it is about one; then `text` says for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What and why, without secrets: paths and names of variables at most.
    pub text: String,
}

impl Trouble {
    /// All of it for people.
    pub fn words(&self) -> String {
        match &self.action {
            Some(action) => format!("action {action} waits: {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// What the processes of a stage tell; nothing where none answers.
pub fn ask(config: &Config, stage: &StageConf) -> Vec<Trouble> {
    let answer = |process: String| match ops::get(&config.socket(&process), PATH, TIMEOUT) {
        Ok((200, body)) => serde_json::from_slice(&body).unwrap_or_default(),
        _ => Vec::new(),
    };
    stage.instances().flat_map(|n| answer(stage.process(n))).collect()
}

/// What is wrong with a stage; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Wrong(Arc<Mutex<BTreeMap<Option<String>, String>>>);

impl Wrong {
    /// From now on the action waits for this; or, if none is named, this is wrong with the stage.
    pub fn set(&self, action: Option<&str>, text: &str) {
        let text = printable(&text.trim().replace('\n', " ")).chars().take(TEXT_MAX).collect();
        self.lock().insert(action.map(str::to_owned), text);
    }

    /// That is over, if it was.
    pub fn clear(&self, action: Option<&str>) {
        self.lock().remove(&action.map(str::to_owned));
    }

    /// All of it, what is about the whole stage first.
    pub fn all(&self) -> Vec<Trouble> {
        self.lock().iter().map(|(action, text)| Trouble { action: action.clone(), text: text.clone() }).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Option<String>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_told_no_more() {
        let wrong = Wrong::default();
        let seen = wrong.clone();
        wrong.set(Some("slack"), "no\nkey");
        wrong.set(None, "old");
        wrong.set(Some("mail"), "no password");
        let texts = || seen.all().into_iter().map(|trouble| trouble.text).collect::<Vec<_>>();
        assert_eq!(seen.all().first().map(|trouble| trouble.action.clone()), Some(None));
        assert!(texts().len() == 3 && texts().iter().all(|text| !text.contains('\n')), "{:?}", texts());
        wrong.clear(Some("mail"));
        wrong.clear(Some("slack"));
        assert_eq!(texts(), ["old"]);
    }
}
