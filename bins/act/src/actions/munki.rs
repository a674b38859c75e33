//! An item put into a list of the machine's Munki manifest, or taken away, in the folder of the repository.
//!
//! For an incident, `undo` takes back what this action itself changed when the incident is closed: what was there before
//! stays.

use std::sync::Arc;
use std::time::Duration;

use pipe::config::Settings;
use serde_json::{Map, Value, json};

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec, Trying};
use crate::call::Call;
use crate::desk::Desk;
use crate::jq::Jq;
use crate::munki::change::{Change, Done, Rules, What};
use crate::munki::which::{SITE_DEFAULT, Which};
use crate::munki::{Fault, git, repo};
use crate::noted::{self, names};
use crate::told::Phase;

/// The kind.
pub const KIND: Kind =
    Kind { name: "munki", repeatable: false, timeout: Duration::from_secs(120), changes_machines: true, read };

/// The lists of a manifest that are changed.
const LISTS: [&str; 3] = ["managed_uninstalls", "managed_installs", "optional_installs"];
/// Items of one match.
const ITEMS_MAX: usize = 100;
/// Who commits unless the configuration says otherwise.
const AUTHOR: &str = "zentral <zentral@localhost>";

#[derive(Clone)]
struct Munki {
    rules: Rules,
    /// Which manifest; none: the machine's own.
    manifest: Option<Arc<str>>,
    /// Whether the machine's own may be named by what it calls itself.
    by_hostname: bool,
    item: Item,
    remove: bool,
    undo: bool,
}

#[derive(Clone)]
enum Item {
    Name(Arc<str>),
    Bundle(Arc<str>),
}

impl Item {
    fn key(&self) -> &'static str {
        if matches!(self, Self::Name(_)) { "item" } else { "bundle_id" }
    }
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if settings.has("digest") {
        settings.fail("digest", "does not fit: each machine is changed on its own");
    }
    settings.required_str("repo");
    let repo = settings.path("repo");
    let (named, by_bundle) = (settings.has("item"), settings.has("bundle_id"));
    if named == by_bundle {
        settings.fail("", "needs the key `item` (a name) or `bundle_id` (the catalogs say whose it is), not both");
    }
    let name = reading.program(settings, "item").map(Item::Name);
    let bundle = reading.program(settings, "bundle_id").map(Item::Bundle);
    let manifest = reading.program(settings, "manifest");
    let by_hostname = settings.bool("by_hostname").unwrap_or(false);
    if by_hostname && manifest.is_some() {
        settings.fail("by_hostname", "is for the machine's own manifest; `manifest` says which one");
    }
    let list = settings.word("list", &LISTS).unwrap_or("managed_uninstalls");
    let create = settings.bool("create").unwrap_or(false);
    let template = settings.str("template");
    if let Some(odd) = template.as_ref().filter(|name| !repo::is_name(name)) {
        settings.fail("template", format!("`{odd}` is no name of a manifest"));
    }
    if template.is_some() && !create {
        settings.fail("template", "is for `create = true`");
    }
    let author = settings.str("author");
    let git = settings.bool("git").unwrap_or(false);
    if author.is_some() && !git {
        settings.fail("author", "is for `git = true`");
    }
    let author = git::author(author.as_deref().unwrap_or(AUTHOR));
    if author.is_none() {
        settings.fail("author", "is no `Name <address>`");
    }
    let rules = Rules {
        repo: repo.unwrap_or_default(),
        list,
        template: create.then(|| template.unwrap_or_else(|| SITE_DEFAULT.to_owned())),
        shared: settings.bool("shared").unwrap_or(false),
        verify: settings.bool("verify").unwrap_or(true),
        never_items: settings.strings("never_items"),
        git: author.filter(|_| git),
    };
    let (remove, undo) = (settings.bool("remove").unwrap_or(false), settings.bool("undo").unwrap_or(false));
    Some(Box::new(Munki { rules, manifest, by_hostname, item: name.or(bundle)?, remove, undo }))
}

impl Spec for Munki {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let desk = Desk::start("munki").map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Arc::new(Live { of: self.clone(), jq: opening.jq.clone(), desk }))
    }
}

struct Live {
    of: Munki,
    jq: Jq,
    desk: Desk,
}

/// A change with all that it needs, for the desk.
struct Order {
    rules: Rules,
    which: Which,
    what: What,
    add: bool,
    because: String,
}

impl Order {
    fn change(&self) -> Change<'_> {
        let Self { rules, which, what, add, because } = self;
        Change { rules, which, what, add: *add, because }
    }

    /// The word for what it did.
    fn word(&self) -> &'static str {
        if self.add { "added" } else { "removed" }
    }
}

impl Live {
    /// What is to be done; more than one thing only if it is undone.
    async fn orders(&self, call: &Call) -> Result<Vec<Order>, String> {
        let because = because(call);
        if call.told.state == Some(Phase::Closed) {
            return Ok(self.undoing(call, &because));
        }
        let items = self.texts(call, self.of.item.key(), self.program()).await?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if self.of.undo && noted::is_full(call.told.reference.as_ref()) {
            return Err("the incident has changed so many manifests that no more could be undone".to_owned());
        }
        let what = match self.of.item {
            Item::Name(_) => What::Items(items),
            Item::Bundle(_) => What::Bundles(items),
        };
        let machine = call.event.machine.clone().unwrap_or_default();
        let which = match &self.of.manifest {
            None => {
                Which::Of { serial: machine.serial_number, hostname: machine.hostname.filter(|_| self.of.by_hostname) }
            }
            Some(program) => match self.texts(call, "manifest", program).await?.as_slice() {
                [name] => Which::Named(name.clone()),
                _ => return Err("`manifest` did not give one name".to_owned()),
            },
        };
        Ok(vec![Order { rules: self.of.rules.clone(), which, what, add: !self.of.remove, because }])
    }

    /// The other way round, of what was changed before: in the manifest and the list where it was, whatever the machine of
    /// the closing event and the configuration say by now.
    fn undoing(&self, call: &Call, because: &str) -> Vec<Order> {
        let notes = if self.of.undo { noted::all(call.told.reference.as_ref()) } else { Vec::new() };
        let mut all = Vec::new();
        for note in &notes {
            let word = |key: &str| note.get(key).and_then(Value::as_str);
            let Some(manifest) = word("manifest") else { continue };
            let Some(list) = LISTS.iter().find(|list| Some(**list) == word("list")) else { continue };
            for (add, names) in [(false, names(note, "added")), (true, names(note, "removed"))] {
                if names.is_empty() {
                    continue;
                }
                // It was allowed when it was changed.
                let rules = Rules { list, shared: true, verify: false, ..self.of.rules.clone() };
                let which = Which::Named(manifest.to_owned());
                all.push(Order { rules, which, what: What::Items(names), add, because: because.to_owned() });
            }
        }
        all
    }

    fn program(&self) -> &Arc<str> {
        let (Item::Name(program) | Item::Bundle(program)) = &self.of.item;
        program
    }

    /// A text or a list of texts.
    async fn texts(&self, call: &Call, key: &str, program: &Arc<str>) -> Result<Vec<String>, String> {
        let made = self.jq.one(program, call.input(&Map::new()), call.event.received.ms()).await;
        let made = made.map_err(|why| format!("`{key}`: {why}"))?;
        let all = match serde_json::from_slice(&made) {
            Ok(Value::String(one)) => vec![Value::String(one)],
            Ok(Value::Array(all)) if all.len() <= ITEMS_MAX => all,
            Ok(Value::Array(_)) => return Err(format!("`{key}` gave more than {ITEMS_MAX} names")),
            _ => return Err(format!("`{key}` gave neither a name nor a list of names")),
        };
        let text = |one: Value| match one {
            Value::String(text) => Ok(text),
            _ => Err(format!("`{key}` gave a list with something that is no name")),
        };
        all.into_iter().map(text).collect()
    }

    /// What is noted: for an incident, all that this action changed for it; once it is over, what was undone.
    fn note(&self, call: &Call, changed: &[(&Order, Done)]) -> Option<Value> {
        let before = call.told.reference.as_ref().filter(|_| self.of.undo && call.told.state != Some(Phase::Closed));
        changed.iter().rev().fold(before.cloned(), |note, (order, done)| {
            let fresh = [
                ("id", done.path.clone().into()),
                ("manifest", done.manifest.clone().into()),
                ("list", order.rules.list.into()),
                (order.word(), done.names.clone().into()),
            ];
            let fresh = fresh.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            Some(noted::with(note.as_ref(), fresh, &["manifest", "list"]))
        })
    }
}

/// What a commit says of the reason: words of ours, ids and names only.
fn because(call: &Call) -> String {
    let probe = call.event.probes.first().map_or("", |probe| probe.name.as_str());
    let state = call.told.state.map_or_else(String::new, |state| format!("\nstate: {}", state.word()));
    format!("action: {}\nprobe: {probe}\nevent: {}{state}", call.action, call.event.id)
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Now(why) => Self::later(None, why),
            Fault::ForGood(why) => Self::never(None, why),
        }
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let orders = match self.orders(call).await {
                Ok(orders) if orders.is_empty() => return Answer::done(None),
                Ok(orders) => Arc::new(orders),
                Err(why) => return Answer::never(None, why),
            };
            let mine = orders.clone();
            let made = match self.desk.run(move || mine.iter().map(|order| order.change().make()).collect()).await {
                Ok(made) => made,
                Err(away) => return away.into(),
            };
            let (mut changed, mut faults) = (Vec::new(), Vec::new());
            for (order, made) in orders.iter().zip::<Vec<_>>(made) {
                match made {
                    Ok(done) => changed.push((order, done)),
                    Err(fault) => faults.push(fault),
                }
            }
            // What is made already is so at the next try: one that may go well comes before one that will not.
            faults.sort_by_key(|fault| matches!(fault, Fault::ForGood(_)));
            match faults.into_iter().next() {
                None => Answer { reference: self.note(call, &changed), ..Answer::done(None) },
                Some(fault) => fault.into(),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let mut shown = Vec::new();
            for order in self.orders(call).await? {
                let (word, list) = (order.word(), order.rules.list);
                let done = match self.desk.run(move || order.change().show()).await {
                    Ok(done) => done.map_err(|fault| fault.why().to_owned())?,
                    Err(_) => return Err("the last piece of work has not come back".to_owned()),
                };
                shown.push(json!({"path": done.path, "list": list, word: done.names, "change": done.diff}));
            }
            Ok(match shown.len() {
                0 => json!({"change": ""}),
                1 => shown.pop().unwrap_or_default(),
                _ => shown.into(),
            })
        })
    }

    fn online(&self) -> Option<Trying<'_>> {
        Some(Box::pin(async move {
            let rules = self.of.rules.clone();
            match self.desk.run(move || rules.try_out()).await {
                Ok(tried) => tried.map_err(|fault| fault.why().to_owned()),
                Err(_) => Err("the last piece of work has not come back".to_owned()),
            }
        }))
    }

    fn keeps_reference(&self) -> bool {
        self.of.undo
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::call::tests::{LINE, call};

    /// The configuration may say another list by now, or the other way round.
    #[test]
    fn undone_is_what_is_noted() {
        let rules = Rules {
            repo: "/nowhere".into(),
            list: "managed_uninstalls",
            template: None,
            shared: false,
            verify: true,
            never_items: Vec::new(),
            git: None,
        };
        let item = Item::Name("empty".into());
        let of = Munki { rules, manifest: None, by_hostname: false, item, remove: true, undo: true };
        let live = Live { of, jq: Jq::start().unwrap(), desk: Desk::start("t").unwrap() };
        let mut call = call(&LINE.replace(",CONTEXT", ""));
        let mut orders = |list: &str| {
            call.told.reference = Some(json!({"id": "x", "manifest": "C02", "list": list, "added": ["Foo"]}));
            live.undoing(&call, "")
        };
        let all = orders("managed_installs");
        assert_eq!((all.len(), all[0].rules.list, all[0].add), (1, "managed_installs", false));
        assert_eq!(all[0].what, What::Items(vec!["Foo".into()]));
        assert!(orders("catalogs").is_empty(), "no list of ours");
    }
}
