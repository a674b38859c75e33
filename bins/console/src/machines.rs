//! The list of machines: who is on it, in which order, page by page.

use event::{Machine, Time};
use registry::known::Known;

use crate::ask::{Asked, Who};
use crate::sorting;

/// Machines on a page, if nobody says how many.
const PAGE: usize = 50;
/// Machines on a page at most.
const PAGE_MAX: usize = 500;

/// By what the list is sorted.
pub const ORDERS: [(&str, &str); 5] =
    [("name", "Name"), ("platform", "Platform"), ("os", "System"), ("unit", "Unit"), ("seen", "Last seen")];

/// What is asked of the list.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Part of a name, a serial number, a user.
    pub text: String,
    pub platform: String,
    pub unit: String,
    pub tag: String,
    pub source: String,
    /// A word of [`ORDERS`].
    pub order: &'static str,
    /// The last first.
    pub down: bool,
    pub n: usize,
    /// Where the page before ended: the value that it was sorted by, and the key.
    after: Option<(String, String)>,
}

impl Wanted {
    /// Reads the words of the query.
    pub fn read(asked: &Asked) -> Self {
        let (order, down) = sorting::order(asked, &ORDERS);
        Self {
            text: asked.word("q").to_owned(),
            platform: asked.word("platform").to_owned(),
            unit: asked.word("unit").to_owned(),
            tag: asked.word("tag").to_owned(),
            source: asked.word("source").to_owned(),
            order,
            down,
            n: asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX)),
            after: sorting::place(asked.word("after")),
        }
    }

    /// The same without pages.
    pub fn all(asked: &Asked) -> Self {
        Self { n: usize::MAX, after: None, ..Self::read(asked) }
    }

    /// Whether anything narrows the list.
    pub fn narrows(&self) -> bool {
        [&self.text, &self.platform, &self.unit, &self.tag, &self.source].iter().any(|word| !word.is_empty())
    }

    fn takes(&self, key: &str, machine: &Machine, known: &Known, text: &str) -> bool {
        let is = |value: &Option<String>, wanted: &str| wanted.is_empty() || value.as_deref() == Some(wanted);
        let has = |value: &str| value.to_lowercase().contains(text);
        let named = [&machine.serial_number, &machine.hardware_uuid, &machine.hostname, &machine.user];
        is(&machine.platform, &self.platform)
            && is(&machine.unit, &self.unit)
            && (self.tag.is_empty() || machine.tags.contains(&self.tag))
            && (self.source.is_empty() || known.has_source(key, &self.source))
            && (text.is_empty() || has(key) || named.into_iter().flatten().any(|value| has(value)))
    }

    fn value(&self, key: &str, machine: &Machine, seen: Option<Time>) -> String {
        let of = |value: &Option<String>| value.clone().unwrap_or_default();
        match self.order {
            "platform" => of(&machine.platform),
            "os" => natural(&of(&machine.os_version)),
            "unit" => of(&machine.unit),
            "seen" => seen.map(|seen| seen.to_string()).unwrap_or_default(),
            _ => machine.hostname.as_deref().unwrap_or(key).to_lowercase(),
        }
    }
}

/// A page of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Keys.
    pub keys: Vec<String>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// The machines that are wanted, of those that this person sees.
pub fn list(known: &Known, wanted: &Wanted, who: Option<&Who>) -> Listed {
    let text = wanted.text.to_lowercase();
    let sees = |machine: &Machine| who.is_some_and(|who| who.sees(machine.unit.as_deref()));
    let mut all: Vec<(String, &str)> = known
        .each()
        .filter(|(key, machine, _)| sees(machine) && wanted.takes(key, machine, known, &text))
        .map(|(key, machine, seen)| (wanted.value(key, machine, seen), key))
        .collect();
    all.sort_unstable();
    if wanted.down {
        all.reverse();
    }
    let after = wanted.after.as_ref().map(|(value, key)| (value.as_str(), key.as_str()));
    let passed = |one: &(String, &str)| {
        let one = (one.0.as_str(), one.1);
        after.is_some_and(|after| if wanted.down { one >= after } else { one <= after })
    };
    let begin = all.partition_point(passed);
    let page: Vec<&(String, &str)> = all.iter().skip(begin).take(wanted.n).collect();
    let more = begin + page.len() < all.len();
    let next = page.last().filter(|_| more).map(|(value, key)| sorting::cursor(value, key));
    Listed { keys: page.iter().map(|(_, key)| (*key).to_owned()).collect(), total: all.len(), next }
}

/// So that 9.1 comes before 10.0: numbers with zeros before them.
fn natural(text: &str) -> String {
    let mut out = String::new();
    for part in text.split('.') {
        out.push_str(&format!("{part:0>8}."));
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use registry::db::{Db, Homes};
    use registry::machines::{self, Machine as Enrolled};

    use super::*;

    fn known() -> (tempfile::TempDir, Known) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let homes = Homes::new(dir.path(), None);
        let mut db = Db::open(homes.state("receive"), &[machines::SCHEMA]).unwrap();
        let fleet =
            [("ada", "rome", "9.1"), ("Bob", "berlin", "10.0"), ("cleo", "rome", "9.10"), ("ada", "rome", "9.2")];
        for (n, (name, unit, os)) in fleet.into_iter().enumerate() {
            let machine = Enrolled {
                serial: Some(format!("S{n}")),
                hostname: Some(name.into()),
                unit: unit.into(),
                os_version: Some(os.into()),
                ..Enrolled::default()
            };
            let mut tx = db.begin().unwrap();
            let key = [u8::try_from(n).unwrap(); 32];
            machines::enrol(&mut tx, "osquery", machine, None, false, &key, 1_760_000_000_000).unwrap();
            tx.commit().unwrap();
        }
        let known = Known::open(&homes, &|_| Vec::new()).unwrap();
        (dir, known)
    }

    fn who(units: &[&str]) -> Who {
        let units = units.iter().map(|unit| (*unit).to_owned()).collect();
        Who { name: "ada".into(), role: registry::users::Role::Viewer, units, token: None, scopes: Vec::new() }
    }

    fn wanted(order: &'static str, down: bool) -> Wanted {
        Wanted { order, down, n: 50, ..Wanted::default() }
    }

    #[test]
    fn sorted_narrowed_and_seen() {
        let (_dir, known) = known();
        let keys = |wanted: &Wanted, units: &[&str]| list(&known, wanted, Some(&who(units))).keys.join(" ");
        assert_eq!(keys(&wanted("name", false), &[]), "S0 S3 S1 S2");
        assert_eq!(keys(&wanted("name", true), &[]), "S2 S1 S3 S0");
        assert_eq!(keys(&wanted("os", false), &[]), "S0 S3 S2 S1", "9.10 is before 10.0");
        assert_eq!(keys(&Wanted { text: "BOB".into(), ..wanted("name", false) }, &[]), "S1");
        assert_eq!(keys(&Wanted { text: "s2".into(), ..wanted("name", false) }, &[]), "S2");
        assert_eq!(keys(&Wanted { unit: "rome".into(), ..wanted("name", false) }, &[]), "S0 S3 S2");
        assert_eq!(keys(&Wanted { source: "santa".into(), ..wanted("name", false) }, &[]), "");
        assert_eq!(keys(&wanted("name", false), &["berlin"]), "S1");
        assert_eq!(keys(&Wanted { unit: "rome".into(), ..wanted("name", false) }, &["berlin"]), "");
        assert_eq!(list(&known, &wanted("name", false), None), Listed::default(), "nobody sees nothing");
    }

    #[test]
    fn every_machine_is_on_one_page() {
        let (_dir, known) = known();
        for (order, _) in ORDERS {
            for down in [false, true] {
                let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
                loop {
                    let listed = list(&known, &Wanted { n: 1, after, ..wanted(order, down) }, Some(&who(&[])));
                    assert_eq!(listed.total, 4);
                    all.extend(listed.keys);
                    pages += 1;
                    let Some(next) = listed.next else { break };
                    after = sorting::place(&next);
                }
                assert_eq!((all.len(), pages), (4, 4), "{order} {down}");
                assert_eq!(all, list(&known, &wanted(order, down), Some(&who(&[]))).keys);
            }
        }
        assert_eq!(sorting::place("not a cursor"), None);
    }
}
