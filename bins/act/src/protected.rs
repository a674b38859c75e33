//! What no rule of an action may keep from running: Apple's own programs, and the agents by which a machine is managed.
//! Whoever blocks those has lost the machine.
//!
//! A rule for a team or a signing id says itself whom it is about. A hash does not; so what the event says of the file
//! with that hash is looked at, wherever the hash stands: the object that holds it, and all that hold this object. Of a
//! hash that comes from elsewhere nothing is known here, and there Santa's own list of binaries that it never blocks is the
//! last guard. It has none of certificates: one whose owner is not named is not blocked.

use serde_json::Value;
use sources::santa::{Rule, RuleType};

/// Teams of Apple's: system tools that are no platform binaries, Xcode, iWork and other applications.
const APPLE: [&str; 4] = ["59GAB85EFG", "K36BKF7T3D", "74J34U3R6X", "243LU875E5"];
/// Teams that make agents: Santa (North Pole Security), osquery, Munki with its Python (Mac Admins Open Source), Jamf.
const AGENTS: [&str; 4] = ["ZMCG7MLDV9", "3522FA9PXF", "T4SK8ZXCXG", "483DWKW443"];
/// Santa until 2024 is of a team that makes much else; its programs are called so.
const SANTA_BEFORE: (&str, &str) = ("EQHXZ8M8AV", "com.google.santa");
/// Letters and digits of a team.
const TEAM_LEN: usize = 10;
/// The leaf certificate of macOS itself.
const APPLE_LEAF: &str = "d84db96af8c2e60ac4c851a21ec460f6f84e0235beb17d24a78712b9b021ed57";
/// Common names of leaf certificates of macOS itself. `Apple Mac OS Application Signing` is not among them: it is that of
/// everything in the App Store.
const APPLE_NAMES: [&str; 2] = ["Software Signing", "macOS Software Signing"];
/// Folders of the system, which nobody can write to, and of agents, which root writes to.
const SYSTEM: [&str; 7] = ["/System", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec"];
const OF_AGENTS: [&str; 4] =
    ["/usr/local/munki", "/opt/osquery", "/usr/local/jamf", "/Library/Application Support/JAMF"];
/// Part of `/System` by its path only: the volume of people's data.
const DATA_VOLUME: &str = "/System/Volumes";

const IS_APPLES: &str = "it would block what is part of macOS or Apple's";
const IS_AGENTS: &str = "it would block an agent that manages the machine";
const IS_NOBODYS: &str = "the event does not say whose certificate it is";

/// Why a rule must not be made of an event with this payload, if so.
pub fn refusal(rule: &Rule, payload: &Value) -> Option<&'static str> {
    if !rule.blocks() {
        return None;
    }
    let id = rule.identifier.as_str();
    match rule.rule_type {
        RuleType::TeamId => of_team(id, None),
        RuleType::SigningId => of_signing_id(id),
        RuleType::Certificate if id == APPLE_LEAF => Some(IS_APPLES),
        RuleType::Certificate => {
            let mut why = Some(IS_NOBODYS);
            each_place(payload, id, &mut |place| {
                let known = of_place(place).or_else(|| place.iter().find_map(|object| of_certificate(object)));
                let named = known.is_none() && place.iter().any(|object| names_owner(object));
                if known.is_some() || (named && why == Some(IS_NOBODYS)) {
                    why = known;
                }
                known.is_none()
            });
            why
        }
        RuleType::Binary | RuleType::CdHash => {
            let mut why = None;
            each_place(payload, id, &mut |place| {
                why = of_place(place);
                why.is_none()
            });
            why
        }
    }
}

/// Asks `look` about each place where this hash stands in the payload, until it has enough: the objects that hold it,
/// outermost first. A list counts as what holds it. Whoever parsed the payload has bounded how deep it is.
fn each_place<'a>(payload: &'a Value, hash: &str, look: &mut dyn FnMut(&[&'a Value]) -> bool) {
    visit(payload, hash, &mut Vec::new(), look);
}

fn visit<'a>(
    value: &'a Value,
    hash: &str,
    place: &mut Vec<&'a Value>,
    look: &mut dyn FnMut(&[&'a Value]) -> bool,
) -> bool {
    match value {
        Value::String(text) => !text.eq_ignore_ascii_case(hash) || look(place),
        Value::Array(all) => all.iter().all(|one| visit(one, hash, place, look)),
        Value::Object(map) => {
            place.push(value);
            let goes_on = map.values().all(|one| visit(one, hash, place, look));
            place.pop();
            goes_on
        }
        _ => true,
    }
}

/// What is said of the file at a place.
fn of_place(place: &[&Value]) -> Option<&'static str> {
    place.iter().find_map(|object| of_file(object))
}

fn text<'a>(object: &'a Value, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| object.get(*key)?.as_str()).filter(|text| !text.is_empty())
}

/// `program`: the name that a program of this team has; none: all of the team's are meant.
fn of_team(team: &str, program: Option<&str>) -> Option<&'static str> {
    let is_in = |list: &[&str]| list.iter().any(|own| own.eq_ignore_ascii_case(team));
    let is_santa = team.eq_ignore_ascii_case(SANTA_BEFORE.0) && program.is_none_or(|id| id.starts_with(SANTA_BEFORE.1));
    match () {
        () if is_in(&APPLE) => Some(IS_APPLES),
        () if is_in(&AGENTS) || is_santa => Some(IS_AGENTS),
        () => None,
    }
}

/// `TEAM:ID` or `platform:ID`.
fn of_signing_id(id: &str) -> Option<&'static str> {
    match id.split_once(':') {
        Some(("platform", _)) => Some(IS_APPLES),
        Some((team, program)) => of_team(team, Some(program)),
        None => None,
    }
}

/// What Santa, its log, its telemetry or a table of osquery's says of a file.
fn of_file(object: &Value) -> Option<&'static str> {
    let leaf = object.get("signing_chain").and_then(|chain| chain.get(0));
    let name = text(object, &["authority", "cert_cn"]).or_else(|| text(leaf?, &["cn"]));
    let signed = |keys: &[&str]| text(object, keys).or_else(|| text(object.get("code_signature")?, keys));
    let team = signed(&["team_id", "team_identifier", "teamid"]).or_else(|| team_in(name?));
    let is = |is: &Value| is == "1" || is == 1 || is == true;
    let platform = text(object, &["decision"]) == Some("ALLOW_PLATFORM")
        || ["platform_binary", "is_platform_binary"].into_iter().any(|key| object.get(key).is_some_and(is));
    if platform || (team.is_none() && name.is_some_and(|name| APPLE_NAMES.contains(&name))) {
        return Some(IS_APPLES);
    }
    let id = signed(&["signing_id", "identifier"]);
    let program = id.map(|id| id.split_once(':').map_or(id, |(_, program)| program));
    // Of a program without a name nobody knows that it is Santa.
    let by_team = team.and_then(|team| of_team(team, Some(program.unwrap_or_default())));
    by_team.or_else(|| of_signing_id(id?)).or_else(|| of_path(text(object, &["path", "file_path"])?))
}

/// The team that stands in the name of a certificate: `Developer ID Application: Corp (ABCDE12345)`.
fn team_in(name: &str) -> Option<&str> {
    let (_, team) = name.strip_suffix(')')?.rsplit_once('(')?;
    (team.len() == TEAM_LEN && team.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(team)
}

fn of_path(path: &str) -> Option<&'static str> {
    let below = |folder: &&str| path.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if path.split('/').any(|part| part == "..") || below(&DATA_VOLUME) {
        return None;
    }
    if SYSTEM.iter().any(&below) {
        return Some(IS_APPLES);
    }
    OF_AGENTS.iter().any(below).then_some(IS_AGENTS)
}

/// Names of a certificate and of whose it is.
const OWNERS: [&str; 5] = ["cn", "org", "ou", "cert_cn", "authority"];

fn names_owner(object: &Value) -> bool {
    text(object, &OWNERS).is_some()
}

/// A rule for a certificate is about all that is signed with it.
fn of_certificate(object: &Value) -> Option<&'static str> {
    let name = text(object, &["cn", "cert_cn", "authority"]);
    let team = text(object, &["ou", "team_id", "team_identifier", "teamid"]).or_else(|| team_in(name?));
    let apples = |name: &str| name.starts_with("Apple ") && team_in(name).is_none() || APPLE_NAMES.contains(&name);
    if text(object, &["org"]) == Some("Apple Inc.") || name.is_some_and(apples) {
        return Some(IS_APPLES);
    }
    of_team(team?, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_machine_needs_is_never_blocked() {
        let hash = "ab".repeat(32);
        let file = |more: Value| {
            let mut payload = json!({"file_sha256": hash.to_uppercase(), "file_path": "/Users/ada"});
            payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            payload
        };
        let chain = |cn: &str, org: &str, ou: &str| json!({"signing_chain": [{"sha256": hash, "cn": cn, "org": org, "ou": ou}]});
        let nothing = json!({});
        let log = |more: Value| {
            let mut payload = json!({"action": "EXEC", "sha256": hash, "path": "/Users/ada/x", "cert_cn": ""});
            payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            payload
        };
        let telemetry = |more: Value| {
            let mut target = json!({"executable": {"path": "/Users/ada/x", "hash": {"hash": hash}}});
            target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let instigator = json!({"is_platform_binary": true, "executable": {"path": "/bin/zsh"}});
            json!({"execution": {"instigator": instigator, "target": target}})
        };
        let certified = |name: &str| json!({"cert_sha256": hash.to_uppercase(), "cert_cn": name, "path": "/tmp/x"});
        for (kind, id, payload, want) in [
            ("TEAMID", "ZMCG7MLDV9", nothing.clone(), Some(IS_AGENTS)),
            ("TEAMID", "EQHXZ8M8AV", nothing.clone(), Some(IS_AGENTS)),
            ("TEAMID", "59GAB85EFG", nothing.clone(), Some(IS_APPLES)),
            ("TEAMID", "ABCDE12345", nothing.clone(), None),
            ("SIGNINGID", "platform:com.apple.curl", nothing.clone(), Some(IS_APPLES)),
            ("SIGNINGID", "EQHXZ8M8AV:com.google.santa.daemon", nothing.clone(), Some(IS_AGENTS)),
            ("SIGNINGID", "EQHXZ8M8AV:com.google.Chrome", nothing.clone(), None),
            ("SIGNINGID", "ABCDE12345:com.apple.evil", nothing.clone(), None),
            ("CERTIFICATE", APPLE_LEAF, nothing.clone(), Some(IS_APPLES)),
            ("CERTIFICATE", &hash, chain("Apple Mac OS Application Signing", "Apple Inc.", ""), Some(IS_APPLES)),
            (
                "CERTIFICATE",
                &hash,
                chain("Developer ID Application: osquery", "osquery", "3522FA9PXF"),
                Some(IS_AGENTS),
            ),
            ("CERTIFICATE", &hash, chain("Developer ID Application: Evil", "Evil", "ABCDE12345"), None),
            ("BINARY", &hash, nothing.clone(), None),
            ("BINARY", &hash, file(json!({})), None),
            ("BINARY", &hash, file(json!({"signing_id": "platform:com.apple.ls"})), Some(IS_APPLES)),
            ("BINARY", &hash, file(json!({"decision": "ALLOW_PLATFORM"})), Some(IS_APPLES)),
            ("BINARY", &hash, file(json!({"team_id": "483DWKW443"})), Some(IS_AGENTS)),
            (
                "BINARY",
                &hash,
                file(json!({"team_id": "EQHXZ8M8AV", "signing_id": "EQHXZ8M8AV:com.google.santa"})),
                Some(IS_AGENTS),
            ),
            (
                "BINARY",
                &hash,
                file(json!({"team_id": "EQHXZ8M8AV", "signing_id": "EQHXZ8M8AV:com.google.Chrome"})),
                None,
            ),
            ("BINARY", &hash, file(chain("Software Signing", "Apple Inc.", "")), Some(IS_APPLES)),
            ("BINARY", &hash, file(chain("Apple Mac OS Application Signing", "Apple Inc.", "")), None),
            ("BINARY", &hash, file(json!({"file_path": "/usr/libexec"})), Some(IS_APPLES)),
            ("BINARY", &hash, file(json!({"file_path": "/System/Volumes/Data/Users/ada"})), None),
            ("BINARY", &hash, file(json!({"file_path": "/System/../Users/ada"})), None),
            ("BINARY", &hash, file(json!({"file_path": "/usr/local/munki/libs"})), Some(IS_AGENTS)),
            ("BINARY", &hash, file(json!({"file_path": "/usr/local/munkix"})), None),
            ("BINARY", &hash, json!({"columns": {"sha256": hash, "authority": "Software Signing"}}), Some(IS_APPLES)),
            ("BINARY", &hash, json!({"columns": {"sha256": "other", "authority": "Software Signing"}}), None),
            ("BINARY", &hash, json!({"snapshot": [{"sha256": hash, "path": "/sbin/launchd"}]}), Some(IS_APPLES)),
            ("BINARY", &hash, json!({"rows": [{"sha256": hash, "path": "/bin/zsh"}]}), Some(IS_APPLES)),
            (
                "BINARY",
                &hash,
                json!({"rows": [{"sha256": "other", "path": "/bin/zsh"}, {"sha256": hash, "path": "/tmp/zsh"}]}),
                None,
            ),
            ("BINARY", &hash, log(json!({"teamid": "483DWKW443"})), Some(IS_AGENTS)),
            ("BINARY", &hash, log(json!({"cert_cn": "Software Signing"})), Some(IS_APPLES)),
            (
                "BINARY",
                &hash,
                log(json!({"cert_cn": "Developer ID Application: Mac Admins Open Source (T4SK8ZXCXG)"})),
                Some(IS_AGENTS),
            ),
            ("BINARY", &hash, log(json!({"cert_cn": "Developer ID Application: Evil (ABCDE12345)"})), None),
            ("BINARY", &hash, telemetry(json!({"is_platform_binary": true})), Some(IS_APPLES)),
            ("BINARY", &hash, telemetry(json!({"code_signature": {"team_id": "ZMCG7MLDV9"}})), Some(IS_AGENTS)),
            ("BINARY", &hash, telemetry(json!({"code_signature": {"team_id": "ABCDE12345"}})), None),
            (
                "CDHASH",
                &hash[..40],
                telemetry(json!({"code_signature": {"cdhash": hash[..40], "team_id": "3522FA9PXF"}})),
                Some(IS_AGENTS),
            ),
            ("CERTIFICATE", &hash, nothing.clone(), Some(IS_NOBODYS)),
            ("CERTIFICATE", &hash, json!({"cert_sha256": hash, "path": "/tmp/x"}), Some(IS_NOBODYS)),
            ("CERTIFICATE", &hash, certified("Developer ID Application: JAMF Software (483DWKW443)"), Some(IS_AGENTS)),
            ("CERTIFICATE", &hash, certified("Apple Mac OS Application Signing"), Some(IS_APPLES)),
            ("CERTIFICATE", &hash, certified("Apple Development: Evil (ABCDE12345)"), None),
            ("CERTIFICATE", &hash, certified("Developer ID Application: Evil (ABCDE12345)"), None),
            (
                "CERTIFICATE",
                &hash,
                json!({"cert_sha256": hash, "cert_cn": "x", "path": "/usr/local/munki/managedsoftwareupdate"}),
                Some(IS_AGENTS),
            ),
        ] {
            let read =
                |policy: &str| Rule::read(&json!({"rule_type": kind, "identifier": id, "policy": policy})).unwrap();
            assert_eq!(refusal(&read("BLOCKLIST"), &payload), want, "{kind} {id} {payload}");
            assert_eq!(refusal(&read("ALLOWLIST"), &payload), None, "what is let run is nobody's harm");
        }
    }
}
