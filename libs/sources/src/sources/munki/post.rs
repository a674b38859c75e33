//! `POST post_job/`: what a machine tells after a run. Reports, results of checks and what it has become raw lines; what
//! it is told next time is moved only once those are durable, and so a post that was not taken comes again.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;

use event::{Machine, json};
use serde_json::{Value, json};

use super::check::{Check, Status};
use super::desk::{Ran, State};
use super::report::Report;
use super::{Asked, DONE, NAME, Who, job, pieces};
use crate::cut::Cutting;
use crate::scan::Flaw;
use crate::{Lines, NoRoom, RECORD_MAX, Record, Reply, Sink};

/// Pieces of one post that are refused one by one; of more only the number is told.
const BROKEN_MAX: usize = 1000;
/// Reports of one post; Munki keeps a hundred.
const REPORTS_MAX: usize = 1000;
/// Events of all reports of one post; an event is many times as long as the shortest of them.
const ROWS_MAX: usize = 65_536;
/// Results of script checks of one post.
const RESULTS_MAX: usize = 1000;
/// A report whose time lies further ahead than this, in ms, counts as one of now: a clock that is wrong once must not
/// make all later reports old.
const AHEAD_MS: i64 = 10 * 60_000;
/// The member that managed installs are told in.
const INSTALLS: &str = "managed_installs";
/// The lists of what a run has brought. Of a list one broken item costs only itself; what is no list costs the post.
const REPORTS: &str = "reports";
const RESULTS: &str = "script_check_results";
/// The lists of a snapshot whose items stand for themselves.
const LISTS: [&str; 7] =
    ["osx_app_instances", "profiles", "certificates", "disks", "network_interfaces", "extensions", INSTALLS];

/// Answers with `{}` once everything that was told is on disk.
pub(super) fn answer(asked: &Asked<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let who = asked.speaker()?;
    if body.fill_buf().is_ok_and(<[u8]>::is_empty) {
        return Err(Reply::error(400, "empty_body", "body is empty"));
    }
    // Where lines are durable as soon as the sink has them: the state that is kept below must not be ahead of them.
    sink.long().map_err(|_| Reply::busy())?;
    let bytes = asked.read(body, sink).inspect_err(|reply| too_long(asked, &who, reply, sink))?;
    let told = pieces::members(pieces::object(&bytes)?);
    let snapshot = pieces::said(&told, "machine_snapshot").filter(|text| text.starts_with(b"{"));
    let snapshot = snapshot.ok_or_else(|| Reply::error(400, "missing_key", "machine_snapshot is missing"))?;
    for list in [REPORTS, RESULTS] {
        if pieces::said(&told, list).is_some_and(|text| !text.starts_with(b"[")) {
            return Err(Reply::error(400, "bad_list", &format!("{list} is no list")));
        }
    }
    let snapshot = pieces::members(snapshot);
    let machine = asked.only(who, serial(&snapshot).as_deref(), sink)?;

    let key = machine.key().unwrap_or_default();
    let _alone = asked.munki.alone(key).ok_or_else(Reply::busy)?;
    let before = asked.munki.state(key).map_err(|_| Reply::busy())?.unwrap_or_default();
    let lines = Lines::new(NAME, asked.request, &machine);
    let mut post = Post { asked, machine: &machine, lines, sink, broken: 0, taken: 0 };
    let state = post.all(&told, &snapshot, before).map_err(|_| Reply::busy())?;
    let taken = post.taken;
    asked.munki.keep(key, &state).map_err(|_| Reply::busy())?;
    asked.heard(&machine, "post_job", sink);
    Ok(Reply { records: taken, ..Reply::ok(DONE) })
}

/// The serial number stands in the snapshot, or (scripts of 2016) in its machine.
fn serial(snapshot: &BTreeMap<&str, &[u8]>) -> Option<String> {
    pieces::string(snapshot, "serial_number")
        .or_else(|| pieces::string(&pieces::members(pieces::said(snapshot, "machine")?), "serial_number"))
}

/// A body that is refused for its length is worth an event: the machine tells nothing any more.
fn too_long(asked: &Asked<'_>, who: &Who<'_>, reply: &Reply, sink: &mut dyn Sink) {
    let Who::Machine(machine) = who else { return };
    if reply.status == 413 && asked.desk.heard(NAME, machine, "refused") {
        let mut lines = Lines::new(NAME, asked.request, machine);
        lines.own("refused", json!({ "reason": reply.reason }).to_string().as_bytes());
        let _ = lines.flush(sink, true);
    }
}

/// A post while its lines are written.
pub(super) struct Post<'a> {
    asked: &'a Asked<'a>,
    machine: &'a Machine,
    lines: Lines<'a>,
    sink: &'a mut dyn Sink,
    broken: usize,
    taken: usize,
}

impl Post<'_> {
    /// Writes everything; what is known of the machine from now on comes back.
    fn all(
        &mut self,
        told: &BTreeMap<&str, &[u8]>,
        snapshot: &BTreeMap<&str, &[u8]>,
        mut state: State,
    ) -> Result<State, NoRoom> {
        let now = self.asked.request.received.ms();
        let lost = pieces::said(told, "last_seen_report_found") == Some(b"false");
        let mut listed = None;
        if let Some(reports) = pieces::said(told, REPORTS) {
            listed = self.reports(reports, lost, &mut state)?;
        }
        if let Some(results) = pieces::said(told, RESULTS) {
            self.checks(results, now, &mut state)?;
        }
        let installs = pieces::said(told, INSTALLS).or(listed.as_deref());
        if installs.is_some_and(|list| list.starts_with(b"[")) {
            state.installs_at = Some(now);
        } else if lost {
            state.installs_at = None; // a machine that was wiped: what was known of it is worth nothing
        }
        self.snapshot(snapshot, installs)?;
        if self.broken > BROKEN_MAX {
            let line = json!({ "reason": "broken", "pieces": self.broken });
            self.lines.own("refused", line.to_string().as_bytes());
        }
        self.lines.flush(self.sink, true)?;
        Ok(state)
    }

    /// A line for each report that was not seen before; the managed installs that the newest of them lists.
    fn reports(&mut self, reports: &[u8], lost: bool, state: &mut State) -> Result<Option<Vec<u8>>, NoRoom> {
        let settings = self.asked.munki.settings();
        let most = self.asked.request.received.ms().saturating_add(AHEAD_MS);
        let last = state.report.clone().filter(|_| !lost);
        let mut seen: HashSet<String> = last.into_iter().collect();
        let (mut newest, mut listed, mut rows) = (state.report_at.filter(|_| !lost), None, 0);
        for (number, text) in pieces::items(reports).enumerate() {
            let report = match Report::read(text, &settings.collected_condition_keys) {
                Ok(report) if number < REPORTS_MAX && rows + report.rows.len() <= ROWS_MAX => report,
                _ => {
                    self.broken(REPORTS, text)?;
                    continue;
                }
            };
            if report.sha1sum.as_ref().is_some_and(|sha1sum| !seen.insert(sha1sum.clone())) {
                continue;
            }
            rows += report.rows.len();
            report.write(self)?;
            let at = report.at.map(|at| at.min(most));
            if report.sha1sum.is_some() && at >= newest {
                (newest, state.report, state.report_at) = (at, report.sha1sum, at);
                listed = report.installs;
            }
        }
        Ok(listed)
    }

    /// A line for each check whose status is another now.
    fn checks(&mut self, results: &[u8], now: i64, state: &mut State) -> Result<(), NoRoom> {
        let checks = self.asked.munki.checks(self.machine);
        // Those that were due count as run, whether there is a result or not: a script that never ends must not be
        // tried again at every run.
        let mut ran: Vec<Ran> = checks.iter().filter_map(|check| known(check, state, now)).collect();
        for text in pieces::items(results).take(RESULTS_MAX) {
            let result = pieces::canonical(text).and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            let of = |key: &str| result.as_ref().and_then(|result| result.get(key));
            let status = of("status").and_then(Value::as_i64).and_then(Status::of);
            let (Some(pk), Some(status)) = (of("pk").and_then(Value::as_str), status) else {
                self.broken(RESULTS, text)?;
                continue;
            };
            // One that there is no more, or another version of it: its result means nothing any more.
            let current = of("version").and_then(Value::as_i64) == Some(job::VERSION);
            let Some((name, rev)) = pk.split_once('/').filter(|_| current) else { continue };
            let Some(ran) = ran.iter_mut().find(|ran| ran.name == name && ran.rev == rev) else { continue };
            let previous = ran.status.and_then(Status::of);
            (ran.at, ran.status) = (now, Some(status.number()));
            if previous != Some(status) {
                let line = json!({ "name": name, "pk": pk, "status": status.word(),
                    "previous_status": previous.map(Status::word), "time": of("time") });
                self.line("check", None, line.to_string().as_bytes())?;
            }
        }
        state.checks = ran;
        Ok(())
    }

    /// What the machine has, in as few lines as it takes. Each kind of things is in one of them, or in none.
    fn snapshot(&mut self, members: &BTreeMap<&str, &[u8]>, installs: Option<&[u8]>) -> Result<(), NoRoom> {
        let mut line = b"{".to_vec();
        let own = members.iter().map(|(key, value)| (*key, *value)).filter(|(key, _)| *key != INSTALLS);
        for (key, value) in own.chain(installs.map(|list| (INSTALLS, list))) {
            let value = if LISTS.contains(&key) && value.starts_with(b"[") {
                let Some(list) = self.list(key, value)? else { continue };
                list
            } else if let Some(value) = pieces::canonical(value) {
                value
            } else {
                self.broken(key, value)?;
                continue;
            };
            let mut member = Vec::with_capacity(value.len() + key.len() + 4);
            json::write_str(key, &mut member);
            member.push(b':');
            member.extend_from_slice(&value);
            if member.len() + 2 > RECORD_MAX {
                // Half of a list would mean that the other half is gone.
                let said = json!({ "reason": "too_long", "what": key.chars().take(64).collect::<String>(), "bytes": value.len() });
                self.lines.own("refused", said.to_string().as_bytes());
                continue;
            }
            if line.len() + member.len() + 2 > RECORD_MAX {
                line.push(b'}');
                self.line("snapshot", None, &std::mem::replace(&mut line, b"{".to_vec()))?;
            }
            if line.len() > 1 {
                line.push(b',');
            }
            line.extend_from_slice(&member);
        }
        line.push(b'}');
        self.line("snapshot", None, &line)
    }

    /// The sound items of a list; none if all of it is broken, which does not mean that the machine has nothing.
    fn list(&mut self, key: &str, list: &[u8]) -> Result<Option<Vec<u8>>, NoRoom> {
        let broken = self.broken;
        let mut out = b"[".to_vec();
        for item in pieces::items(list) {
            match pieces::canonical(item).filter(|item| is_item(key, item)) {
                Some(item) => {
                    if out.len() > 1 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&item);
                }
                None => self.broken(key, item)?,
            }
        }
        out.push(b']');
        Ok((out.len() > 2 || self.broken == broken).then_some(out))
    }

    /// A line, handed on when there is enough.
    pub(super) fn line(&mut self, kind: &str, ms: Option<i64>, text: &[u8]) -> Result<(), NoRoom> {
        self.lines.timed(kind, ms, text);
        self.taken += 1;
        self.lines.flush(self.sink, false)
    }

    /// A piece that is not what it should be goes its own way, to be refused alone.
    pub(super) fn broken(&mut self, of: &str, text: &[u8]) -> Result<(), NoRoom> {
        self.broken += 1;
        if self.broken > BROKEN_MAX {
            return Ok(());
        }
        match pieces::canonical(text) {
            Some(text) => {
                let mut line = b"{\"of\":".to_vec();
                json::write_str(of, &mut line);
                line.extend_from_slice(b",\"item\":");
                line.extend_from_slice(&text);
                line.push(b'}');
                self.lines.timed("item", None, &line);
            }
            // As base64 it grows by a third.
            None if text.len() > RECORD_MAX / 4 * 3 => self.lines.record("item", &Cutting::whole(text)),
            None => self.lines.record("item", &Record::Bytes { text, flaw: Flaw::Json }),
        }
        self.lines.flush(self.sink, false)
    }
}

/// What is known of a check when its machine says which it has run.
fn known(check: &Check, state: &State, now: i64) -> Option<Ran> {
    let ran = state.ran(&check.name).filter(|ran| ran.rev == check.rev);
    let at = if check.is_due(Some(state), now) { now } else { ran?.at };
    Some(Ran { name: check.name.clone(), rev: check.rev.clone(), status: ran.and_then(|ran| ran.status), at })
}

/// Whether it is what the list is of.
fn is_item(key: &str, item: &[u8]) -> bool {
    match key {
        INSTALLS => pieces::items(item).next().is_some_and(|name| name.starts_with(b"\"") && name != b"\"\""),
        "osx_app_instances" => {
            item.starts_with(b"{")
                && ["bundle_path", "path"]
                    .into_iter()
                    .any(|key| json::get(item, key).and_then(json::parse_str).is_some_and(|path| !path.is_empty()))
        }
        _ => item.starts_with(b"{"),
    }
}
