//! The three sections of a Zentral probe's filters: inventory, metadata, payload. Each is a list of which any may
//! pass; a section that is empty or not there passes.

mod machines;
mod payload;

use serde_json::Value as Json;

use self::machines::{machines, of_machine};
use self::payload::{Group, Item};
use crate::import::cond::{Cond, path};
use crate::import::draft::{Import, Refusal, Scope, no};
use crate::import::node::Spot;

/// What a probe asks of events and machines.
#[derive(Debug, Clone)]
pub struct Filters {
    inventory: Vec<Scope>,
    pub metadata: Cond,
    payload: Vec<Group>,
    /// Where the sections stand, for what is refused later.
    inventory_at: String,
    payload_at: String,
}

impl Filters {
    /// Reads them. Of a `forced` type Zentral does not look at the metadata's filters.
    pub fn read(at: &Spot<'_>, body: &Spot<'_>, forced: Option<&str>, import: &mut Import) -> Result<Self, Refusal> {
        let section = |name: &str| {
            let inner = body.get("filters").and_then(|filters| filters.get(name));
            inner.or(at.get(&format!("{name}_filters"))).filter(|section| !section.is_empty())
        };
        let place = |found: &Option<Spot<'_>>| found.as_ref().unwrap_or(at).place();
        let (inventory, metadata, payload) = (section("inventory"), section("metadata"), section("payload"));

        let scopes = items(&inventory).iter().map(|item| machines(item, import)).collect::<Result<Vec<_>, _>>()?;
        let conds = match forced {
            Some(name) => vec![Cond::event_type(name)],
            None => items(&metadata).iter().map(said_of_metadata).collect::<Result<Vec<_>, _>>()?,
        };
        let asked = !conds.is_empty() && conds.iter().all(about_osquery);
        let osquery = asked || body.get("osquery").is_some();
        let typed = at.get("model").is_some() || at.get("body").is_some();
        let mut groups = Vec::new();
        for item in items(&payload) {
            groups.push(payload::group(&item, typed, osquery, import)?);
        }
        Ok(Self {
            inventory: scopes,
            metadata: any(conds),
            payload: groups,
            inventory_at: place(&inventory),
            payload_at: place(&payload),
        })
    }

    /// The payload's section.
    pub fn payload(&self) -> Cond {
        any(self.payload.iter().map(|group| all(group)).collect())
    }

    /// The payload's section for the results of one query, which had one of these names in Zentral (none: they cannot
    /// be told) and has another here.
    pub fn payload_of(&self, names: Option<&str>) -> Result<Cond, Refusal> {
        let mut alternatives = Vec::new();
        for group in &self.payload {
            let (of_name, rest): (Group, Group) = group.iter().cloned().partition(|item| item.attribute == "name");
            let Some(name) = names else {
                if of_name.is_empty() {
                    alternatives.push(all(&rest));
                    continue;
                }
                return Err(self.at_payload("results have other names here: ask for columns instead of `name`"));
            };
            let passes = |item: &Item| match item.cond {
                Cond::IsNot(..) | Cond::Without(..) => !item.words.iter().any(|word| word == name),
                // A list is never equal to a name.
                Cond::Holds(..) => false,
                _ => item.words.iter().any(|word| word == name),
            };
            if of_name.iter().all(passes) {
                alternatives.push(all(&rest));
            }
        }
        match (alternatives.is_empty(), self.payload.is_empty()) {
            (true, false) => Err(self.at_payload(&format!("no result of the query `{}` passes", names.unwrap_or("")))),
            _ => Ok(any(alternatives)),
        }
    }

    fn at_payload(&self, why: &str) -> Refusal {
        (self.payload_at.clone(), why.to_owned())
    }

    /// The machines as a scope, or, where one scope cannot say them, as a part of the condition.
    pub fn machines(&self, cond: Cond) -> (Scope, Cond) {
        match self.scope() {
            Some(scope) => (scope, cond),
            None => (Scope::default(), cond.and(any(self.inventory.iter().map(of_machine).collect()))),
        }
    }

    /// The machines as a scope: where a query runs must be said by one.
    pub fn query_scope(&self) -> Result<Scope, Refusal> {
        let why = "these machines are more than one scope; write one probe for each";
        self.scope().ok_or_else(|| (self.inventory_at.clone(), why.to_owned()))
    }

    fn scope(&self) -> Option<Scope> {
        let mut all = self.inventory.clone();
        let first = all.pop().unwrap_or_default();
        let kind = |s: &Scope| [s.platforms.is_empty(), s.units.is_empty(), s.tags.is_empty()];
        let single = |s: &Scope| kind(s).iter().filter(|empty| !**empty).count() <= 1;
        if all.is_empty() {
            return Some(first);
        }
        // Lists of one kind are one list.
        all.iter().all(|other| kind(other) == kind(&first) && single(other)).then(|| {
            let join = |list: fn(&Scope) -> &Vec<String>| self.inventory.iter().flat_map(list).cloned().collect();
            Scope { platforms: join(|s| &s.platforms), units: join(|s| &s.units), tags: join(|s| &s.tags) }
        })
    }
}

fn items<'a>(section: &Option<Spot<'a>>) -> Vec<Spot<'a>> {
    match section {
        None => Vec::new(),
        // One filter, without the list around it.
        Some(one) if one.is_map() => vec![one.clone()],
        Some(list) => list.items(),
    }
}

fn all(group: &[Item]) -> Cond {
    match group {
        [one] => one.cond.clone(),
        _ => Cond::All(group.iter().map(|item| item.cond.clone()).collect()),
    }
}

/// Any of these; none: the section is empty and passes.
fn any(mut list: Vec<Cond>) -> Cond {
    let one_path = |list: &[Cond]| match list {
        [Cond::Is(first, _), rest @ ..] => {
            rest.iter().all(|cond| matches!(cond, Cond::Is(path, _) if path == first)).then(|| first.clone())
        }
        _ => None,
    };
    if let Some(path) = one_path(&list) {
        let values = list.iter().flat_map(|cond| if let Cond::Is(_, values) = cond { values.clone() } else { vec![] });
        let mut once: Vec<Json> = Vec::new();
        values.for_each(|value| {
            if !once.contains(&value) {
                once.push(value)
            }
        });
        return Cond::Is(path, once);
    }
    match list.len() {
        0 => Cond::All(Vec::new()),
        1 => list.remove(0),
        // One that always holds makes the section hold.
        _ if list.iter().any(Cond::is_always) => Cond::All(Vec::new()),
        _ => Cond::Any(list),
    }
}

fn said_of_metadata(at: &Spot<'_>) -> Result<Cond, Refusal> {
    let mut conds = Vec::new();
    for (key, said) in at.members() {
        if said.is_empty() {
            continue;
        }
        let Some(words) = said.words() else { return no(&said, "is no list of words") };
        let values: Vec<Json> = words.into_iter().map(Into::into).collect();
        conds.push(match key {
            "type" if !said.is_list() => Cond::Is(vec!["type".into()], values),
            "event_types" => Cond::Is(vec!["type".into()], values),
            "tags" if said.is_list() => Cond::Holds(vec!["tags".into()], values),
            "event_tags" => Cond::Within(vec!["tags".into()], values),
            "machine_serial_number" if !said.is_list() => Cond::Is(path("machine", "serial_number"), values),
            _ => return no(&said, "events have no such metadata here"),
        });
    }
    Ok(match conds.len() {
        1 => conds.remove(0),
        _ => Cond::All(conds),
    })
}

/// Whether only osquery's events can pass.
fn about_osquery(cond: &Cond) -> bool {
    let osquery = |value: &Json| matches!(value.as_str(), Some("osquery_result" | "osquery_status"));
    match cond {
        Cond::Is(path, values) => path.len() == 1 && values.iter().all(osquery),
        Cond::All(list) => list.iter().any(about_osquery),
        _ => false,
    }
}
