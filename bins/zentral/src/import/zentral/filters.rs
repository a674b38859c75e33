//! The three sections of a Zentral probe's filters: inventory, metadata, payload. Each is a list of which any may
//! pass; a section that is empty or not there passes.

use std::collections::BTreeMap;

use pipe::config::is_name;
use serde_json::Value as Json;

use crate::import::cond::{Cond, alike, path};
use crate::import::draft::{Import, Refusal, Scope, line, no};
use crate::import::node::Spot;

/// Attributes of osquery's payloads that are never lists, so that a plain comparison says what Zentral's does.
const SCALARS: [&str; 11] =
    ["name", "action", "columns", "unixTime", "counter", "epoch", "severity", "filename", "line", "message", "version"];

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

/// Conditions on a payload that must hold together.
pub type Group = Vec<Item>;

/// A condition on one attribute.
#[derive(Debug, Clone)]
pub struct Item {
    pub attribute: String,
    pub words: Vec<String>,
    pub cond: Cond,
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
            groups.push(group(&item, typed, osquery, import)?);
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
            if of_name.iter().all(|item| item.words.iter().any(|word| word == name)) {
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

fn machines(at: &Spot<'_>, import: &Import) -> Result<Scope, Refusal> {
    let mut scope = Scope::default();
    for (key, list) in at.members() {
        let Some(words) = list.words() else { return no(&list, "is no list of words") };
        match key {
            "meta_business_unit_ids" | "business_units" => {
                scope.units = named(&list, &words, &import.units, "unit")?;
            }
            "tag_ids" | "tags" => scope.tags = named(&list, &words, &import.tags, "tag")?,
            "platforms" => {
                for word in words {
                    match word {
                        "MACOS" | "LINUX" | "WINDOWS" | "IOS" => scope.platforms.push(word.to_ascii_lowercase()),
                        other => return no(&list, format!("`{}` is no platform here", line(other))),
                    }
                }
            }
            _ => return no(&list, "cannot be said of a machine in this version"),
        }
    }
    Ok(scope)
}

/// Names for the numbers of Zentral's database.
fn named(at: &Spot<'_>, words: &[&str], names: &BTreeMap<String, String>, kind: &str) -> Result<Vec<String>, Refusal> {
    let mut all = Vec::new();
    for word in words {
        match names.get(*word) {
            Some(name) => all.push(name.clone()),
            None if word.parse::<u64>().is_err() && is_name(word) => all.push((*word).to_owned()),
            None => {
                let word = line(word);
                return no(at, format!("`{word}` is of Zentral's database: say its name with --{kind} {word}=NAME"));
            }
        }
    }
    Ok(all)
}

fn of_machine(scope: &Scope) -> Cond {
    let values = |list: &[String]| list.iter().map(|word| word.as_str().into()).collect::<Vec<Json>>();
    let mut conds = Vec::new();
    if !scope.platforms.is_empty() {
        conds.push(Cond::Is(path("machine", "platform"), values(&scope.platforms)));
    }
    if !scope.units.is_empty() {
        conds.push(Cond::Is(path("machine", "unit"), values(&scope.units)));
    }
    if !scope.tags.is_empty() {
        conds.push(Cond::Within(path("machine", "tags"), values(&scope.tags)));
    }
    Cond::All(conds)
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

fn group(at: &Spot<'_>, typed: bool, osquery: bool, import: &mut Import) -> Result<Group, Refusal> {
    if at.is_list() {
        // Today's form: items of attribute, operator and values.
        let mut group = Group::new();
        for item in at.items() {
            group.extend(operator(&item, osquery, import)?);
        }
        return Ok(group);
    }
    if at.get("attribute").is_some() {
        return Ok(operator(at, osquery, import)?.into_iter().collect());
    }
    if !at.is_map() {
        return no(at, "is no filter of a payload");
    }
    let item =
        |(key, said): (&str, Spot<'_>)| if typed { within(key, &said, false, osquery) } else { equal(key, &said) };
    at.members().into_iter().map(item).collect()
}

fn operator(at: &Spot<'_>, osquery: bool, import: &mut Import) -> Result<Option<Item>, Refusal> {
    let attribute = at.get("attribute").and_then(|a| a.text()).filter(|a| !a.trim().is_empty());
    let Some(attribute) = attribute else { return no(at, "has no `attribute`") };
    let not = match at.get("operator").map(|operator| operator.text().unwrap_or_default()) {
        None | Some("IN") => false,
        Some("NOT_IN") => true,
        Some(other) => return no(at, format!("the operator `{}` is not known", line(other))),
    };
    match at.get("values").filter(|values| !values.is_empty()) {
        Some(values) => within(attribute, &values, not, osquery).map(Some),
        None => {
            import.refuse(at, "has no values: Zentral passes over it, and so does the filter");
            Ok(None)
        }
    }
}

/// Zentral since 2017: the texts of the values that a dotted path leads to, through lists, against a list of texts.
fn within(attribute: &str, said: &Spot<'_>, not: bool, osquery: bool) -> Result<Item, Refusal> {
    let texts: Option<Vec<String>> = match said.truth().filter(|_| said.word().is_none()) {
        Some(truth) => Some(vec![if truth { "True" } else { "False" }.to_owned()]),
        None => said.words().map(|words| words.into_iter().map(str::to_owned).collect()),
    };
    let Some(words) = texts.filter(|words| !words.is_empty()) else { return no(said, "is no list of words") };
    let values: Vec<Json> = words.iter().flat_map(|word| alike(word)).collect();
    let way = path("payload", attribute);
    let first = attribute.split('.').next().unwrap_or_default();
    let cond = match (osquery && SCALARS.contains(&first), not) {
        (true, false) => Cond::Is(way, values),
        (true, true) => Cond::IsNot(way, values),
        (false, false) => Cond::Within(way, values),
        (false, true) => Cond::Without(way, values),
    };
    Ok(Item { attribute: attribute.to_owned(), words, cond })
}

/// Zentral of 2016: top-level keys only and strict equality, but of two lists the filter's must be in the event's.
fn equal(key: &str, said: &Spot<'_>) -> Result<Item, Refusal> {
    let way = vec!["payload".to_owned(), key.to_owned()];
    let words = said.words().unwrap_or_default().into_iter().map(str::to_owned).collect();
    let cond = match said.json() {
        Json::Array(values) => Cond::Holds(way, values),
        value => Cond::Is(way, vec![value]),
    };
    Ok(Item { attribute: key.to_owned(), words, cond })
}
