//! Words of Munki.

use serde_json::{Value, json};

use super::process::word as text;
use super::{Fixture, Wish, santa};
use crate::conform::judge;

/// Statuses of a script check.
const OK: u32 = 0;
/// It found something else than expected.
const FAILED: u32 = 300;

pub fn wish(name: &str, option: &str) -> Option<Wish> {
    Some(match (name, option) {
        ("munki_configuration", "principal_user_detection") => {
            Wish { pieces: &["munki"], now: &["munki-user"], ..Wish::default() }
        }
        ("munki_script_check" | "munki_script_checks", _) | ("munki_state", "script_checks_now") => {
            Wish { tags: &["conform-check"], pieces: &["munki", "munki-scripts"], ..Wish::default() }
        }
        ("incident_open" | "incident_closed", _) => {
            Wish { tags: &["conform-incident"], pieces: &["munki", "munki-scripts"], ..Wish::default() }
        }
        (name, _) if name.starts_with("munki_") => Wish { pieces: &["munki"], ..Wish::default() },
        _ => return None,
    })
}

/// Does what a word says; whether it is known.
pub fn word(f: &mut Fixture<'_>, name: &str, option: &str) -> Result<bool, String> {
    match name {
        "munki_enrollment" => {
            let secret = match option {
                "expired" => santa::expired(f, "munki")?,
                "used_up" => {
                    let secret = f.enrolment("munki", &["--quota", "1"])?;
                    enrol(f, &secret, &format!("{}X", f.serial), &super::uuid()?)?;
                    secret
                }
                _ => f.enrolment("munki", &[])?,
            };
            if option == "revoked" {
                f.hub.run(&["enrol", "revoke", secret.split('.').nth(1).unwrap_or("")])?;
            }
            f.set("MUNKI_SECRET", &secret);
        }
        "munki_enrolled_machine" => {
            let secret = f.enrolment("munki", &[])?;
            let token = enrol(f, &secret, &f.serial, &f.uuid)?;
            let serial = f.serial.clone();
            f.set("MUNKI_SECRET", &secret);
            f.set("MUNKI_TOKEN", &token);
            f.set("MUNKI_SERIAL", &serial);
        }
        "munki_configuration" if option == "principal_user_detection" => {}
        // A machine that has just run it is not told to.
        "munki_script_check" | "munki_script_checks" if f.get("SCRIPT_CHECK").is_ok() => {}
        "munki_script_check" | "munki_script_checks" => {
            let (id, _) = check(f, 0)?;
            f.set("SCRIPT_CHECK", &id);
        }
        "munki_state" => {
            let mut body = report(f);
            match option {
                "empty" => {}
                "managed_installs_now" => insert(&mut body, "managed_installs", json!([])),
                "script_checks_now" => {
                    let (id, version) = check(f, 0)?;
                    insert(&mut body, "script_check_results", json!([result(&id, &version, OK)]));
                    f.set("SCRIPT_CHECK", &id);
                }
                other => return Err(format!("munki_state knows no `{other}`")),
            }
            post(f, body)?;
        }
        // What a check finds wrong is open until it finds it right. Both checks are asked for at once: no machine is
        // told to run them again so soon.
        "incident_open" => {
            let (open, closed) = (check(f, 0)?, check(f, 1)?);
            for (of, status) in [(&open, FAILED), (&closed, FAILED), (&closed, OK)] {
                let mut body = report(f);
                insert(&mut body, "script_check_results", json!([result(&of.0, &of.1, status)]));
                post(f, body)?;
            }
        }
        "incident_closed" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn enrol(f: &Fixture<'_>, secret: &str, serial: &str, uuid: &str) -> Result<String, String> {
    let body = json!({"secret": secret, "serial_number": serial, "uuid": uuid});
    let answer = f.hub.post("/public/munki/enroll/", &[("Content-Type", "application/json")], body)?;
    match text(&answer, "token") {
        "" => Err("preparing: the enrolment brought no token".to_owned()),
        token => Ok(token.to_owned()),
    }
}

fn speak(f: &Fixture<'_>, path: &str, body: Value) -> Result<Value, String> {
    let auth = format!("MunkiEnrolledMachine {}", f.get("MUNKI_TOKEN")?);
    f.hub.post(path, &[("Content-Type", "application/json"), ("Authorization", &auth)], body)
}

fn post(f: &Fixture<'_>, body: Value) -> Result<(), String> {
    speak(f, "/public/munki/post_job/", body).map(drop)
}

fn report(f: &Fixture<'_>) -> Value {
    let machine = json!({"serial_number": f.serial, "system_info": {"computer_name": "mac-07"}});
    json!({"machine_snapshot": machine, "reports": []})
}

fn insert(body: &mut Value, key: &str, value: Value) {
    if let Some(map) = body.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// Id and version of the n-th check that the machine is told to run.
fn check(f: &Fixture<'_>, n: usize) -> Result<(String, Value), String> {
    let body = json!({"machine_serial_number": f.serial, "os_version": "14.1", "arch": "arm64"});
    let details = speak(f, "/public/munki/job_details/", body)?;
    let check = details.get("script_checks").and_then(|list| list.get(n));
    let check = check.ok_or("the machine is not told to run the script check")?;
    let id = check.get("pk").map(judge::word).unwrap_or_default();
    Ok((id, check.get("version").cloned().unwrap_or_default()))
}

fn result(id: &str, version: &Value, status: u32) -> Value {
    json!({"pk": id, "version": version, "status": status, "time": 0.1})
}
