//! `POST job_details/`: what a machine is to do and to tell this time.

use std::io::BufRead;

use serde_json::{Map, Value, json};

use super::check::{self, Status, Version};
use super::desk::State;
use super::{Asked, legacy, object, refused, text};
use crate::{Reply, ReplyBody, Sink};

/// Answers with what is wanted of the machine.
pub(super) fn answer(asked: &Asked<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let who = asked.speaker()?;
    let bytes = asked.read(body, sink)?;
    if bytes.is_empty() {
        return Err(refused("empty_body", "body is empty"));
    }
    let object = object(&bytes)?;
    let machine = asked.only(who, text(&object, "machine_serial_number").as_deref(), sink)?;
    let state = asked.munki.state(machine.key().unwrap_or_default()).map_err(|_| Reply::busy())?;
    let now = asked.request.received.ms();
    let settings = asked.munki.settings();

    let checks = asked.munki.checks(&machine);
    let failed = |name: &str| state.as_ref().and_then(|s| s.ran(name)?.status) == Some(Status::Failed.number());
    let incidents: Vec<&str> = checks.iter().map(|check| check.name.as_str()).filter(|name| failed(name)).collect();
    let mut tags = machine.tags.clone();
    tags.sort();

    let mut told = if asked.request.route.legacy { legacy::wanted() } else { Map::new() };
    told.insert("apps_full_info_shard".into(), settings.apps_full_info_shard.into());
    told.insert("incidents".into(), json!(incidents));
    told.insert("tags".into(), json!(tags));
    if let Some(user) = &settings.principal_user_detection {
        let detection = json!({ "sources": user.sources, "domains": user.domains });
        told.insert("principal_user_detection".into(), detection);
    }
    if !settings.collected_condition_keys.is_empty() {
        told.insert("collected_condition_keys".into(), json!(settings.collected_condition_keys));
    }
    if let Some(state) = &state {
        if let Some(sha1sum) = &state.report {
            told.insert("last_seen_sha1sum".into(), sha1sum.as_str().into());
        }
        told.insert("managed_installs".into(), installs_due(state, settings.full_sync_ms, now).into());
    }
    let version = text(&object, "os_version").and_then(|text| Version::parse(&text));
    let arch = text(&object, "arch").and_then(|name| check::arch(&name));
    if let (Some(version), Some(arch)) = (version, arch) {
        let due = checks.into_iter().filter(|check| check.is_for(&version, arch) && check.is_due(state.as_ref(), now));
        let due: Vec<Value> = due.map(script).collect();
        if !due.is_empty() {
            told.insert("script_checks".into(), due.into());
        }
    }
    asked.heard(&machine, "job_details", sink);
    Ok(Reply::ok(ReplyBody::Own(Value::Object(told).to_string().into_bytes())))
}

fn installs_due(state: &State, every: i64, now: i64) -> bool {
    !state.installs_at.is_some_and(|at| (0..every).contains(&now.saturating_sub(at)))
}

fn script(check: &check::Check) -> Value {
    json!({
        "pk": check.pk(), "name": check.name, "version": VERSION, "type": check.expected.kind(),
        "source": check.source, "expected_result": check.expected.value(),
    })
}

/// The revision of a script stands in its `pk`, so there is one version of each.
pub(super) const VERSION: i64 = 1;
