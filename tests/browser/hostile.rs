//! Machines that want to be run, seen, or believed by whoever looks at them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::agent::Client;
use crate::support::hub::{Hub, wait_for};

/// What a field may hold to get out of its place. `window.owned` is what the looks look for; nothing of this is to be
/// asked of evil.example.com.
pub const TEXTS: [&str; 16] = [
    "<script>window.owned=1</script>",
    "\"'><img src=//evil.example.com/x onerror=window.owned=1>",
    "</title></textarea></pre></bdi></table></svg><svg onload=window.owned=1><script>window.owned=1</script>",
    "javascript:window.owned=1//",
    "\" autofocus onfocus=\"window.owned=1\" x=\"",
    "' onmouseover='window.owned=1' style='position:fixed;inset:0'",
    "{{constructor.constructor('window.owned=1')()}}${window.owned=1}<%= 7*7 %>{% raw %}",
    "</style><style>*{display:none!important}@import url(//evil.example.com)</style>",
    "<meta http-equiv=refresh content=0;url=//evil.example.com><base href=//evil.example.com>",
    "<iframe src=javascript:parent.owned=1></iframe><form action=//evil.example.com><button formaction=//evil.example.com>",
    "&lt;script&gt;&#60;b&#62;&quot;&#x3c;img&#x3e;<!-- --><![CDATA[<b>]]>",
    "\u{202e}gpj.exe\u{2066}\u{2069}\u{200f}\u{feff}",
    "a\u{0}b\u{1}\u{1b}[31m\u{7f}\u{85}\u{2028}\r\nSet-Cookie: owned=1\r\n\t",
    "=HYPERLINK(\"http://evil.example.com\",\"x\")",
    "//evil.example.com/../../users?next=https://evil.example.com#%0d%0a%3Cscript%3E",
    "+OR+type:* ) AND \\\" \"",
];

/// Machines of osquery that there will be.
pub const MACHINES: usize = TEXTS.len() + 3;

/// How many pages of a kind are opened: every thing that a machine told of, and some of the searches for it.
pub fn of_a_kind(route: &str) -> usize {
    if route.contains('{') { 4 * MACHINES } else { 6 }
}

/// Bytes of the largest value.
const LONG: usize = 1 << 20;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A probe whose words are those of the machines, with an incident for each; and a comment that an admin took from somewhere.
pub fn tables() -> String {
    let markup = TEXTS[2];
    format!(
        "\n[unit.rome]\ntags = [\"office\"]\n[source.santa]\n[source.munki]\n[probe.hostile]\nuntil = 'false'\nseverity = \"major\"\n\
         filter = '''\n# {markup}\n(.payload.columns.title? // .payload.file_name? // empty) | {{title: .}}'''\n"
    )
}

/// As many machines as there are texts, each of which says its text wherever an agent may say something; osquery's,
/// Santa's, and one whose words are longer than any page. Waits until the console knows of them.
pub fn fill(hub: &Hub) {
    let secret = |source: &str| {
        let made: Value =
            serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source, "--unit", "default"])).unwrap();
        made["secret"].as_str().unwrap().to_owned()
    };
    let [osquery, santa, munki] = ["osquery", "santa", "munki"].map(secret);
    let mut client = Client::new(&hub.ca(), hub.port);
    let long = ["W".repeat(LONG), "<b>wide</b> ".repeat(400), "ﷺ".repeat(2000)];
    let texts = TEXTS.iter().map(|text| (*text).to_owned()).chain(long);
    for (n, text) in texts.enumerate() {
        says(&mut client, &osquery, n, &text);
        if text.len() < 10_000 {
            runs(&mut client, &santa, n, &text);
            installs(&mut client, &munki, n, &text);
        }
    }
    let wanted = [
        ("osquery_result", 2 * MACHINES),
        ("osquery_status", MACHINES),
        ("santa_event", TEXTS.len()),
        ("munki_install", TEXTS.len()),
    ];
    for (kind, many) in wanted {
        let stored = || hub.events(&format!("type:{kind}")).len();
        wait_for(
            kind,
            Duration::from_secs(60),
            || format!("{} of {many}\n{}", stored(), hub.log()),
            || stored() >= many,
        );
    }
}

/// An osquery whose every word is this.
fn says(client: &mut Client, secret: &str, n: usize, text: &str) {
    // What a machine is called has a bound, of which the agents' port knows.
    let name: String = text.chars().take(200).collect();
    let body = json!({"enroll_secret": secret, "host_identifier": format!("{n}{name}"), "platform_type": "9", "host_details": {
        "system_info": {"hardware_serial": format!("{n}{name}"), "uuid": format!("4C4C4544-0000-4000-8000-{n:012}"),
            "hostname": name, "computer_name": name, "hardware_model": name, "hardware_vendor": name, "cpu_brand": name},
        "os_version": {"platform": name, "version": name, "name": name, "build": name}, "osquery_info": {"version": name}}});
    let (status, answer) = client.post("/public/osquery/enroll", &body).unwrap();
    assert!(status == 200 && answer["node_key"].is_string(), "{text:.80}: {answer}");
    // A record has its bound, too: the longest text is there as a whole, but not ten times over.
    let part: String = text.chars().take(20_000).collect();
    let row = json!({&part: part, "name": part, "path": part, "username": part, "sha256": part, "cmdline": part,
        "deep": {&part: [part, {&part: part}]}, "title": format!("owned {part}")});
    let results = json!({"node_key": answer["node_key"], "log_type": "result", "data": [
        {"name": part, "hostIdentifier": part, "unixTime": now() as u64, "counter": 3, "action": "added", "columns": row,
            "decorations": {"username": part, &part: part}},
        {"name": "t", "hostIdentifier": part, "unixTime": now() as u64, "counter": 3, "action": part, "columns": {"n": text}}]});
    let status = json!({"node_key": answer["node_key"], "log_type": "status", "data": [
        {"hostIdentifier": part, "unixTime": now() as u64, "severity": "2", "filename": part, "line": part, "message": text, "version": part}]});
    for log in [results, status] {
        let (status, answer) = client.post("/public/osquery/log", &log).unwrap();
        assert!(status == 200 && answer["node_invalid"] != true, "{text:.80}: {answer}");
    }
}

/// A Santa that has blocked a program of which everything is this.
fn runs(client: &mut Client, secret: &str, n: usize, text: &str) {
    let headers = format!("Zentral-Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n");
    let id = format!("0F2C7A6E-5B1D-5E0C-8D54-{n:012X}");
    let machine = json!({"serial_num": format!("SANTA{n}"), "hostname": text, "os_version": text, "os_build": text,
        "santa_version": "2025.6", "client_mode": "MONITOR", "machine_id": id, "primary_user": text});
    let blocked = json!({"events": [{"decision": "BLOCK_BINARY", "file_sha256": format!("{n:064x}"), "file_name": text, "file_path": text,
        "executing_user": text, "execution_time": now(), "logged_in_users": [text], "current_sessions": [text], "pid": 7, "ppid": 1,
        "parent_name": text, "file_bundle_name": text, "file_bundle_path": text, "quarantine_data_url": text, "team_id": text, "signing_id": text,
        "signing_chain": [{"sha256": format!("{n:064x}"), "cn": text, "org": text, "ou": text, "valid_from": 1, "valid_until": 2}]}]});
    for (stage, body) in [("preflight", machine), ("eventupload", blocked)] {
        let sent =
            client.request("POST", &format!("/public/santa/sync/{stage}/{id}"), &headers, body.to_string().as_bytes());
        let (status, answer) = sent.unwrap();
        assert_eq!(status, 200, "{stage} {text:.80}: {}", String::from_utf8_lossy(&answer));
    }
}

/// A Munki that has installed what is called so, beside applications that are called so.
fn installs(client: &mut Client, secret: &str, n: usize, text: &str) {
    let (serial, uuid) = (format!("MUNKI{n}"), format!("4C4C4544-0031-4A10-8052-{n:012}"));
    let body = json!({"secret": secret, "serial_number": serial, "uuid": uuid});
    let (status, answer) = client.post("/public/munki/enroll/", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let headers = format!("Authorization: MunkiEnrolledMachine {}\r\n", answer["token"].as_str().unwrap());
    let app = json!({"app": {"bundle_id": text, "bundle_name": text, "bundle_version_str": text}, "bundle_path": text});
    let at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S +0000").to_string();
    let install = json!({"type": "install", "name": text, "version": text, "status": 0});
    let body = json!({"machine_snapshot": {"serial_number": serial, "system_info": {"computer_name": text, "hardware_model": text},
            "os_version": {"name": text, "major": 15, "minor": 2}, "osx_app_instances": [app]},
        "reports": [{"basename": text, "sha1sum": format!("{n:040x}"), "run_type": text, "start_time": at, "end_time": at, "events": [[at, install]]}],
        "managed_installs": [[text, text, text, at]]});
    let sent = client.request("POST", "/public/munki/post_job/", &headers, body.to_string().as_bytes());
    let (status, answer) = sent.unwrap();
    assert_eq!(status, 200, "{text:.80}: {}", String::from_utf8_lossy(&answer));
}

/// A text as a word of an address.
pub fn quoted(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// Hostile questions, for every page: whoever is sent a link opens it.
pub fn questions() -> Vec<String> {
    let routes = console::routes();
    let pages =
        routes.iter().filter(|(method, path, _, area)| *method == "GET" && !path.contains('{') && *area != "files");
    let pages: Vec<&str> = pages.map(|route| route.1).collect();
    TEXTS
        .iter()
        .enumerate()
        .flat_map(|(n, text)| {
            let text = quoted(text);
            // Each page meets each text in a word or two; all words of all pages take part.
            pages
                .iter()
                .enumerate()
                .map(move |(at, path)| {
                    let words = [
                        ["q", "by"],
                        ["platform", "unit"],
                        ["tag", "source"],
                        ["sort", "since"],
                        ["after", "next"],
                        ["name", "n"],
                        ["probe", "sql"],
                    ];
                    let [a, b] = words[(n + at) % words.len()];
                    format!("{path}?{a}={text}&{b}={text}")
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
