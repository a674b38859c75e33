//! Words of osquery.

use serde_json::{Value, json};

use super::process::word as text;
use super::{Fixture, Wish};

/// Headers of what osquery sends.
const JSON: [(&str, &str); 2] = [("Content-Type", "application/json"), ("User-Agent", "osquery/5.23.0")];
/// The request of the carves in the cases.
const CARVE_REQUEST: &str = "0c3a7d0e-8f3c-4c1b-8f86-5d0b8a4bb0f2";
/// How long a live query goes on: no case lasts longer.
const LIVE: &str = "60s";
/// How often a live query is looked for before it is said not to come.
const LOOKS: u32 = 50;
/// Between two looks.
const POLL: std::time::Duration = std::time::Duration::from_millis(100);

pub fn wish(name: &str, option: &str) -> Option<Wish> {
    Some(match (name, option.split(',').next().unwrap_or("")) {
        ("osquery_four_packs", _) => Wish { tags: &["conform-a"], pieces: &["four-packs"], ..Wish::default() },
        ("osquery_pack_query", "") => Wish { tags: &["conform-std"], pieces: &["pack"], ..Wish::default() },
        ("osquery_pack_query", "compliance") => {
            Wish { tags: &["conform-cc"], pieces: &["pack-compliance"], ..Wish::default() }
        }
        ("osquery_pack_query", "tag") => Wish { tags: &["conform-tag"], pieces: &["pack-tag"], ..Wish::default() },
        ("osquery_run_compliance", _) => {
            Wish { tags: &["conform-cc"], pieces: &["pack-compliance"], ..Wish::default() }
        }
        ("osquery_pack", _) => Wish { pieces: &["existing-pack"], ..Wish::default() },
        ("osquery_option", _) => Wish { pieces: &["option-disable_carver"], ..Wish::default() },
        ("osquery_inventory_posted", _) => Wish { pieces: &["inventory"], ..Wish::default() },
        ("carve_session", _) => Wish { pieces: &["carves"], ..Wish::default() },
        _ => return None,
    })
}

/// Does what a word says; whether it is known.
pub fn word(f: &mut Fixture<'_>, name: &str, option: &str) -> Result<bool, String> {
    match name {
        "osquery_enrollment" => {
            let more: &[&str] = if option == "used_up" { &["--quota", "1"] } else { &[] };
            let secret = f.enrolment("osquery", more)?;
            f.set("OSQUERY_ENROLL_SECRET", &secret);
            match option {
                "" => {}
                "used_up" => {
                    let (serial, uuid) = (format!("{}X", f.serial), super::uuid()?);
                    enrol(f, &secret, &serial, &uuid, "21", "5.23.0")?;
                }
                "revoked" => {
                    let id = secret.split('.').nth(1).unwrap_or("");
                    f.hub.run(&["enrol", "revoke", id])?;
                }
                other => return Err(format!("osquery_enrollment knows no `{other}`")),
            }
        }
        "osquery_enrollment_2" => {
            let secret = f.enrolment("osquery", &[])?;
            f.set("OSQUERY_ENROLL_SECRET_2", &secret);
        }
        "osquery_enrolled_machine" => enrolled(f, option)?,
        "osquery_other_machine" => {
            let secret = f.enrolment("osquery", &[])?;
            let serial = format!("{}Y", f.serial);
            let key = enrol(f, &secret, &serial, &super::uuid()?, "21", "5.23.0")?;
            f.set("OTHER_NODE_KEY", &key);
            f.set("OTHER_SERIAL", &serial);
        }
        "osquery_option" if option == "disable_carver=\"FaLse\"" => {}
        "osquery_option" => return Err(format!("this driver sets no option `{option}`")),
        // They stand in the configuration from the start.
        "osquery_four_packs" | "osquery_pack" => {}
        "osquery_inventory_posted" => posted(f, option)?,
        "osquery_pack_query" => pack(f)?,
        "osquery_run" | "osquery_run_tag" | "osquery_run_compliance" => run(f, name, option)?,
        "osquery_four_runs" => {
            let tag = f.own_tag.clone();
            for (n, platform) in [(1, ""), (2, "macos"), (3, "linux")] {
                let asked = start(f, &format!("select {n} as n from osquery_info"), &tag, platform, &[]);
                // What is for other machines than this one may find nobody.
                asked.or_else(|why| if why.contains("in scope") { Ok(()) } else { Err(why) })?;
            }
        }
        "carve_session" => carve(f, option)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Enrols the machine of the case.
fn enrolled(f: &mut Fixture<'_>, option: &str) -> Result<(), String> {
    let of = |key: &str| option.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
    let (version, platform) = (of("version").unwrap_or("5.23.0"), of("platform").unwrap_or("21"));
    let secret = f.enrolment("osquery", &[])?;
    let (serial, uuid) = (f.serial.clone(), f.uuid.clone());
    let key = enrol(f, &secret, &serial, &uuid, platform, version)?;
    f.set("OSQUERY_ENROLL_SECRET", &secret);
    f.set("NODE_KEY", &key);
    f.set("OSQUERY_SERIAL", &serial);
    f.set("OSQUERY_UUID", &uuid);
    Ok(())
}

fn enrol(
    f: &Fixture<'_>,
    secret: &str,
    serial: &str,
    uuid: &str,
    platform: &str,
    version: &str,
) -> Result<String, String> {
    let system =
        json!({"hardware_serial": serial, "uuid": uuid, "computer_name": "mac-07", "hostname": "mac-07.local"});
    let body = json!({"enroll_secret": secret, "host_identifier": uuid, "platform_type": platform,
        "host_details": {"system_info": system, "osquery_info": {"version": version}}});
    let answer = f.hub.post("/public/osquery/enroll", &JSON, body)?;
    match text(&answer, "node_key") {
        "" => Err("preparing: the enrolment brought no node_key".to_owned()),
        key => Ok(key.to_owned()),
    }
}

/// Sends a record of a log.
pub fn log(f: &Fixture<'_>, record: Value) -> Result<(), String> {
    let body = json!({"node_key": f.get("NODE_KEY")?, "log_type": "result", "data": [record]});
    f.hub.post("/public/osquery/log", &JSON, body).map(drop)
}

fn posted(f: &mut Fixture<'_>, platform: &str) -> Result<(), String> {
    let os = match platform {
        "macos" => {
            json!({"table_name": "os_version", "name": "macOS", "major": "15", "minor": "1", "patch": "0", "build": "24B83"})
        }
        "linux-deb" => {
            json!({"table_name": "os_version", "name": "Debian GNU/Linux", "major": "12", "minor": "0", "patch": "0"})
        }
        "ec2" => {
            json!({"table_name": "os_version", "name": "Amazon Linux", "major": "2023", "minor": "0", "patch": "0"})
        }
        "windows-build" => {
            json!({"table_name": "os_version", "name": "Microsoft Windows 11 Pro", "major": "10", "minor": "0", "build": "22631"})
        }
        other => return Err(format!("osquery_inventory_posted knows no `{other}`")),
    };
    let mut rows = vec![
        json!({"table_name": "system_info", "computer_name": "mac-07", "hostname": "mac-07.local", "hardware_serial": f.serial, "uuid": f.uuid}),
        os,
    ];
    if platform == "ec2" {
        rows.push(json!({"table_name": "ec2_instance_metadata", "instance_id": "i-1", "region": "eu-central-1"}));
    }
    log(
        f,
        json!({"name": "ztl-inv", "action": "snapshot", "unixTime": event::Time::now().ms() / 1000, "snapshot": rows}),
    )
}

/// The names of the pack and the query as the machine is told them.
fn pack(f: &mut Fixture<'_>) -> Result<(), String> {
    let config = f.hub.post("/public/osquery/config", &JSON, json!({"node_key": f.get("NODE_KEY")?}))?;
    let packs = config.get("packs").and_then(Value::as_object);
    let named = packs
        .into_iter()
        .flatten()
        .find(|(name, _)| ["conform-std", "conform-cc", "conform-tag"].iter().any(|own| name.contains(own)));
    let (pack, content) = named.ok_or("the configuration that the machine is given has no such pack")?;
    let queries = content.get("queries").and_then(Value::as_object);
    let (query, _) = queries.into_iter().flatten().next().ok_or("the pack has no query")?;
    let (pack, query) = (pack.clone(), query.clone());
    // Our packs and queries have names and no numbers.
    f.set("PACK_SLUG", &pack);
    f.set("PACK_ID", &pack);
    f.set("QUERY_SLUG", &query);
    f.set("QUERY_ID", &query);
    Ok(())
}

/// A live query for the machines with a tag, and of a platform if one is named.
fn start(f: &mut Fixture<'_>, sql: &str, tag: &str, platform: &str, more: &[&str]) -> Result<(), String> {
    let (tags, platforms) = (format!("tags={tag}"), format!("platforms={platform}"));
    let mut words = vec!["query", "--wait", LIVE, "--scope", &tags];
    words.extend(Some(sql).filter(|sql| !sql.is_empty()));
    if !platform.is_empty() {
        words.extend(["--scope", &platforms]);
    }
    f.hub.goes_on(&[&words, more].concat())
}

/// One live query, and the id by which the machine was given it.
fn run(f: &mut Fixture<'_>, name: &str, option: &str) -> Result<(), String> {
    let tag = f.own_tag.clone();
    let (sql, placeholder, more): (String, _, &[&str]) = match (name, option) {
        ("osquery_run", "") => ("select username from users".to_owned(), "RUN_ID", &[]),
        ("osquery_run", "other_machine") => {
            word(f, "osquery_other_machine", "")?;
            ("select username from users".to_owned(), "OTHER_MACHINE_RUN_ID", &[])
        }
        ("osquery_run_tag", "") => {
            ("select username from users where gid = 80".to_owned(), "RUN_ID_TAG", &["--tag", "conform-tagged"])
        }
        ("osquery_run_compliance", "" | "outdated") => (String::new(), "RUN_ID_CC", &["--of", "conform-cc/filevault"]),
        _ => return Err(format!("{name} knows no `{option}`")),
    };
    start(f, &sql, &tag, "", more)?;
    let key = f.get(if option == "other_machine" { "OTHER_NODE_KEY" } else { "NODE_KEY" })?.to_owned();
    for _ in 0..LOOKS {
        let given = f.hub.post("/public/osquery/distributed/read", &JSON, json!({"node_key": key}))?;
        let queries = given.get("queries").and_then(Value::as_object);
        let id = queries
            .into_iter()
            .flatten()
            .find(|(_, text)| sql.is_empty() || text.as_str() == Some(&sql))
            .map(|(id, _)| id.clone());
        if let Some(id) = id {
            f.set(placeholder, &id);
            // From now on the query is another.
            return if option == "outdated" { f.hub.now(&["pack-compliance-now"], "") } else { Ok(()) };
        }
        std::thread::sleep(POLL);
    }
    Err("the live query was not given to the machine".to_owned())
}

fn carve(f: &mut Fixture<'_>, option: &str) -> Result<(), String> {
    if f.get("NODE_KEY").is_err() {
        enrolled(f, "")?;
    }
    let guid = super::uuid()?.to_lowercase();
    let row = json!({"carve": "1", "carve_guid": guid, "path": "/private/tmp/a.db", "request_id": CARVE_REQUEST,
        "sha256": "", "size": "-1", "status": "SCHEDULED", "time": "1700000000"});
    log(f, json!({"name": "carves", "action": "added", "unixTime": event::Time::now().ms() / 1000, "columns": row}))?;
    f.set("CARVE_GUID", &guid);
    let (count, block, size) = match option {
        "" => return Ok(()),
        "started" => (4455, 8192, 36_492_800),
        "small" => (2, 8, 12),
        other => return Err(format!("carve_session knows no `{other}`")),
    };
    let body = json!({"block_count": count, "block_size": block, "carve_size": size, "carve_id": guid,
        "request_id": CARVE_REQUEST, "node_key": f.get("NODE_KEY")?});
    let started = f.hub.post("/public/osquery/carver/start", &JSON, body)?;
    f.set("CARVE_SESSION", text(&started, "session_id"));
    Ok(())
}
