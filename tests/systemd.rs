//! `packaging/systemd`: the units are right, and what they count on is so: systemd is told when a service is ready, that
//! it lives, and that it stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::hub::{Hub, signal};

/// What systemd says against these units; drop-ins are `(unit, text)`.
fn verify(change: impl Fn(String) -> String, drop_ins: &[(&str, String)]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for name in ["zentral.service", "zentral@.service"] {
        let text = std::fs::read_to_string(packaging.join(name)).unwrap();
        assert!(text.contains("ExecStart=/usr/lib/zentral/zentral "));
        let here = text.replace("/usr/lib/zentral/zentral", env!("CARGO_BIN_EXE_zentral"));
        std::fs::write(dir.path().join(name), change(here)).unwrap();
    }
    for (unit, text) in drop_ins {
        let folder = dir.path().join(format!("{unit}.d"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("own.conf"), text).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no", "./zentral.service", "./zentral@act.service"]);
    let out = match command.current_dir(dir.path()).output() {
        Ok(out) => out,
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze: {e}");
            eprintln!("skipped: systemd-analyze is missing (apt-get install systemd)");
            return None;
        }
    };
    // It ends with 0 after warnings, and other units of this machine are not our business.
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    Some(said.lines().filter(|line| line.contains("zentral")).map(|line| format!("{line}\n")).collect())
}

#[test]
fn units_are_right() {
    let Some(said) = verify(|text| text, &[]) else { return };
    assert_eq!(said, "");
    // The drop-in of the manual.
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let (_, drop_in) = manual.split_once("\n```ini\n").unwrap();
    let drop_in = drop_in.split_once("```").unwrap().0.to_owned();
    assert!(drop_in.contains("LoadCredential="));
    assert_eq!(verify(|text| text, &[("zentral.service", drop_in.clone())]).unwrap(), "");
    let broken = [("zentral.service", drop_in.replace("LoadCredential", "LoadCredentials"))];
    assert!(verify(|text| text, &broken).unwrap().contains("LoadCredentials"));
    // It would say so.
    let said = verify(|text| text.replace("LockPersonality", "LockPersonalities"), &[]).unwrap();
    assert!(said.contains("Unknown key 'LockPersonalities'"), "{said}");
}

/// A socket as systemd gives it to a service.
struct Systemd {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
    heard: Vec<String>,
}

impl Systemd {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { socket, dir, heard: Vec::new() }
    }

    fn address(&self) -> String {
        self.dir.path().join("notify").to_str().unwrap().to_owned()
    }

    /// Waits until each of these was said.
    fn hears(&mut self, wanted: &[&str], seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut text = [0; 200];
        while !wanted.iter().all(|word| self.heard.iter().any(|heard| heard == word)) {
            assert!(Instant::now() < until, "wanted {wanted:?}, heard {:?}", self.heard);
            if let Ok(n) = self.socket.recv(&mut text) {
                self.heard.push(String::from_utf8_lossy(&text[..n]).into_owned());
            }
        }
    }
}

#[test]
fn up_tells_systemd_where_it_is_and_its_stages_do_not() {
    let mut systemd = Systemd::new();
    let mut hub = Hub::new("");
    hub.env("NOTIFY_SOCKET", &systemd.address());
    hub.start();
    systemd.hears(&["READY=1", "WATCHDOG=1"], 60);
    // A process that has only just become another program shows no command line for a moment.
    hub.wait("five stages", 20, || hub.stages().len() == 5);
    assert_eq!(hub.stop(), Some(0));
    systemd.hears(&["STOPPING=1"], 10);
    let mut known: BTreeSet<&str> = systemd.heard.iter().map(String::as_str).collect();
    for word in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
        assert!(known.remove(word));
    }
    assert!(known.is_empty(), "{known:?}");
    let once = |word: &str| systemd.heard.iter().filter(|heard| *heard == word).count() == 1;
    assert!(once("READY=1") && once("STOPPING=1"), "{:?}", systemd.heard);
}

#[test]
fn a_stage_alone_tells_systemd_where_it_is() {
    let mut systemd = Systemd::new();
    let mut hub = Hub::new("");
    hub.env("NOTIFY_SOCKET", &systemd.address());
    for stage in ["receive", "filter"] {
        systemd.heard.clear();
        let mut command = hub.command(&["run", stage]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        systemd.hears(&["READY=1"], 60);
        assert!(signal(i32::try_from(process.id()).unwrap(), rustix::process::Signal::TERM));
        systemd.hears(&["STOPPING=1"], 20);
        assert_eq!(process.wait().unwrap().code(), Some(0), "{stage}");
        assert_eq!(systemd.heard, ["READY=1", "STOPPING=1"], "{stage}");
    }
}
