//! `zentral enrol`: secrets, and the script that carries one to a machine, run here in a root of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Hub(tempfile::TempDir);

impl Hub {
    fn new(url: &str) -> Self {
        let hub = Self(tempfile::tempdir().unwrap());
        let out = hub.zentral(&["init", "--url", url]);
        assert!(out.status.success(), "{out:?}");
        hub
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn zentral(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.current_dir(self.path()).args(args).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let out = self.zentral(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    #[track_caller]
    fn wrong(&self, args: &[&str], says: &str) {
        let out = self.zentral(args);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?} does not say {says:?}: {text}");
        assert!(out.stdout.is_empty(), "{args:?}");
    }

    fn enrolment(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["enrol", "new"], args].concat())).unwrap()
    }
}

#[test]
fn made_listed_revoked() {
    let hub = Hub::new("https://localhost:8443");
    let plain = hub.enrolment(&[]);
    let keys: Vec<&str> = plain.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "secret", "unit", "source", "quota", "expires", "tags"]);
    assert_eq!(
        (&plain["unit"], &plain["source"], &plain["quota"]),
        (&"default".into(), &"osquery".into(), &Value::Null)
    );
    let id = plain["id"].as_str().unwrap();
    let secret = plain["secret"].as_str().unwrap();
    assert!(secret.starts_with(&format!("zs1.{id}.1.")), "{secret}");

    let full = hub.enrolment(&["--unit", "default", "--quota", "20", "--expires", "30d", "--tags", "vip, lab"]);
    assert_eq!((&full["quota"], &full["tags"]), (&20.into(), &serde_json::json!(["vip", "lab"])));
    assert!(full["expires"].as_str().unwrap().ends_with('Z'));
    hub.wrong(&["enrol", "new", "--client-certificate"], "has no `client_ca`");

    let listed = hub.ok(&["enrol", "list"]);
    assert_eq!(listed.lines().count(), 2);
    assert!(!listed.contains("zs1.") && !listed.contains("secret"), "{listed}");
    assert!(hub.ok(&["enrol", "revoke", id]).is_empty());
    let listed: Vec<Value> = hub.ok(&["enrol", "list"]).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&listed[0]["revoked"], &listed[1]["revoked"]), (&true.into(), &false.into()));
    hub.wrong(&["enrol", "package", id, "--format", "sh"], "revoked");

    for (args, says) in [
        (&["enrol", "new", "--unit", "defualt"][..], "no unit `defualt`"),
        (&["enrol", "new", "--source", "door"], "no source"),
        (&["enrol", "new", "--expires", "soon"], "--expires"),
        (&["enrol", "new", "--quota", "0"], "--quota"),
        (&["enrol", "new", "--tags", "A B"], "--tags"),
        (&["enrol", "revoke", "nobody"], "no enrolment `nobody`"),
        (&["enrol", "package", "nobody", "--format", "sh"], "no enrolment `nobody`"),
        (&["enrol", "package", "nobody", "--format", "pkg"], "no enrolment `nobody`"),
        (
            &["enrol", "package", "nobody", "--format", "exe"],
            "[possible values: pkg, deb, rpm, sh, ps1, zip, mobileconfig]",
        ),
    ] {
        hub.wrong(args, says);
    }
    let config = hub.path().join("pipeline.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "\n[unit.berlin]\n").unwrap();
    hub.wrong(&["enrol", "new"], "one of berlin, default");
}

/// Runs the script below `root`.
fn run(script: &Path, root: &Path) -> String {
    let out = Command::new("sh").arg(script).env("ZENTRAL_ROOT", root).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{said}");
    said
}

/// The folder of osquery on this machine.
fn folder(root: &Path) -> PathBuf {
    root.join(if cfg!(target_os = "macos") { "var/osquery" } else { "etc/osquery" })
}

#[test]
fn a_script_for_a_machine() {
    let hub = Hub::new("https://hub.example.com:8443/behind/a-proxy");
    let made = hub.enrolment(&[]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let package = ["enrol", "package", id, "--format", "sh"];
    let script = hub.ok(&package);
    assert_eq!(script, hub.ok(&package), "same input, same bytes");
    let file = hub.path().join("enrol.sh");
    // What lies there, open to all and perhaps linked elsewhere, does not get the secret.
    fs::write(&file, "old").unwrap();
    fs::hard_link(&file, hub.path().join("other")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    hub.ok(&[&package[..], &["-o", "enrol.sh"]].concat());
    assert_eq!(fs::read_to_string(hub.path().join("other")).unwrap(), "old");
    assert_eq!(fs::read_to_string(&file).unwrap(), script);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "it holds a secret");
    assert!(!script.contains("@CA@") && !script.contains("@FLAGS@") && !script.contains("@SECRET@"), "{script}");
    assert!(Command::new("sh").arg("-n").arg(&file).status().unwrap().success());

    let root = tempfile::tempdir().unwrap();
    let dir = folder(root.path());
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("osquery.flags"), "--verbose\n").unwrap();
    assert!(run(&file, root.path()).contains("kept in"));
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let before = (read("osquery.flags"), read("zentral.secret"), read("zentral-ca.pem"));
    assert_eq!(before.1, format!("{secret}\n"));
    assert_eq!(
        before.2.replace('\r', ""),
        fs::read_to_string(hub.path().join("tls/ca.pem")).unwrap().replace('\r', "")
    );
    assert_eq!(fs::metadata(dir.join("zentral.secret")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read("osquery.flags.before-zentral"), "--verbose\n");
    let own = dir.strip_prefix(root.path()).unwrap().display().to_string();
    for flag in [
        "--tls_hostname=hub.example.com:8443",
        "--enroll_tls_endpoint=/behind/a-proxy/public/osquery/enroll",
        "--config_tls_endpoint=/behind/a-proxy/public/osquery/config",
        "--logger_tls_endpoint=/behind/a-proxy/public/osquery/log",
        "--distributed_tls_read_endpoint=/behind/a-proxy/public/osquery/distributed/read",
        "--distributed_tls_write_endpoint=/behind/a-proxy/public/osquery/distributed/write",
        &format!("--enroll_secret_path=/{own}/zentral.secret"),
        &format!("--tls_server_certs=/{own}/zentral-ca.pem"),
        "--config_plugin=tls",
        "--logger_plugin=tls",
        "--distributed_plugin=tls",
        "--disable_distributed=false",
        "--logger_tls_compress=true",
        "--config_refresh=300",
        "--host_identifier=uuid",
    ] {
        assert!(before.0.lines().any(|line| line == flag), "{flag} is missing:\n{}", before.0);
    }

    // Again: nothing changes, and what is kept aside is still the first.
    assert!(!run(&file, root.path()).contains("kept in"));
    assert_eq!(before, (read("osquery.flags"), read("zentral.secret"), read("zentral-ca.pem")));
    assert_eq!(read("osquery.flags.before-zentral"), "--verbose\n");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "nothing else is left behind");

    // Flags that came since then are kept, too; and what was there before comes back.
    fs::write(dir.join("osquery.flags"), "--verbose=false\n").unwrap();
    assert!(run(&file, root.path()).contains("kept in"));
    assert_eq!(read("osquery.flags.before-zentral"), "--verbose=false\n");
    let out = Command::new("sh").arg(&file).arg("--uninstall").env("ZENTRAL_ROOT", root.path()).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(read("osquery.flags"), "--verbose=false\n");
    assert!(!dir.join("zentral.secret").exists() && !dir.join("zentral-ca.pem").exists());

    // A hub whose certificate everybody believes needs no authority of its own.
    fs::remove_file(hub.path().join("tls/ca.pem")).unwrap();
    hub.ok(&[&package[..], &["-o", "enrol.sh"]].concat());
    let root = tempfile::tempdir().unwrap();
    run(&file, root.path());
    assert!(!fs::read_to_string(folder(root.path()).join("osquery.flags")).unwrap().contains("tls_server_certs"));
    assert_eq!(fs::read_dir(folder(root.path())).unwrap().count(), 2);
}
