//! What is sent when: first, when an incident has changed, when it is closed, and to try the credentials.

use std::sync::Arc;

use pipe::config::Settings;
use reqwest::Method;

use crate::actions::Reading;
use crate::preset::{self, METHODS, Preset};
use crate::told::{Phase, Told};

/// A jq program.
pub type Program = Option<Arc<str>>;

/// One request and what is made of its answer.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub method: Option<Method>,
    pub when: Program,
    pub path: Program,
    pub query: Program,
    pub body: Program,
    pub ok: Program,
    pub later: Program,
    pub after: Program,
    pub reference: Program,
    /// Only a preset has these; of another step they are never taken over.
    pub before: Vec<Step>,
}

/// All that an action may send.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    opened: Step,
    changed: Option<Step>,
    closed: Option<Step>,
    /// Tries the credentials.
    pub online: Option<Step>,
    /// Whether the `reference` of the first one is kept.
    pub noting: bool,
}

impl Steps {
    /// The action's own keys go before those of the preset; what `changed` and `closed` do not name is as at first.
    pub fn read(settings: &mut Settings, reading: &Reading<'_>, preset: &Preset) -> Self {
        let opened = Step::read(settings, reading).or(&Step::of(&preset.opened()));
        let mut other = |key: &str, shipped: &Option<preset::Step>| {
            let own = settings.table(key).map(|mut table| {
                let step = Step::read(&mut table, reading);
                settings.absorb(table);
                step
            });
            match (own, shipped.as_ref().map(Step::of)) {
                (Some(own), Some(shipped)) => Some(own.or(&shipped)),
                (own, shipped) => own.or(shipped),
            }
        };
        // What the first answer says of the incident, that of a comment does not.
        let first = Step { reference: None, before: Vec::new(), ..opened.clone() };
        let changed = other("changed", &preset.changed).map(|step| step.or(&first));
        let closed = other("closed", &preset.closed).map(|step| step.or(&first));
        let online = other("online", &preset.online);
        let noting = opened.reference.is_some();
        let [changed, closed] = [changed, closed].map(|step| step.map(Step::settled));
        Self { opened: opened.settled(), changed, closed, online, noting }
    }

    /// Whether the end of an incident, or a change, is another request than its beginning.
    pub fn tells_apart(&self) -> bool {
        self.changed.is_some() || self.closed.is_some()
    }

    /// What is sent for this; none: nothing, for there is nothing at the service that could be closed.
    pub fn of(&self, told: &Told) -> Option<&Step> {
        let unknown = self.noting && told.reference.is_none();
        match told.state {
            Some(Phase::Changed) if !unknown => Some(self.changed.as_ref().unwrap_or(&self.opened)),
            Some(Phase::Closed) if unknown => None,
            Some(Phase::Closed) => Some(self.closed.as_ref().unwrap_or(&self.opened)),
            // The first delivery died: the service hears of the incident now.
            Some(Phase::Changed | Phase::Opened) | None => Some(&self.opened),
        }
    }

    /// Whether this is the one that is sent first.
    pub fn is_first(&self, step: &Step) -> bool {
        std::ptr::eq(step, &self.opened)
    }

    /// Whether any request is made with a path of its own: the URL is then an address, else it is the secret.
    pub fn address_only(&self) -> bool {
        self.opened.path.is_some()
    }
}

impl Step {
    fn read(settings: &mut Settings, reading: &Reading<'_>) -> Self {
        let method = settings.word("method", &METHODS).and_then(|word| word.parse().ok());
        let mut program = |key: &str| reading.program(settings, key);
        Self {
            method,
            when: None,
            path: program("path"),
            query: program("query"),
            body: program("body"),
            ok: program("ok"),
            later: program("later"),
            after: program("after"),
            reference: program("ref"),
            before: Vec::new(),
        }
    }

    fn of(step: &preset::Step) -> Self {
        let program = |text: &Option<String>| text.as_deref().map(Arc::from);
        Self {
            method: step.method.as_deref().and_then(|word| word.parse().ok()),
            when: program(&step.when),
            path: program(&step.path),
            query: program(&step.query),
            body: program(&step.body),
            ok: program(&step.ok),
            later: program(&step.later),
            after: program(&step.after),
            reference: program(&step.reference),
            before: step.before.iter().map(Self::of).collect(),
        }
    }

    /// What is a refusal and what a pause is the same for those that go before it.
    fn settled(mut self) -> Self {
        for earlier in &mut self.before {
            earlier.later = earlier.later.take().or_else(|| self.later.clone());
            earlier.after = earlier.after.take().or_else(|| self.after.clone());
        }
        self
    }

    /// With the keys of `other` where it has none.
    fn or(self, other: &Self) -> Self {
        Self {
            method: self.method.or_else(|| other.method.clone()),
            when: self.when,
            path: self.path.or_else(|| other.path.clone()),
            query: self.query.or_else(|| other.query.clone()),
            body: self.body.or_else(|| other.body.clone()),
            ok: self.ok.or_else(|| other.ok.clone()),
            later: self.later.or_else(|| other.later.clone()),
            after: self.after.or_else(|| other.after.clone()),
            reference: self.reference.or_else(|| other.reference.clone()),
            before: if self.before.is_empty() { other.before.clone() } else { self.before },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_incident_nobody_has_heard_of_is_opened_or_left_alone() {
        let named = |name: &str| Step { body: Some(name.into()), ..Step::default() };
        let mut steps =
            Steps { opened: named("o"), changed: Some(named("ch")), closed: Some(named("cl")), ..Steps::default() };
        let of = |steps: &Steps, state, reference| {
            let told = Told { state, reference, ..Told::plain() };
            steps.of(&told).and_then(|step| step.body.clone()).map_or("nothing".to_owned(), |body| body.to_string())
        };
        let known = Some(json!({"id": 1}));
        for (noting, reference, want) in [
            (false, None, ["o", "o", "ch", "cl"]),
            (true, None, ["o", "o", "o", "nothing"]),
            (true, known, ["o", "o", "ch", "cl"]),
        ] {
            steps.noting = noting;
            let states = [None, Some(Phase::Opened), Some(Phase::Changed), Some(Phase::Closed)];
            assert_eq!(states.map(|state| of(&steps, state, reference.clone())), want);
        }
        let same = Steps { opened: named("o"), ..Steps::default() };
        assert_eq!(of(&same, Some(Phase::Closed), None), "o");
    }
}
