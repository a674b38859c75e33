//! Packages of Debian and of Red Hat.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::jail::as_root;
use crate::{enrolment, files, mode, osqueryd_enrols, package, ran, read, started, text, tool};

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
    if tool(Command::new("dpkg").arg("--version"), true).is_none() {
        return;
    }
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
    let file = package(&hub, &enrolment(&hub, "osquery").0, "rpm");
    let dir = tempfile::tempdir().unwrap();
    let said = read("rpm", &file, Some(dir.path()));
    assert_eq!((&said["name"], &said["arch"]), (&"zentral-osquery".into(), &"noarch".into()));
    assert_eq!(said["recommends"], json!(["osquery"]));
    // 17: configuration that stays (RPMFILE_CONFIG, RPMFILE_NOREPLACE).
    let wanted = [("zentral-ca.pem", "644", 0), ("zentral.flags", "644", 17), ("zentral.secret", "600", 0)];
    let wanted = wanted.map(|(name, mode, flags)| {
        json!({ "path": format!("/etc/osquery/{name}"), "mode": mode, "flags": flags, "owner": "root:root" })
    });
    assert_eq!(said["files"], Value::from(wanted.to_vec()));
    if let Some(out) = tool(Command::new("rpm").arg("-K").arg(&file), false) {
        assert!(ran(&out).contains("digests OK"), "{out:?}");
        let listed = ran(&Command::new("rpm").arg("-qpc").arg(&file).output().unwrap());
        assert!(listed.lines().any(|line| line == "/etc/osquery/zentral.flags"), "{listed}");
        let root = dir.path().join("installed");
        fs::create_dir_all(root.join("var/lib/rpm")).unwrap();
        let rpm = |does: &[&str], what: &Path| {
            let mut command = as_root("rpm");
            command.args(does).arg("--root").arg(&root).args(["--dbpath", "/var/lib/rpm", "--nodeps"]).arg(what);
            ran(&command.output().unwrap());
        };
        let name = Path::new("zentral-osquery");
        rpm(&["-i", "--noscripts"], &file);
        assert_eq!(mode(&root.join("etc/osquery/zentral.secret")), 0o600);
        rpm(&["-V", "--nouser", "--nogroup"], name);
        rpm(&["-e", "--noscripts"], name);
        assert!(files(&root.join("etc")).is_empty());
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
