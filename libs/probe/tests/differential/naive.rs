//! What the engine must say, found the slow way: every probe on its own, in order, over the parsed event.
//!
//! The rules around the filters (scope, query, first run, contexts, keys) are written a second time here on purpose.

use event::Time;
use probe::{
    CONTEXTS_MAX, Decision, EvalError, Failure, Found, Limits, Modules, Outcome, ParseError, Program, Spec, Val, Why,
    compile, parse,
};
use sha2::{Digest, Sha256};

/// A probe and its programs, each compiled alone.
pub struct Naive {
    pub spec: Spec,
    filter: Program,
    until: Option<Program>,
    /// `first(BY)`, as only the first output counts.
    by: Option<Program>,
}

impl Naive {
    /// `None` if one of its programs is refused.
    pub fn new(spec: Spec, modules: &dyn Modules) -> Option<Self> {
        let filter = compile(&spec.filter.text, &spec.filter.name, modules).ok()?;
        let until = spec.until.as_ref().map(|u| compile(&u.text, &u.name, modules).ok());
        // The machine's key is not left to jq: what is no string is passed over.
        let by = spec
            .by
            .as_ref()
            .filter(|by| by.trim() != "machine_key")
            .map(|by| compile(&format!("first({by})"), "by", modules).ok());
        let (until, by) = (until.map_or(Some(None), |u| u.map(Some))?, by.map_or(Some(None), |b| b.map(Some))?);
        Some(Self { spec, filter, until, by })
    }
}

/// What all probes say of one line. `off` are the probes that the caller's note leaves out.
pub fn answer(
    probes: &[&Naive],
    line: &[u8],
    now_ms: i64,
    limits: &Limits,
    off: &[usize],
) -> Result<Outcome, ParseError> {
    let event = parse(line)?;
    if !event.to_json().is_ok_and(|text| text.starts_with('{')) {
        return Err(ParseError { at: 0, what: "no object" });
    }
    let seen = Seen::new(&event, now_ms);
    let mut outcome = Outcome::default();
    let mut room = CONTEXTS_MAX;
    for (i, naive) in probes.iter().enumerate() {
        if off.contains(&i) || !seen.is_for(&naive.spec, &event) {
            continue;
        }
        outcome.runs += 1;
        one(i, naive, &event, &seen, limits, &mut room, &mut outcome);
    }
    Ok(outcome)
}

fn one(
    i: usize,
    naive: &Naive,
    event: &Val,
    seen: &Seen<'_>,
    limits: &Limits,
    room: &mut usize,
    outcome: &mut Outcome,
) {
    let mut decide = |program: &Program| {
        let why = match program.decide(event, seen.now_ms, limits) {
            Decision::Yes(context) => return Some(context),
            Decision::No => return None,
            Decision::Failed(text) => Why::Failed(text),
            Decision::Exceeded(limit) => Why::Exceeded(limit),
        };
        outcome.failures.push(Failure { probe: i, why });
        None
    };
    let (context, closes) = match (decide(&naive.filter), &naive.until) {
        (Some(context), _) => (context, false),
        (None, None) => return,
        (None, Some(until)) => match decide(until) {
            Some(context) => (context, true),
            None => return,
        },
    };
    let key = match &naive.by {
        None => seen.machine.map(key),
        Some(by) => match by.eval(event, seen.now_ms, limits) {
            Ok(texts) => texts.first().filter(|text| *text != "null").map(|text| {
                let value = parse(text.as_bytes()).unwrap();
                key(value.as_str().unwrap_or(text))
            }),
            Err(e) => {
                let why = match e {
                    EvalError::Failed(text) => Why::Failed(format!("by: {text}")),
                    EvalError::Exceeded(limit) => Why::Exceeded(limit),
                };
                outcome.failures.push(Failure { probe: i, why });
                None
            }
        },
    };
    let context = context.map(|text| {
        if text.len() > *room {
            return format!("{{\"cut\":{}}}", text.len());
        }
        *room -= text.len();
        text
    });
    outcome.found.push(Found { probe: i, key, context, closes });
}

/// A key as it is written: of one longer than 1 KiB the start and a hash.
fn key(text: &str) -> String {
    if text.len() <= 1024 {
        return text.to_owned();
    }
    let hash: String = Sha256::digest(text)[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("{}…{hash}", &text[..text.floor_char_boundary(992)])
}

/// What the rules around the filters look at.
struct Seen<'e> {
    now_ms: i64,
    query: Option<&'e str>,
    first_run: bool,
    machine: Option<&'e str>,
}

impl<'e> Seen<'e> {
    fn new(event: &'e Val, now_ms: i64) -> Self {
        let word = |of: Option<&'e Val>, key: &str| of.and_then(|v| v.get(key)).and_then(Val::as_str);
        let payload = event.get("payload");
        let is_result = word(Some(event), "type") == Some("osquery_result");
        let counter = payload.and_then(|p| p.get("counter"));
        let zero = match counter.map(|c| (c.as_str(), c.to_json())) {
            Some((Some(text), _)) => text == "0",
            Some((None, Ok(text))) => {
                text.starts_with(|b: char| b == '-' || b.is_ascii_digit()) && text.parse() == Ok(0.0)
            }
            _ => false,
        };
        let snapshot =
            payload.is_some_and(|p| p.get("snapshot").is_some()) || word(payload, "action") == Some("snapshot");
        let machine = event.get("machine");
        Self {
            now_ms: word(Some(event), "received").and_then(|t| t.parse::<Time>().ok()).map_or(now_ms, Time::ms),
            query: word(payload, "name").filter(|_| is_result),
            first_run: zero && !snapshot,
            machine: ["serial_number", "hardware_uuid", "hostname"].iter().find_map(|key| word(machine, key)),
        }
    }

    fn is_for(&self, spec: &Spec, event: &Val) -> bool {
        if let Some(name) = &spec.query_name
            && (self.query != Some(name) || (self.first_run && !spec.first_run))
        {
            return false;
        }
        let machine = event.get("machine");
        let word = |key: &str| machine.and_then(|m| m.get(key)).and_then(Val::as_str);
        let (platform, unit) = (word("platform"), word("unit"));
        let words = |key: &str| -> Vec<&str> {
            let list = machine.and_then(|m| m.get(key)).and_then(Val::as_array);
            list.map(|words| words.iter().filter_map(Val::as_str).collect()).unwrap_or_default()
        };
        let (tags, groups) = (words("tags"), words("groups"));
        let said = |key: &str| machine?.get(key).filter(|value| !matches!(value, Val::Null | Val::Bool(false)));
        let key = said("serial_number").or_else(|| said("hardware_uuid")).or_else(|| said("hostname"));
        let key: Vec<&str> = key.and_then(Val::as_str).into_iter().collect();
        let within = |list: &[String], words: &[&str]| words.iter().any(|word| list.iter().any(|item| item == word));
        let (platform, unit): (Vec<&str>, Vec<&str>) = (platform.into_iter().collect(), unit.into_iter().collect());
        let scope = &spec.scope;
        let is = [
            (&scope.platforms, &platform),
            (&scope.units, &unit),
            (&scope.tags, &tags),
            (&scope.groups, &groups),
            (&scope.machines, &key),
        ];
        let is_not = [
            (&scope.not_platforms, &platform),
            (&scope.not_units, &unit),
            (&scope.not_tags, &tags),
            (&scope.not_groups, &groups),
            (&scope.not_machines, &key),
        ];
        is.iter().all(|(list, words)| list.is_empty() || within(list, words))
            && !is_not.iter().any(|(list, words)| within(list, words))
    }
}
