//! The rules of a machine: what it is given, page by page, and when that is believed to have arrived.
//!
//! The ledger holds what a machine has confirmed. A sync that gives something is a session: the rules that the machine
//! will have, and the plan that leads there. Only its postflight confirms it. What was given in a session that broke off
//! may have arrived or not, so the next plan says it again, or takes it away.

use serde_json::Value;

use super::desk::{Client, Ledger, Session};
use super::fields;
use super::rules::{Policy, Rule, RuleType, Ruleset, Version};
use super::{Asking, proto};
use crate::{Reply, Sink};

/// What becomes of the rules that a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// They stay; what changed is given.
    Normal,
    /// They go; all is given.
    Clean,
    /// So do those that the machine made itself.
    CleanAll,
}

impl Kind {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("NORMAL", Self::Normal), ("CLEAN", Self::Clean), ("CLEAN_ALL", Self::CleanAll)];

    /// The word of the protocol, for this version: old ones know small letters only.
    pub fn word(self, version: Version) -> &'static str {
        match (self, version < Version::LETTERS) {
            (Self::Normal, true) => "normal",
            (Self::Clean, true) => "clean",
            (Self::CleanAll, true) => "clean_all",
            (own, false) => own.name(),
        }
    }

    /// Its name in the state.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }

    /// The kind of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, kind)| *kind)
    }
}

/// A clean sync without a rule is none to the agent: it keeps its old rules and asks again. So it is given one that takes
/// away what nobody has.
fn nothing() -> Rule {
    Rule {
        rule_type: RuleType::Binary,
        identifier: "0".repeat(64),
        policy: Policy::Remove,
        custom_msg: None,
        custom_url: None,
        cel_expr: None,
    }
}

/// What leads a machine to `target`. `unsure` is what was given and never confirmed.
fn plan(kind: Kind, target: &Ruleset, confirmed: Option<&Ruleset>, unsure: Option<&Ruleset>) -> Ruleset {
    let mut plan: Vec<Rule> = Vec::new();
    if kind == Kind::Normal {
        let had = [confirmed, unsure].into_iter().flatten().flat_map(Ruleset::rules);
        plan.extend(had.filter(|rule| target.find(rule).is_none()).map(Rule::removal));
        let has = |rule: &&Rule| {
            confirmed.and_then(|has| has.find(rule)) == Some(*rule)
                && unsure.and_then(|given| given.find(rule)).is_none()
        };
        plan.extend(target.rules().iter().filter(|rule| !has(rule)).cloned());
    } else if target.rules().is_empty() {
        plan.push(nothing());
    } else {
        plan.extend_from_slice(target.rules());
    }
    Ruleset::new(plan)
}

/// Begins a session that leads the machine to the rules it is to have now; none if it has them.
pub(super) fn begin(
    asking: &Asking<'_>,
    client: Client,
    kind: Kind,
    sink: &mut dyn Sink,
) -> Result<(Client, Option<Ruleset>), Reply> {
    let desk = asking.desk;
    let kept = |hash: &[u8; 32]| desk.kept(hash).map_err(|_| Reply::busy());
    let target = desk.rules(&client.machine, client.version());
    let open = client.ledger.session.as_ref();
    let fine = kind == Kind::Normal && open.is_none() && client.ledger.confirmed == Some(target.hash());
    if fine {
        return Ok((client, None));
    }
    let confirmed = client.ledger.confirmed.as_ref().map(kept).transpose()?;
    let unsure = open.map(|session| kept(&session.plan)).transpose()?;
    let plan = plan(kind, &target, confirmed.as_deref(), unsure.as_deref());
    if plan.rules().is_empty() && open.is_none() && client.ledger.confirmed.is_some() {
        return Ok((client, None));
    }
    sink.long().map_err(|_| Reply::busy())?; // what follows waits for the disk
    let id = asking.request.id.to_owned();
    let obeys = client.ledger.ordered.filter(|order| kind >= order.kind).map(|order| order.number);
    let session = Session { id, kind, staged: target.hash(), plan: plan.hash(), obeys };
    let ledger = Ledger { session: Some(session), ..client.ledger };
    desk.keep(&client, &ledger, &[&target, &plan]).map_err(|_| Reply::busy())?;
    Ok((Client { ledger, ..client }, Some(plan)))
}

/// Answers a download: a page of the plan, and a cursor if there is more of it.
pub(super) fn rules(asking: &Asking<'_>, client: Client, object: &[u8], sink: &mut dyn Sink) -> Result<Reply, Reply> {
    asking.hub.heard(super::NAME, &client.machine, "ruledownload");
    let page = usize::try_from(asking.desk.settings(&client.machine).batch_size).unwrap_or(1).max(1);
    let cursor = fields::text(object, "cursor");
    let at = client.ledger.session.as_ref().and_then(|session| offset(&session.id, cursor.as_deref()?));
    let (client, plan, at) = match (&client.ledger.session, at) {
        (Some(session), Some(at)) => {
            let plan = asking.desk.kept(&session.plan).map_err(|_| Reply::busy())?;
            (client, Some(Ruleset::clone(&plan)), at)
        }
        _ => {
            let (client, plan) = first(asking, client, sink)?;
            (client, plan, 0)
        }
    };
    let rules = plan.as_ref().map(Ruleset::rules).unwrap_or_default();
    let (from, upto) = (at.min(rules.len()), at.saturating_add(page).min(rules.len()));
    let page = rules.get(from..upto).unwrap_or_default();
    let session = client.ledger.session.as_ref();
    let cursor = session.filter(|_| upto < rules.len()).map(|session| format!("{}.{upto}", session.id));
    if session.is_some() && cursor.is_none() {
        asking.desk.gave(&client);
    }
    let json = || {
        let told: Vec<Value> = page.iter().map(|rule| rule.told(client.version())).collect();
        match &cursor {
            Some(cursor) => serde_json::json!({"rules": told, "cursor": cursor}),
            None => serde_json::json!({"rules": told}),
        }
    };
    Ok(match page {
        [] => asking.ok(json, proto::nothing),
        page => asking.ok(json, || proto::download(page, cursor.clone())),
    })
}

/// The plan from its first page on: that of the open session if nothing has changed since it began.
fn first(asking: &Asking<'_>, client: Client, sink: &mut dyn Sink) -> Result<(Client, Option<Ruleset>), Reply> {
    let target = asking.desk.rules(&client.machine, client.version()).hash();
    match &client.ledger.session {
        Some(session) if session.staged == target => {
            let plan = asking.desk.kept(&session.plan).map_err(|_| Reply::busy())?;
            Ok((client, Some(Ruleset::clone(&plan))))
        }
        open => {
            let kind = open.as_ref().map_or(Kind::Normal, |session| session.kind);
            begin(asking, client, kind, sink)
        }
    }
}

/// Where in the session of this name a cursor goes on; none if it is another's.
fn offset(session: &str, cursor: &str) -> Option<usize> {
    let (own, at) = cursor.rsplit_once('.')?;
    (own == session).then(|| at.parse().ok())?
}

/// Answers a postflight: what was given is there.
pub(super) fn postflight(
    asking: &Asking<'_>,
    client: Client,
    object: &[u8],
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let confirms = client.ledger.session.as_ref().filter(|_| asking.desk.was_given(&client));
    let done = confirms.map(|session| Ledger {
        session: None,
        confirmed: Some(session.staged),
        ordered: client.ledger.ordered.filter(|order| session.obeys != Some(order.number)),
    });
    if done.is_some() {
        sink.long().map_err(|_| Reply::busy())?;
    }
    if let Some(mut lines) = asking.said(&client.machine, object, done.is_some()) {
        lines.flush(sink, true).map_err(|_| Reply::busy())?;
    }
    if let Some(ledger) = done {
        asking.desk.keep(&client, &ledger, &[]).map_err(|_| Reply::busy())?;
    }
    Ok(Reply { records: 1, ..asking.done() })
}

/// Whether a machine says that it has no rules of ours.
pub(super) fn has_none(object: &[u8]) -> bool {
    let kinds = ["binary", "certificate", "compiler", "teamid", "signingid", "cdhash"];
    kinds.iter().all(|kind| fields::count(object, &format!("{kind}_rule_count")) == 0)
}

/// The kind of a sync, given what the machine says at preflight.
pub(super) fn kind(client: &Client, object: &[u8], confirmed: Option<&Ruleset>) -> Kind {
    let lost = client.ledger.session.as_ref().map(|session| session.kind);
    let ordered = client.ledger.ordered.map(|order| order.kind);
    let emptied = has_none(object) && confirmed.is_some_and(|rules| !rules.rules().is_empty());
    let never = client.ledger.confirmed.is_none();
    let asks = fields::flag(object, "request_clean_sync");
    let own = if never || emptied || asks { Kind::Clean } else { Kind::Normal };
    [lost, ordered].into_iter().flatten().fold(own, Kind::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn set(words: &str) -> Ruleset {
        let rule = |word: &str| {
            let (identifier, policy) = match word.strip_prefix('-') {
                Some(identifier) => (identifier, Policy::Remove),
                None => word.strip_suffix('!').map_or((word, Policy::Allowlist), |word| (word, Policy::Blocklist)),
            };
            Rule { policy, identifier: identifier.into(), ..nothing() }
        };
        Ruleset::new(words.split_whitespace().map(rule).collect())
    }

    #[test]
    fn a_plan_leads_from_what_is_there_to_what_shall_be() {
        for (target, confirmed, unsure, want) in [
            ("a b!", "", "", "a b!"),
            ("a b!", "a b", "", "b!"),
            ("a", "a b", "", "-b"),
            ("", "", "a", "-a"),
            ("a", "a", "-a", "a"),
            ("a!", "a", "", "a!"),
            ("a", "a", "a!", "a"),
            ("a", "a", "", ""),
        ] {
            let made = plan(Kind::Normal, &set(target), Some(&set(confirmed)), Some(&set(unsure)));
            assert_eq!(made, set(want), "{target} from {confirmed}, perhaps {unsure}");
        }
        assert_eq!(plan(Kind::Clean, &set("a b"), Some(&set("a c")), None), set("a b"));
        let none = plan(Kind::CleanAll, &set(""), None, None);
        assert_eq!(none.rules(), [nothing()], "never without a rule");
    }

    #[test]
    fn a_cursor_is_of_one_session() {
        assert_eq!(offset("a-1", "a-1.50"), Some(50));
        for other in ["a-2.50", "a-1", "a-1.x", "", "50", "a-1.-1"] {
            assert_eq!(offset("a-1", other), None, "{other}");
        }
    }

    #[test]
    fn old_versions_know_small_letters() {
        assert_eq!(Kind::CleanAll.word(Version::parse("2024.1")), "clean_all");
        assert_eq!(Kind::CleanAll.word(Version::parse("2025.6")), "CLEAN_ALL");
        assert_eq!(Kind::of("CLEAN"), Some(Kind::Clean));
    }
}
