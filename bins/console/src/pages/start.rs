//! The first hour of a hub, step by step: what is done, by what is there; what is next, and the page where it is done.

use askama::Template;
use registry::enrolments;
use registry::ledger::lanes;
use registry::users::Role;
use schemars::JsonSchema;
use serde::Serialize;
use shipped::probes::FIRST;

use super::{Head, overview, status};
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Events, Question};
use crate::{ledger, text};

/// A hub with so many machines is in use, and nobody on its first page needs to be told how to begin.
const IN_USE: u64 = 25;
/// How far back events are looked for.
const SINCE: &str = "7d";

/// One step.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FirstStep")]
pub struct Step {
    pub what: &'static str,
    pub done: bool,
    /// The first that is not done.
    pub next: bool,
    /// More about it, while it is not done.
    #[serde(skip)]
    pub how: &'static str,
    /// At a shell; empty: it is not done there.
    pub command: String,
    /// Where it is done, or what came of it is seen; none: this person does neither on a page.
    pub link: Option<String>,
    /// Somebody with this role does it; empty: whoever reads this.
    pub by: &'static str,
}

impl Step {
    /// The same as markup.
    pub fn how_markup(&self) -> String {
        text::markdown(self.how)
    }
}

/// What is there.
#[derive(Debug, Default)]
struct Facts {
    up: bool,
    /// The newest enrolment that is open, if there is one.
    enrolment: Option<String>,
    machines: u64,
    events: bool,
    probe: bool,
    actions: Vec<String>,
    told: bool,
}

/// Whether a hub with so many machines is past its beginnings, so that nothing need be looked up.
pub fn in_use(machines: u64) -> bool {
    machines >= IN_USE
}

/// All steps for this person. `up`: the stages run; `machines`: those that have enrolled.
pub fn steps(app: &App, asked: &Asked, up: bool, machines: u64) -> Vec<Step> {
    let config = app.live().config.clone();
    let who = asked.who.as_ref();
    let sees = |unit: &str| who.is_some_and(|who| who.sees(Some(unit)));
    let open =
        app.registry(enrolments::list).map(|all| all.into_iter().rev().find(|one| !one.revoked && sees(&one.unit)));
    let actions: Vec<String> = config.actions.keys().cloned().collect();
    let facts = Facts {
        up,
        enrolment: open.ok().flatten().map(|one| one.id),
        machines,
        events: machines > 0 && told(app, who),
        probe: config.probes.keys().any(|name| name != FIRST),
        told: !actions.is_empty() && ledger::look(app, lanes::any_done).unwrap_or_default(),
        actions,
    };
    let unit = config.units.keys().find(|unit| sees(unit)).map_or("default", String::as_str);
    listed(&facts, config.stages.is_empty(), unit, who)
}

/// Whether a machine, or a source, has told anything that is stored.
fn told(app: &App, who: Option<&Who>) -> bool {
    let config = app.live().config.clone();
    let question = Question { query: "NOT source:zentral", since: SINCE, until: "" };
    Events::of(&config, who).page(&question, 1, "").is_ok_and(|page| !page.events.is_empty())
}

fn listed(facts: &Facts, bare: bool, unit: &str, who: Option<&Who>) -> Vec<Step> {
    let edits = who.is_some_and(|who| who.role >= Role::Editor);
    // What is seen when it is done is for everybody; where it is done, for editors.
    let link = |done: bool, seen: &str, todo: &str| match (done, edits) {
        (true, _) => Some(seen.to_owned()),
        (false, true) => Some(todo.to_owned()),
        (false, false) => None,
    };
    let by = if edits { "" } else { "editor" };
    let step = |what: &'static str, done: bool, how: &'static str, command: String, link: Option<String>| Step {
        what,
        done,
        next: false,
        how,
        command,
        by: if done || link.is_some() { "" } else { by },
        link,
    };
    let Facts { up, enrolment, machines, events, probe, actions, told } = facts;
    let came = *machines > 0;
    let (enrolled, path) = match enrolment {
        Some(id) => (true, format!("/enrol/{}", text::part(id))),
        None => (came, "/enrol".to_owned()),
    };
    let mut all = vec![
        step("Make a pipeline, with certificates and a first probe", !bare, "", "zentral init .".into(), None),
        step("Start the stages", *up, "", "zentral up".into(), up.then(|| "/status".to_owned())),
        step(
            "Make an enrolment: it lets the machines of a unit in",
            enrolled,
            "A table `[unit.NAME]` of `pipeline.toml` makes another unit.",
            format!("zentral enrol new --unit {unit} --source osquery"),
            link(enrolled, "/enrol", "/enrol"),
        ),
        step(
            "Download its package, and run that on the first machine",
            came,
            "Within a minute the machine is here.",
            format!("zentral enrol package {} --format sh -o enrol.sh", enrolment.as_deref().unwrap_or("ID")),
            link(came, "/machines", &path),
        ),
        step(
            "See its first event",
            *events,
            "Agents tell what they find within minutes.",
            String::new(),
            Some("/events".into()),
        ),
        step(
            "Choose a probe that ships: what to be told of",
            *probe,
            "",
            String::new(),
            Some(if *probe { "/probes" } else { "/shipped" }.to_owned()),
        ),
    ];
    // Actions tell of machines of all units.
    if who.is_some_and(|who| who.units.is_empty()) {
        let there = !actions.is_empty();
        let one = match actions.as_slice() {
            [one] => format!("/actions/{}", text::part(one)),
            _ => "/actions".to_owned(),
        };
        let trial = if actions.len() == 1 { format!("{one}?do=try#try") } else { one.clone() };
        all.push(step(
            "Connect Slack, mail, or what else tells you",
            there,
            "The page shows the table to paste and where its secret goes.",
            String::new(),
            link(there, "/actions", "/connect"),
        ));
        // Without an action there is nothing to send a test with.
        let to = if there { link(*told, &one, &trial) } else { None };
        all.push(step(
            "Send a test",
            *told,
            "",
            actions.first().map_or_else(String::new, |name| format!("zentral act try {name}")),
            to,
        ));
    }
    for command in all.iter_mut().filter(|step| step.done).map(|step| &mut step.command) {
        command.clear();
    }
    if let Some(next) = all.iter_mut().find(|step| !step.done) {
        next.next = true;
    }
    all
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "start.html")]
#[schemars(rename = "FirstSteps")]
pub struct Start {
    #[serde(skip)]
    head: Head,
    steps: Vec<Step>,
    /// All of it is done.
    done: bool,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let machines = overview::machines(app, asked.who.as_ref()).unwrap_or_default();
    let steps = steps(app, asked, status::report(app, asked).0.up.is_some(), machines);
    let done = steps.iter().all(|step| step.done);
    Answer::page(asked, &Start { head: Head::new(asked, "First steps"), steps, done })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn who(role: Role, units: &[&str]) -> Who {
        let units = units.iter().map(|unit| (*unit).to_owned()).collect();
        Who { name: "ada".into(), role, units, token: None, scopes: Vec::new() }
    }

    #[test]
    fn the_first_that_is_missing_is_next() {
        let admin = who(Role::Admin, &[]);
        let mut facts = Facts::default();
        let next = |facts: &Facts, bare| {
            let all = listed(facts, bare, "default", Some(&admin));
            let next: Vec<&Step> = all.iter().filter(|step| step.next).collect();
            assert!(next.len() <= 1 && next.iter().all(|step| !step.done));
            next.first().map_or_else(String::new, |step| step.link.clone().unwrap_or_else(|| step.command.clone()))
        };
        assert_eq!(next(&facts, true), "zentral init .");
        assert_eq!(next(&facts, false), "zentral up");
        facts.up = true;
        assert_eq!(next(&facts, false), "/enrol");
        facts.enrolment = Some("e1".into());
        assert_eq!(next(&facts, false), "/enrol/e1");
        facts.machines = 1;
        assert_eq!(next(&facts, false), "/events");
        facts.events = true;
        assert_eq!(next(&facts, false), "/shipped");
        facts.probe = true;
        assert_eq!(next(&facts, false), "/connect");
        facts.actions = vec!["slack".into()];
        assert_eq!(next(&facts, false), "/actions/slack?do=try#try");
        facts.told = true;
        assert_eq!(next(&facts, false), "", "all is done");
        assert!(listed(&facts, false, "default", Some(&admin)).iter().all(|step| step.command.is_empty()));
        assert!(in_use(IN_USE) && !in_use(IN_USE - 1));
    }

    #[test]
    fn nobody_is_sent_where_they_may_not_go() {
        let viewer = listed(&Facts::default(), false, "default", Some(&who(Role::Viewer, &[])));
        let links: Vec<&str> = viewer.iter().filter_map(|step| step.link.as_deref()).collect();
        assert_eq!(links, ["/events", "/shipped"]);
        assert!(viewer.iter().any(|step| step.by == "editor"));
        let kept =
            listed(&Facts { up: true, ..Facts::default() }, false, "berlin", Some(&who(Role::Editor, &["berlin"])));
        assert!(
            kept.iter()
                .filter_map(|step| step.link.as_deref())
                .all(|link| !link.starts_with("/actions") && link != "/connect")
        );
        assert!(kept[2].command.contains("--unit berlin"));
    }
}
