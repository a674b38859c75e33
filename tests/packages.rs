//! Installers, scripts and profiles of `zentral enrol package`: read back by a reader of their own (tests/packages/read.py),
//! installed below a folder, and what they make an agent send is sent to the running hub.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/hub.rs"]
mod hub;
#[path = "packages/jail.rs"]
mod jail;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/mac.rs"]
mod mac;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hub::Hub;
use jail::Jail;
use mac::Mac;
use serde_json::{Value, json};

/// An enrolment's id and secret.
fn enrolment(hub: &Hub, source: &str) -> (String, String) {
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source])).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// The package in a file of the hub's folder.
fn package(hub: &Hub, id: &str, format: &str) -> PathBuf {
    let name = format!("{id}.{format}");
    hub.ok(&["enrol", "package", id, "--format", format, "-o", &name]);
    hub.path(&name)
}

/// What the reader says of it; its files are below `to`.
#[track_caller]
fn read(kind: &str, file: &Path, to: Option<&Path>) -> Value {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages/read.py");
    let out = Command::new("python3").arg(reader).arg(kind).arg(file).args(to).output().unwrap();
    assert!(out.status.success(), "{kind}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Runs it if this machine has it. Programs that scripts/test installs must be there in CI.
fn tool(command: &mut Command, needed: bool) -> Option<Output> {
    match command.output() {
        Ok(out) => Some(out),
        Err(_) => {
            let name = command.get_program().to_owned();
            assert!(!needed || std::env::var("CI").as_deref() != Ok("true"), "{name:?} is not installed");
            eprintln!("left out, as {name:?} is not installed");
            None
        }
    }
}

#[track_caller]
fn ran(out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    said
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn started(more: &str) -> Hub {
    let mut hub = Hub::new(more);
    hub.start();
    hub.wait("a port", 60, || std::net::TcpStream::connect(("127.0.0.1", hub.port)).is_ok());
    hub
}

/// Posts as an agent would that believes this authority only: status and answer.
fn post(url: &str, ca: &Path, headers: &[String], body: &str) -> (String, Value) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--write-out", "\n%{http_code}", "--cacert"]).arg(ca);
    curl.args(["--header", "Content-Type: application/json", "--data", body, url]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let out = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let (answer, status) = out.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(answer).unwrap_or(Value::Null))
}

/// Enrols and asks for the configuration as osqueryd would that reads the flags below `root`.
#[track_caller]
fn osqueryd_enrols(root: &Path, dir: &str, serial: &str) {
    let flags = text(&root.join(dir).join("osquery.flags"));
    let flag = |name: &str| {
        let found = flags.lines().find_map(|line| line.strip_prefix(&format!("--{name}=")));
        found.unwrap_or_else(|| panic!("no --{name} in {flags}")).to_owned()
    };
    let below = |path: String| root.join(path.trim_start_matches('/'));
    let secret_file = below(flag("enroll_secret_path"));
    assert_eq!(mode(&secret_file), 0o600, "it holds a secret");
    let (ca, host) = (below(flag("tls_server_certs")), format!("https://{}", flag("tls_hostname")));
    let details =
        json!({ "system_info": { "hardware_serial": serial, "uuid": format!("{serial}-uuid"), "hostname": "m" } });
    let body = json!({
        "enroll_secret": text(&secret_file).trim(), "host_identifier": format!("{serial}-uuid"), "platform_type": "9",
        "host_details": details,
    });
    let (status, answer) = post(&format!("{host}{}", flag("enroll_tls_endpoint")), &ca, &[], &body.to_string());
    assert_eq!(status, "200", "{answer}");
    let key = answer["node_key"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let body = json!({ "node_key": key }).to_string();
    let (status, answer) = post(&format!("{host}{}", flag("config_tls_endpoint")), &ca, &[], &body);
    assert!(status == "200" && answer["schedule"].is_object(), "{status} {answer}");
}

/// All files in a folder, by their paths in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn same_input_same_bytes() {
    let hub = Hub::new("");
    let all = [
        ("osquery", &["pkg", "deb", "rpm", "sh", "ps1", "zip"][..]),
        ("munki", &["pkg", "mobileconfig", "sh"]),
        ("santa", &["pkg", "mobileconfig", "sh"]),
    ];
    let made = all.map(|(source, formats)| (enrolment(&hub, source), source, formats));
    let build = |id: &str, format: &str| {
        let out = hub.run(&["enrol", "package", id, "--format", format]);
        assert!(out.status.success(), "{format}: {out:?}");
        out.stdout
    };
    let first: Vec<_> = made.iter().flat_map(|(e, _, formats)| formats.iter().map(|f| build(&e.0, f))).collect();
    // Whoever asks a clock says another second, and another two of a ZIP archive.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let second: Vec<_> = made.iter().flat_map(|(e, _, formats)| formats.iter().map(|f| build(&e.0, f))).collect();
    assert!(first == second);
    for ((id, _), source, formats) in &made {
        for format in ["pkg", "deb", "rpm", "sh", "ps1", "zip", "mobileconfig"] {
            if !formats.contains(&format) {
                let out = hub.run(&["enrol", "package", id, "--format", format]);
                let said = String::from_utf8_lossy(&out.stderr);
                let wanted = format!("there is no {format} for {source}");
                assert!(out.status.code() == Some(2) && said.contains(&wanted), "{said}");
                assert!(said.contains(&format!("there is {}", formats.join(", "))) && out.stdout.is_empty(), "{said}");
            }
        }
    }
    // Another enrolment, made later: another version, and all of the first one's names but the secret's.
    let other = enrolment(&hub, "osquery").0;
    let version = |id: &str, to: &str| read("pkg", &package(&hub, id, "pkg"), Some(&hub.path(to)))["version"].clone();
    let number = |v: Value| v.as_str().unwrap().strip_prefix("1.").unwrap().parse::<u64>().unwrap();
    assert!(number(version(&made[0].0.0, "a")) < number(version(&other, "b")));
}

/// A Mac with osquery's flags of before, and this package's files on it.
fn mac_with(hub: &Hub, source: &str) -> (Mac, PathBuf, Value) {
    let mac = Mac::new();
    let file = package(hub, &enrolment(hub, source).0, "pkg");
    if let Some(out) = tool(Command::new("file").arg("-b").arg(&file), false) {
        assert!(String::from_utf8_lossy(&out.stdout).contains("xar archive"), "{out:?}");
    }
    fs::create_dir_all(mac.path("root/private/var/osquery")).unwrap();
    symlink("private/var", mac.path("root/var")).unwrap();
    let said = read("pkg", &file, Some(mac.dir.path()));
    assert_eq!(said["identifier"], format!("io.zentral.enrol.{source}"));
    assert_eq!(said["location"], "/");
    for entry in said["payload"].as_array().unwrap().iter().chain(said["scripts"].as_array().unwrap()) {
        assert_eq!(entry["owner"], "0:0", "{entry}");
    }
    (mac, file, said)
}

/// Runs a script of the package as Installer does for another disk: the package, where to, the disk.
fn install(mac: &Mac, script: &str) -> Output {
    let mut command = mac.command(&mac.path(&format!("scripts/{script}")));
    command.env_remove("ZENTRAL_ROOT").arg("zentral.pkg").arg("/").arg(mac.path("root/x").parent().unwrap());
    command.output().unwrap()
}

fn paths(said: &Value) -> Vec<String> {
    let all = said["payload"].as_array().unwrap().iter();
    all.map(|e| format!("{} {}", e["mode"].as_str().unwrap(), e["path"].as_str().unwrap())).collect()
}

#[test]
fn osquery_on_a_mac() {
    let hub = started("");
    let (mac, _, said) = mac_with(&hub, "osquery");
    let wanted = [
        "755 .",
        "755 ./private",
        "755 ./private/var",
        "755 ./private/var/osquery",
        "644 ./private/var/osquery/zentral-ca.pem",
        "644 ./private/var/osquery/zentral.flags",
        "600 ./private/var/osquery/zentral.secret",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "755 ./usr/local/zentral/osquery",
        "755 ./usr/local/zentral/osquery/uninstall",
    ];
    assert_eq!(paths(&said), wanted);
    let flags = mac.path("root/private/var/osquery/osquery.flags");
    fs::write(&flags, "--verbose\n").unwrap();
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("kept in") && told.contains("osqueryd is not installed there"), "{told}");
    assert_eq!(text(&flags.with_extension("flags.before-zentral")), "--verbose\n");
    osqueryd_enrols(&mac.path("root"), "var/osquery", "C02PKG0001");

    // Again, with an osqueryd, changes nothing.
    mac.program("root/opt/osquery/lib/osquery.app/Contents/MacOS/osqueryd", "");
    let told = ran(&install(&mac, "postinstall"));
    assert!(!told.contains("kept in") && !told.contains("not installed"), "{told}");
    osqueryd_enrols(&mac.path("root"), "var/osquery", "C02PKG0001");
    mac.run(&mac.path("root/usr/local/zentral/osquery/uninstall"), &[]);
    assert_eq!(files(&mac.path("root/private")), ["var/osquery/osquery.flags"]);
    assert_eq!(text(&flags), "--verbose\n");
    assert!(!mac.path("root/usr/local/zentral/osquery").exists());
}

#[test]
fn munki_on_a_mac() {
    let hub = started("");
    let (mac, file, said) = mac_with(&hub, "munki");
    let wanted = [
        "755 .",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "700 ./usr/local/zentral/munki",
        "700 ./usr/local/zentral/munki/agent",
        "600 ./usr/local/zentral/munki/ca.pem",
        "600 ./usr/local/zentral/munki/hub",
        "600 ./usr/local/zentral/munki/secret",
        "700 ./usr/local/zentral/munki/uninstall",
    ];
    assert_eq!(paths(&said), wanted);
    mac.program("root/usr/local/munki/postflight", "echo \"$1\" >>\"$ZENTRAL_ROOT/before\"");
    ran(&install(&mac, "preinstall"));
    assert!(!mac.path("root/usr/local/zentral/munki/ca.pem").exists(), "an authority of before is not believed");
    read("pkg", &file, Some(mac.dir.path()));
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("the postflight of before") && told.contains("Munki is not installed here"), "{told}");
    mac.hooks();
    assert_eq!(text(&mac.path("root/before")), "auto\n");
    assert!(mac.path("root/usr/local/zentral/munki/token").exists(), "the hub has let it in");
    let raws = hub.ok(&["cat", "raw", "--where", ".source == \"munki\" and .kind == \"enroll\""]);
    assert_eq!(raws.lines().count(), 1, "{raws}");

    // What a profile says holds: another hub is another enrolment, and its token is not shown to the first.
    let other = started("");
    let (id, secret) = enrolment(&other, "munki");
    let profile = read("plist", &package(&other, &id, "mobileconfig"), None);
    let settings = &profile["PayloadContent"][0];
    assert_eq!(settings["Secret"], secret.as_str());
    let plist: String = ["Hub", "Secret", "Authorities"]
        .map(|key| format!("<key>{key}</key><string>{}</string>", settings[key].as_str().unwrap()))
        .concat();
    let managed = mac.path("root/Library/Managed Preferences/io.zentral.munki.plist");
    fs::write(&managed, format!("<plist version=\"1.0\"><dict>{plist}</dict></plist>")).unwrap();
    mac.hooks();
    let raws = other.ok(&["cat", "raw", "--where", ".source == \"munki\" and .kind == \"enroll\""]);
    assert_eq!(raws.lines().count(), 1, "{raws}");
    assert_eq!(text(&mac.path("root/usr/local/zentral/munki/token-of")), format!("https://localhost:{}\n", other.port));
    fs::remove_file(&managed).unwrap();
    mac.hooks();
    assert_eq!(text(&mac.path("root/usr/local/zentral/munki/token-of")), format!("https://localhost:{}\n", hub.port));

    mac.run(&mac.path("root/usr/local/zentral/munki/uninstall"), &[]);
    assert_eq!(files(&mac.path("root/usr/local")), ["munki/postflight"]);
    assert!(text(&mac.path("root/usr/local/munki/postflight")).contains("before"));
}

/// What Santa would send first, by this profile.
#[track_caller]
fn santa_syncs(hub: &Hub, profile: &Value) {
    let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
    let body = json!({ "serial_num": "C02SANTA0002", "hostname": "mac", "os_version": "14.1", "os_build": "23B92",
        "santa_version": "2025.6", "machine_id": uuid })
    .to_string();
    for payload in profile["PayloadContent"].as_array().unwrap() {
        use base64::Engine as _;
        let roots = payload["ServerAuthRootsData"]["data"].as_str().unwrap();
        let ca = hub.path("santa-ca.pem");
        fs::write(&ca, base64::engine::general_purpose::STANDARD.decode(roots).unwrap()).unwrap();
        let url = format!("{}preflight/{uuid}", payload["SyncBaseURL"].as_str().unwrap());
        let header = payload["SyncExtraHeaders"]["Zentral-Authorization"].as_str().unwrap();
        let (status, answer) = post(&url, &ca, &[format!("Zentral-Authorization: {header}")], &body);
        assert_eq!((status.as_str(), &answer["client_mode"]), ("200", &"MONITOR".into()), "{answer}");
    }
}

#[test]
fn santa_on_a_mac() {
    let hub = started("");
    let (mac, _, said) = mac_with(&hub, "santa");
    let wanted = [
        "755 .",
        "755 ./usr",
        "755 ./usr/local",
        "755 ./usr/local/zentral",
        "700 ./usr/local/zentral/santa",
        "700 ./usr/local/zentral/santa/uninstall",
        "600 ./usr/local/zentral/santa/zentral-santa.mobileconfig",
    ];
    assert_eq!(paths(&said), wanted);
    ran(&install(&mac, "preinstall"));
    let told = ran(&install(&mac, "postinstall"));
    assert!(told.contains("Santa is not installed here"), "{told}");
    santa_syncs(&hub, &read("plist", &mac.path("root/usr/local/zentral/santa/zentral-santa.mobileconfig"), None));

    // A Santa that syncs with somebody else is left alone: Installer stops where preinstall fails.
    let other =
        "<plist version=\"1.0\"><dict><key>SyncBaseURL</key><string>https://other.example.com/</string></dict></plist>";
    let managed = mac.path("root/Library/Managed Preferences/com.northpolesec.santa.plist");
    fs::write(&managed, other).unwrap();
    let out = install(&mac, "preinstall");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("other.example.com"), "{out:?}");
    fs::remove_file(managed).unwrap();
    mac.run(&mac.path("root/usr/local/zentral/santa/uninstall"), &[]);
    assert!(files(&mac.path("root/usr")).is_empty());
}

#[test]
fn profiles() {
    let hub = started("");
    for (source, types) in
        [("munki", &["io.zentral.munki"][..]), ("santa", &["com.northpolesec.santa", "com.google.santa"])]
    {
        let (id, _) = enrolment(&hub, source);
        let file = package(&hub, &id, "mobileconfig");
        assert_eq!(mode(&file) & 0o077, 0, "it holds a secret");
        let profile = read("plist", &file, None);
        assert_eq!(profile["PayloadType"], "Configuration");
        assert_eq!((&profile["PayloadScope"], &profile["PayloadRemovalDisallowed"]), (&json!("System"), &json!(false)));
        let payloads = profile["PayloadContent"].as_array().unwrap();
        assert_eq!(payloads.iter().map(|p| p["PayloadType"].as_str().unwrap()).collect::<Vec<_>>(), types);
        let all: Vec<&Value> = payloads.iter().chain([&profile]).collect();
        for key in ["PayloadUUID", "PayloadIdentifier"] {
            let values: std::collections::BTreeSet<_> = all.iter().map(|p| p[key].as_str().unwrap()).collect();
            assert_eq!(values.len(), all.len(), "{key}: each its own: {values:?}");
        }
        for payload in &all {
            assert_eq!(payload["PayloadVersion"], 1);
            assert!(payload["PayloadDisplayName"].is_string());
            // RFC 9562: version 8, variant 10.
            let uuid = payload["PayloadUUID"].as_str().unwrap();
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            let bits = (&uuid[14..15], "89AB".contains(&uuid[19..20]));
            assert!(lengths == [8, 4, 4, 4, 12] && bits == ("8", true), "{uuid}");
            assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_digit() || ('A'..='F').contains(&c)), "{uuid}");
        }
        if source == "santa" {
            santa_syncs(&hub, &profile);
        }
    }
}

fn dpkg(root: &Path, args: &[&str], file: &Path) -> Output {
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let status = root.join("var/lib/dpkg/status");
    if !status.exists() {
        fs::write(status, "").unwrap();
    }
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display())).args(["--force-not-root", "--force-script-chrootless"]);
    dpkg.arg("--log=/dev/null").args(args).arg(file);
    dpkg.output().unwrap()
}

#[test]
fn osquery_on_debian() {
    let hub = started("");
    let deb = package(&hub, &enrolment(&hub, "osquery").0, "deb");
    let about = |words: &[&str]| ran(&Command::new("dpkg-deb").args(words).arg(&deb).output().unwrap());
    let listed = about(&["-c"]);
    for wanted in [
        "-rw-r--r-- root/root",
        "-rw------- root/root",
        "./etc/osquery/zentral.secret",
        "./etc/osquery/zentral.flags",
        "drwxr-xr-x root/root         0",
    ] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
    assert_eq!(about(&["-f"]).lines().next(), Some("Package: zentral-osquery"));
    if let Some(out) = tool(Command::new("lintian").args(["--fail-on=none", "--no-cfg"]).arg(&deb), false) {
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        eprintln!("{said}");
    }

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let flags = root.join("etc/osquery/osquery.flags");
    fs::create_dir_all(flags.parent().unwrap()).unwrap();
    fs::write(&flags, "--verbose\n").unwrap();
    let told = ran(&dpkg(root, &["-i"], &deb));
    assert!(told.contains("kept in") && told.contains("osqueryd is not installed there"), "{told}");
    osqueryd_enrols(root, "etc/osquery", "DEB0001");

    // What an admin changed in the flags stays when a newer package comes; secret and authority are the newer one's.
    let own = root.join("etc/osquery/zentral.flags");
    fs::write(&own, text(&own) + "--verbose\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (id, secret) = enrolment(&hub, "osquery");
    let newer = package(&hub, &id, "deb");
    let told = ran(&dpkg(root, &["--force-confdef", "--force-confold", "-i"], &newer));
    assert!(!told.contains("kept in"), "{told}");
    assert!(text(&flags).ends_with("--verbose\n") && text(&flags).starts_with("# zentral\n"), "{}", text(&flags));
    assert_eq!(text(&root.join("etc/osquery/zentral.secret")), format!("{secret}\n"));
    osqueryd_enrols(root, "etc/osquery", "DEB0001");

    let name = Path::new("zentral-osquery");
    let verified = dpkg(root, &["-V"], name);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(said.lines().count(), 1, "only the flags, a configuration file, differ: {said}");
    assert!(said.contains(" c /etc/osquery/zentral.flags"), "{said}");

    ran(&dpkg(root, &["-r"], name));
    assert_eq!(files(&root.join("etc")), ["osquery/osquery.flags", "osquery/zentral.flags"], "the secret is gone");
    assert_eq!(text(&flags), "--verbose\n");
    ran(&dpkg(root, &["-P"], name));
    assert_eq!(files(&root.join("etc")), ["osquery/osquery.flags"]);
}

#[test]
fn osquery_on_red_hat() {
    let hub = started("");
    let rpm = package(&hub, &enrolment(&hub, "osquery").0, "rpm");
    let dir = tempfile::tempdir().unwrap();
    let said = read("rpm", &rpm, Some(dir.path()));
    assert_eq!((&said["name"], &said["arch"]), (&"zentral-osquery".into(), &"noarch".into()));
    assert_eq!(said["recommends"], json!(["osquery"]));
    // 17: configuration that stays (RPMFILE_CONFIG, RPMFILE_NOREPLACE).
    let wanted = [("zentral-ca.pem", "644", 0), ("zentral.flags", "644", 17), ("zentral.secret", "600", 0)];
    let wanted = wanted.map(|(name, mode, flags)| {
        json!({ "path": format!("/etc/osquery/{name}"), "mode": mode, "flags": flags, "owner": "root:root" })
    });
    assert_eq!(said["files"], Value::from(wanted.to_vec()));
    if let Some(out) = tool(Command::new("rpm").arg("-K").arg(&rpm), false) {
        assert!(ran(&out).contains("digests OK"), "{out:?}");
    }

    let root = dir.path().join("root");
    let flags = root.join("etc/osquery/osquery.flags");
    fs::write(&flags, "--verbose\n").unwrap();
    let script = |name: &str, word: &str| {
        let script = dir.path().join("scripts").join(name);
        ran(&Command::new("sh").arg(script).arg(word).env("ZENTRAL_ROOT", &root).output().unwrap())
    };
    assert!(script("post", "1").contains("kept in"));
    osqueryd_enrols(&root, "etc/osquery", "RPM0001");
    script("preun", "1"); // a newer one comes
    osqueryd_enrols(&root, "etc/osquery", "RPM0001");
    script("preun", "0");
    assert_eq!(text(&flags), "--verbose\n");
}

#[test]
fn osquery_on_windows() {
    let hub = Hub::new("");
    let (id, secret) = enrolment(&hub, "osquery");
    let script = text(&package(&hub, &id, "ps1"));
    let dir = tempfile::tempdir().unwrap();
    let said = read("zip", &package(&hub, &id, "zip"), Some(dir.path()));
    let folder = dir.path().join("zentral-osquery-default");
    let wanted = ["README.txt", "install.ps1", "osquery.flags", "uninstall.ps1", "zentral-ca.pem", "zentral.secret"];
    assert_eq!(files(&folder), wanted);
    assert!(said.as_array().unwrap().iter().all(|f| f["date"] == json!([1980, 1, 1, 0, 0, 0])), "{said}");
    assert_eq!(text(&folder.join("zentral.secret")), format!("{secret}\n"));
    assert_eq!(text(&folder.join("zentral-ca.pem")), text(&hub.path("tls/ca.pem")).replace('\r', ""));
    let flags = text(&folder.join("osquery.flags"));
    for flag in [
        "--enroll_secret_path=@DIR@\\zentral.secret",
        "--tls_server_certs=@DIR@\\zentral-ca.pem",
        &format!("--tls_hostname=localhost:{}", hub.port),
    ] {
        assert!(flags.lines().any(|line| line == flag), "{flag} is missing: {flags}");
    }
    // One script holds what lies beside the other, each in a text that nothing in it can end.
    for (name, file) in [("flags", "osquery.flags"), ("secret", "zentral.secret"), ("authorities", "zentral-ca.pem")] {
        let inner = text(&folder.join(file));
        assert!(script.contains(&format!("${name} = @'\n{inner}'@\n")), "{name}");
        assert!(!inner.lines().any(|line| line.starts_with("'@")));
        let install = text(&folder.join("install.ps1"));
        assert!(install.contains(&format!("Join-Path $PSScriptRoot '{file}'")), "{install}");
        assert!(!install.contains(&secret));
    }
    // Without an authority none is named.
    fs::remove_file(hub.path("tls/ca.pem")).unwrap();
    let script = text(&package(&hub, &id, "ps1"));
    assert!(script.contains("$authorities = $null") && !script.contains("tls_server_certs"));
}

#[test]
fn every_script_is_shell() {
    let hub = Hub::new("");
    let dir = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for source in ["osquery", "munki", "santa"] {
        let (id, _) = enrolment(&hub, source);
        scripts.push(package(&hub, &id, "sh"));
        let to = dir.path().join(source);
        read("pkg", &package(&hub, &id, "pkg"), Some(&to));
        scripts.extend(files(&to).into_iter().map(|file| to.join(file)));
        if source == "osquery" {
            let to = dir.path().join("rpm");
            read("rpm", &package(&hub, &id, "rpm"), Some(&to));
            scripts.extend(files(&to.join("scripts")).into_iter().map(|file| to.join("scripts").join(file)));
            let to = dir.path().join("deb");
            ran(&Command::new("dpkg-deb").arg("-e").arg(package(&hub, &id, "deb")).arg(&to).output().unwrap());
            scripts.extend(files(&to).into_iter().map(|file| to.join(file)));
        }
    }
    scripts.retain(|file| text(file).starts_with("#!/bin/sh\n"));
    scripts.push(concat!(env!("CARGO_MANIFEST_DIR"), "/libs/packages/src/munki/hook.sh").into());
    let ends = |end: &str| scripts.iter().filter(|file| file.ends_with(end)).count();
    assert_eq!((ends("postinstall"), ends("preinstall"), ends("uninstall"), ends("agent")), (3, 2, 3, 1));
    assert_eq!((ends("postinst"), ends("prerm"), ends("post"), ends("preun"), scripts.len()), (1, 1, 1, 1, 17));
    for script in &scripts {
        ran(&Command::new("sh").arg("-n").arg(script).output().unwrap());
    }
    if let Some(out) = tool(Command::new("shellcheck").args(["-s", "sh"]).args(&scripts), true) {
        ran(&out);
    }
}

/// What the scripts do on the machine that runs: with its services, here in a folder that they take for `/`.
#[test]
fn services_are_restarted() {
    let hub = Hub::new("");
    let (id, _) = enrolment(&hub, "osquery");
    let Some(jail) = Jail::new() else { return };
    fs::copy(package(&hub, &id, "sh"), jail.path("enrol.sh")).unwrap();
    let told = jail.run("enrol.sh", &[]);
    assert!(told.contains("osqueryd is not installed here: install it"), "{told}");
    jail.program("opt/osquery/bin/osqueryd", "");
    jail.says("enrol.sh", &[], "osqueryd is no service here");
    jail.program("bin/systemctl", "echo systemctl \"$@\" >>/log");
    jail.says("enrol.sh", &[], "everything is as it should be");
    assert_eq!(
        jail.log(),
        ["systemctl cat osqueryd.service", "systemctl enable osqueryd.service", "systemctl start osqueryd.service"]
    );
    jail.says("enrol.sh", &["--uninstall"], "as it was before");
    assert_eq!(jail.log(), ["systemctl cat osqueryd.service", "systemctl try-restart osqueryd.service"]);
    assert!(files(&jail.path("etc/osquery")).is_empty());
    jail.says("enrol.sh", &[], "was restarted and enrols now");
    assert_eq!(jail.log().last().unwrap(), "systemctl restart osqueryd.service");
    jail.run("enrol.sh", &["--uninstall"]);

    // A package; a service that does not start is said, and is no reason to leave the package half installed.
    let dir = tempfile::tempdir().unwrap();
    read("rpm", &package(&hub, &id, "rpm"), Some(dir.path()));
    jail.take(&dir.path().join("root"));
    for script in ["post", "preun"] {
        fs::copy(dir.path().join("scripts").join(script), jail.path(script)).unwrap();
    }
    jail.log();
    jail.says("post", &["1"], "was restarted and enrols now");
    assert_eq!(jail.log().last().unwrap(), "systemctl restart osqueryd.service");
    jail.program("bin/systemctl", "[ \"$1\" != restart ]");
    jail.says("post", &["2"], "osqueryd does not start");
    jail.program("bin/systemctl", "echo systemctl \"$@\" >>/log");
    jail.run("preun", &["0"]);
    assert_eq!(jail.log().last().unwrap(), "systemctl try-restart osqueryd.service");
    assert_eq!(files(&jail.path("etc/osquery")), ["zentral-ca.pem", "zentral.flags", "zentral.secret"]);

    // A Mac.
    jail.program("bin/uname", "echo Darwin");
    jail.program("bin/launchctl", "echo launchctl \"$@\" >>/log");
    jail.program("bin/pkgutil", "echo pkgutil \"$@\" >>/log");
    jail.program("Library/LaunchDaemons/io.osquery.agent.plist", "");
    let dir = tempfile::tempdir().unwrap();
    read("pkg", &package(&hub, &id, "pkg"), Some(dir.path()));
    jail.take(&dir.path().join("root"));
    symlink("private/var", jail.path("var")).unwrap();
    fs::copy(dir.path().join("scripts/postinstall"), jail.path("postinstall")).unwrap();
    let installer = ["zentral.pkg", "/", "/"];
    jail.says("postinstall", &installer, "was restarted and enrols now");
    let agent = [
        "launchctl bootstrap system /Library/LaunchDaemons/io.osquery.agent.plist",
        "launchctl kickstart -k system/io.osquery.agent",
    ];
    assert_eq!(jail.log(), agent);
    assert_eq!(
        text(&jail.path("private/var/osquery/osquery.flags")),
        text(&jail.path("private/var/osquery/zentral.flags"))
    );
    jail.run("usr/local/zentral/osquery/uninstall", &[]);
    assert_eq!(jail.log(), [agent[1], "pkgutil --forget io.zentral.enrol.osquery"]);
    assert!(files(&jail.path("private")).is_empty() && !jail.path("usr/local/zentral/osquery").exists());
}
