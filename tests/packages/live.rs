//! Scripts on the machine that runs.

use std::fs;
use std::os::unix::fs::symlink;

use crate::hub::Hub;
use crate::jail::Jail;
use crate::{enrolment, files, package, read, text};

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
