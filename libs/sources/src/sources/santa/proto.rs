//! The messages of the sync protocol as protobuf. A request becomes the JSON that it would have been, with the names that
//! JSON has for it, so nothing else has to know.

use prost::Message as _;
use serde_json::Value;

use super::rules::{Policy, Rule, RuleType};
use super::settings::{ClientMode, Settings};
use super::sync::Kind;

/// `Content-Type` of a request and of its reply.
pub(super) const TYPE: &str = "application/x-protobuf";

/// Fields that have their default are left out, as in proto3's JSON.
fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Messages by name and number of their fields.
macro_rules! messages {
    ($($name:ident { $($field:ident: $type:ty = [$($kind:tt)+]),+ $(,)? })+) => {
        $(
            #[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
            #[allow(non_snake_case, reason = "the names that JSON has for them")]
            struct $name {
                $(
                    #[prost($($kind)+)]
                    #[serde(skip_serializing_if = "unset")]
                    $field: $type,
                )+
            }
        )+
    };
}

messages! {
    Preflight {
        serial_num: String = [string, tag = "1"],
        hostname: String = [string, tag = "2"],
        os_version: String = [string, tag = "3"],
        os_build: String = [string, tag = "4"],
        model_identifier: String = [string, tag = "5"],
        santa_version: String = [string, tag = "6"],
        primary_user: String = [string, tag = "7"],
        push_notification_token: String = [string, tag = "8"],
        client_mode: i32 = [int32, tag = "9"],
        request_clean_sync: bool = [bool, tag = "10"],
        binary_rule_count: u32 = [uint32, tag = "11"],
        certificate_rule_count: u32 = [uint32, tag = "12"],
        compiler_rule_count: u32 = [uint32, tag = "13"],
        transitive_rule_count: u32 = [uint32, tag = "14"],
        teamid_rule_count: u32 = [uint32, tag = "15"],
        signingid_rule_count: u32 = [uint32, tag = "16"],
        cdhash_rule_count: u32 = [uint32, tag = "17"],
        machine_id: String = [string, tag = "18"],
        push_notification_sync: bool = [bool, tag = "19"],
        sipStatus: u32 = [uint32, tag = "20"],
        primary_user_groups: Vec<String> = [string, repeated, tag = "21"],
        rulesHash: String = [string, tag = "22"],
    }
    Upload {
        events: Vec<Event> = [message, repeated, tag = "1"],
        machine_id: String = [string, tag = "2"],
        audit_events: Vec<AuditEvent> = [message, repeated, tag = "3"],
        file_access_events: Vec<FileAccess> = [message, repeated, tag = "4"],
    }
    Event {
        file_sha256: String = [string, tag = "1"],
        file_path: String = [string, tag = "2"],
        file_name: String = [string, tag = "3"],
        executing_user: String = [string, tag = "4"],
        execution_time: f64 = [double, tag = "5"],
        logged_in_users: Vec<String> = [string, repeated, tag = "6"],
        current_sessions: Vec<String> = [string, repeated, tag = "7"],
        decision: i32 = [int32, tag = "8"],
        file_bundle_id: String = [string, tag = "9"],
        file_bundle_path: String = [string, tag = "10"],
        file_bundle_executable_rel_path: String = [string, tag = "11"],
        file_bundle_name: String = [string, tag = "12"],
        file_bundle_version: String = [string, tag = "13"],
        file_bundle_version_string: String = [string, tag = "14"],
        file_bundle_hash: String = [string, tag = "15"],
        file_bundle_hash_millis: u32 = [uint32, tag = "16"],
        file_bundle_binary_count: u32 = [uint32, tag = "17"],
        pid: i32 = [int32, tag = "18"],
        ppid: i32 = [int32, tag = "19"],
        parent_name: String = [string, tag = "20"],
        team_id: String = [string, tag = "21"],
        signing_id: String = [string, tag = "22"],
        cdhash: String = [string, tag = "23"],
        quarantine_data_url: String = [string, tag = "24"],
        quarantine_referer_url: String = [string, tag = "25"],
        quarantine_timestamp: u32 = [uint32, tag = "26"],
        quarantine_agent_bundle_id: String = [string, tag = "27"],
        signing_chain: Vec<Certificate> = [message, repeated, tag = "28"],
        entitlementInfo: Option<Entitlements> = [message, optional, tag = "29"],
        csFlags: u32 = [uint32, tag = "30"],
        signingStatus: i32 = [int32, tag = "31"],
        secureSigningTime: u32 = [uint32, tag = "32"],
        signingTime: u32 = [uint32, tag = "33"],
        static_rule: bool = [bool, tag = "34"],
    }
    Certificate {
        sha256: String = [string, tag = "1"],
        cn: String = [string, tag = "2"],
        org: String = [string, tag = "3"],
        ou: String = [string, tag = "4"],
        valid_from: u32 = [uint32, tag = "5"],
        valid_until: u32 = [uint32, tag = "6"],
    }
    Entitlements {
        entitlements_filtered: Option<bool> = [bool, optional, tag = "1"],
        entitlements: Vec<Entitlement> = [message, repeated, tag = "2"],
    }
    Entitlement {
        key: Option<String> = [string, optional, tag = "1"],
        value: Option<String> = [string, optional, tag = "2"],
    }
    AuditEvent {
        standalone_mode_rule_creation: Option<RuleCreation> = [message, optional, tag = "1"],
    }
    RuleCreation {
        decision: i32 = [int32, tag = "1"],
        identifier: String = [string, tag = "2"],
        timestamp: u32 = [uint32, tag = "3"],
    }
    FileAccess {
        rule_version: String = [string, tag = "1"],
        rule_name: String = [string, tag = "2"],
        target: String = [string, tag = "3"],
        process_chain: Vec<Process> = [message, repeated, tag = "4"],
        access_time: f64 = [double, tag = "5"],
        decision: i32 = [int32, tag = "6"],
    }
    Process {
        file_path: String = [string, tag = "1"],
        cdhash: String = [string, tag = "2"],
        file_sha256: String = [string, tag = "3"],
        signing_id: String = [string, tag = "4"],
        team_id: String = [string, tag = "5"],
        pid: i32 = [int32, tag = "6"],
        signing_chain: Vec<Certificate> = [message, repeated, tag = "7"],
    }
    Download {
        cursor: String = [string, tag = "1"],
        machine_id: String = [string, tag = "2"],
    }
    Postflight {
        rules_received: u32 = [uint32, tag = "1"],
        rules_processed: u32 = [uint32, tag = "2"],
        machine_id: String = [string, tag = "3"],
        syncType: i32 = [int32, tag = "4"],
        rulesHash: String = [string, tag = "5"],
    }
    PreflightReply {
        client_mode: i32 = [int32, tag = "1"],
        sync_type: Option<i32> = [int32, optional, tag = "2"],
        batch_size: u32 = [uint32, tag = "3"],
        enable_bundles: Option<bool> = [bool, optional, tag = "4"],
        enable_transitive_rules: Option<bool> = [bool, optional, tag = "5"],
        enable_all_event_upload: Option<bool> = [bool, optional, tag = "6"],
        disable_unknown_event_upload: Option<bool> = [bool, optional, tag = "7"],
        full_sync_interval: u32 = [uint32, tag = "8"],
        push_notification_full_sync_interval: u32 = [uint32, tag = "9"],
        push_notification_global_rule_sync_deadline: u32 = [uint32, tag = "10"],
        allowed_path_regex: Option<String> = [string, optional, tag = "11"],
        blocked_path_regex: Option<String> = [string, optional, tag = "12"],
        block_usb_mount: Option<bool> = [bool, optional, tag = "13"],
        remount_usb_mode: Vec<String> = [string, repeated, tag = "14"],
        override_file_access_action: Option<i32> = [int32, optional, tag = "15"],
        event_detail_url: Option<String> = [string, optional, tag = "26"],
        event_detail_text: Option<String> = [string, optional, tag = "27"],
    }
    UploadReply {
        event_upload_bundle_binaries: Vec<String> = [string, repeated, tag = "1"],
    }
    DownloadReply {
        rules: Vec<RuleReply> = [message, repeated, tag = "1"],
        cursor: String = [string, tag = "2"],
    }
    RuleReply {
        identifier: String = [string, tag = "1"],
        policy: i32 = [int32, tag = "2"],
        rule_type: i32 = [int32, tag = "3"],
        custom_msg: String = [string, tag = "4"],
        custom_url: String = [string, tag = "5"],
        cel_expr: String = [string, tag = "9"],
    }
}

const MODES: &[&str] = &["", "MONITOR", "LOCKDOWN", "STANDALONE"];
const KINDS: &[&str] =
    &["", "NORMAL", "CLEAN", "CLEAN_ALL", "CLEAN_STANDALONE", "CLEAN_RULES", "CLEAN_FILE_ACCESS_RULES"];
const DECISIONS: &[&str] = &[
    "",
    "ALLOW_UNKNOWN",
    "ALLOW_BINARY",
    "ALLOW_CERTIFICATE",
    "ALLOW_SCOPE",
    "ALLOW_TEAMID",
    "ALLOW_SIGNINGID",
    "ALLOW_CDHASH",
    "BLOCK_UNKNOWN",
    "BLOCK_BINARY",
    "BLOCK_CERTIFICATE",
    "BLOCK_SCOPE",
    "BLOCK_TEAMID",
    "BLOCK_SIGNINGID",
    "BLOCK_CDHASH",
    "BUNDLE_BINARY",
    "",
    "",
    "BLOCK_BINARY_MISMATCH",
    "ALLOW_PLATFORM",
];
const ACCESSES: &[&str] = &[
    "",
    "FILE_ACCESS_DECISION_DENIED",
    "FILE_ACCESS_DECISION_DENIED_INVALID_SIGNATURE",
    "FILE_ACCESS_DECISION_AUDIT_ONLY",
];
const SIGNATURES: &[&str] = &[
    "",
    "SIGNING_STATUS_UNSIGNED",
    "SIGNING_STATUS_INVALID",
    "SIGNING_STATUS_ADHOC",
    "SIGNING_STATUS_DEVELOPMENT",
    "SIGNING_STATUS_PRODUCTION",
];

/// The JSON of a request of this stage. `Err`: it is none, or ends in the middle of a field. Where it ends behind one
/// nobody can tell, for a field that is not there is a field that is empty, and most that is lost so is said again at the
/// next sync. But events are not: an upload is only taken with the id of its machine, which agents write behind them.
pub(super) fn request(stage: &str, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let json = match stage {
        "preflight" => value(&decoded::<Preflight>(bytes)?).map(|mut said| {
            named(&mut said, "client_mode", MODES);
            said
        }),
        "eventupload" => value(&decoded::<Upload>(bytes)?).map(|mut said| {
            for (list, decisions) in [("events", DECISIONS), ("file_access_events", ACCESSES)] {
                for record in said.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    named(record, "decision", decisions);
                    named(record, "signingStatus", SIGNATURES);
                }
            }
            said
        }),
        "ruledownload" => value(&decoded::<Download>(bytes)?),
        _ => value(&decoded::<Postflight>(bytes)?).map(|mut said| {
            named(&mut said, "syncType", KINDS);
            said
        }),
    };
    let json = json.ok_or("body cannot be said in JSON")?;
    if stage == "eventupload" && json.get("machine_id").is_none() {
        return Err("body does not name its machine");
    }
    Ok(json.to_string().into_bytes())
}

fn decoded<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, &'static str> {
    M::decode(bytes).map_err(|_| "body is no message of this stage")
}

fn value(message: &impl serde::Serialize) -> Option<Value> {
    serde_json::to_value(message).ok()
}

/// A number by its name; one that has none here stays what it is.
fn named(message: &mut Value, field: &str, names: &[&str]) {
    if let Some(value) = message.get_mut(field) {
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        if let Some(name) = number.and_then(|number| names.get(number)).filter(|name| !name.is_empty()) {
            *value = (*name).into();
        }
    }
}

fn number(names: &[&str], name: &str) -> i32 {
    names.iter().position(|own| *own == name).and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
}

/// A reply that says nothing. A message without fields has no bytes, and no reply of this hub is without: this is a field
/// that nobody knows, and it is zero.
pub(super) fn nothing() -> Vec<u8> {
    vec![0x78, 0]
}

/// The reply to a preflight.
pub(super) fn preflight(settings: &Settings, kind: Kind) -> Vec<u8> {
    let never = || super::NEVER.to_owned();
    let mode = match settings.client_mode {
        ClientMode::Monitor => 1,
        ClientMode::Lockdown => 2,
        ClientMode::Standalone => 3,
    };
    PreflightReply {
        client_mode: mode,
        sync_type: Some(number(KINDS, kind.name())),
        batch_size: settings.batch_size,
        enable_bundles: settings.enable_bundles,
        enable_transitive_rules: settings.enable_transitive_rules,
        enable_all_event_upload: settings.enable_all_event_upload,
        disable_unknown_event_upload: settings.disable_unknown_event_upload,
        full_sync_interval: settings.full_sync_interval,
        push_notification_full_sync_interval: settings.push_notification_full_sync_interval.unwrap_or(0),
        push_notification_global_rule_sync_deadline: settings.push_notification_global_rule_sync_deadline.unwrap_or(0),
        allowed_path_regex: Some(settings.allowed_path_regex.clone().unwrap_or_else(never)),
        blocked_path_regex: Some(settings.blocked_path_regex.clone().unwrap_or_else(never)),
        block_usb_mount: Some(settings.block_usb_mount),
        remount_usb_mode: settings.remount_usb_mode.clone(),
        override_file_access_action: settings
            .override_file_access_action
            .as_deref()
            .map(|word| number(&["", "NONE", "AUDIT_ONLY", "DISABLE"], word)),
        event_detail_url: settings.event_detail_url.clone(),
        event_detail_text: settings.event_detail_text.clone(),
    }
    .encode_to_vec()
}

/// The reply to an upload.
pub(super) fn upload(wanted: Vec<String>) -> Vec<u8> {
    UploadReply { event_upload_bundle_binaries: wanted }.encode_to_vec()
}

/// The reply to a download.
pub(super) fn download(rules: &[Rule], cursor: Option<String>) -> Vec<u8> {
    let rules = rules.iter().map(|rule| RuleReply {
        identifier: rule.identifier.clone(),
        policy: match rule.policy {
            Policy::Allowlist => 1,
            Policy::AllowlistCompiler => 2,
            Policy::Blocklist => 3,
            Policy::SilentBlocklist => 4,
            Policy::Remove => 5,
            Policy::Cel => 6,
        },
        rule_type: match rule.rule_type {
            RuleType::Binary => 1,
            RuleType::Certificate => 2,
            RuleType::TeamId => 3,
            RuleType::SigningId => 4,
            RuleType::CdHash => 5,
        },
        custom_msg: rule.custom_msg.clone().unwrap_or_default(),
        custom_url: rule.custom_url.clone().unwrap_or_default(),
        cel_expr: rule.cel_expr.clone().unwrap_or_default(),
    });
    DownloadReply { rules: rules.collect(), cursor: cursor.unwrap_or_default() }.encode_to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn said(stage: &str, bytes: &[u8]) -> Value {
        serde_json::from_slice(&request(stage, bytes).unwrap()).unwrap()
    }

    #[test]
    fn a_request_is_the_json_that_it_would_have_been() {
        let preflight = Preflight {
            serial_num: "ZTST0000A014".into(),
            client_mode: 2,
            binary_rule_count: 7,
            machine_id: "M".into(),
            sipStatus: 3,
            ..Preflight::default()
        };
        let want = serde_json::json!({"serial_num": "ZTST0000A014", "client_mode": "LOCKDOWN", "binary_rule_count": 7,
            "machine_id": "M", "sipStatus": 3});
        assert_eq!(said("preflight", &preflight.encode_to_vec()), want);
        let event = Event {
            execution_time: 1.25,
            decision: 12,
            signingStatus: 5,
            signing_chain: vec![Certificate { cn: "c".into(), valid_from: 9, ..Certificate::default() }],
            entitlementInfo: Some(Entitlements { entitlements_filtered: Some(false), entitlements: Vec::new() }),
            ..Event::default()
        };
        let odd = Event { decision: 99, pid: -1, ..Event::default() };
        let access = FileAccess { decision: 3, access_time: 2.5, ..FileAccess::default() };
        let upload = Upload {
            events: vec![event, odd],
            machine_id: "M".into(),
            audit_events: Vec::new(),
            file_access_events: vec![access],
        };
        let want = serde_json::json!({"events": [
                {"execution_time": 1.25, "decision": "BLOCK_TEAMID", "signingStatus": "SIGNING_STATUS_PRODUCTION",
                    "signing_chain": [{"cn": "c", "valid_from": 9}], "entitlementInfo": {"entitlements_filtered": false}},
                {"decision": 99, "pid": -1}],
            "machine_id": "M",
            "file_access_events": [{"access_time": 2.5, "decision": "FILE_ACCESS_DECISION_AUDIT_ONLY"}]});
        assert_eq!(said("eventupload", &upload.encode_to_vec()), want);
    }

    #[test]
    fn a_request_that_is_cut_is_none_or_ends_behind_a_field() {
        let preflight =
            Preflight { serial_num: "S".into(), machine_id: "M".into(), sipStatus: 3, ..Preflight::default() };
        let whole = preflight.encode_to_vec();
        let taken: Vec<usize> = (0..whole.len()).filter(|end| request("preflight", &whole[..*end]).is_ok()).collect();
        let behind_fields = [0, 3, whole.len() - 3];
        assert_eq!(taken, behind_fields, "what is missing is empty");
        let upload = Upload {
            events: vec![Event { pid: 300, ..Event::default() }; 3],
            machine_id: "M".into(),
            ..Upload::default()
        };
        let whole = upload.encode_to_vec();
        assert!((0..whole.len()).all(|end| request("eventupload", &whole[..end]).is_err()));
        let postflight = Postflight { rules_received: 3, machine_id: "M".into(), ..Postflight::default() };
        let whole = postflight.encode_to_vec();
        let taken: Vec<usize> = (0..whole.len()).filter(|end| request("postflight", &whole[..*end]).is_ok()).collect();
        assert_eq!(taken, [0, 2]);
        assert_eq!(said("ruledownload", b""), serde_json::json!({}), "nothing but what is empty");
        assert!(request("ruledownload", b"{}").is_err(), "JSON is none");
    }

    #[test]
    fn replies_are_messages() {
        assert!(UploadReply::decode(nothing().as_slice()).unwrap().event_upload_bundle_binaries.is_empty());
        let rule = Rule {
            rule_type: RuleType::SigningId,
            identifier: "platform:x".into(),
            policy: Policy::Cel,
            custom_msg: None,
            custom_url: None,
            cel_expr: Some("true".into()),
        };
        let reply = DownloadReply::decode(download(&[rule], Some("c".into())).as_slice()).unwrap();
        assert_eq!((reply.cursor.as_str(), reply.rules[0].rule_type, reply.rules[0].policy), ("c", 4, 6));
        let settings = Settings { override_file_access_action: Some("DISABLE".into()), ..Settings::default() };
        let reply = PreflightReply::decode(preflight(&settings, Kind::CleanAll).as_slice()).unwrap();
        assert_eq!((reply.client_mode, reply.sync_type, reply.override_file_access_action), (1, Some(3), Some(3)));
        assert_eq!(reply.blocked_path_regex.as_deref(), Some("(?!)"));
    }
}
