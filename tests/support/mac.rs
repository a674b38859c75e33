//! A Mac below a folder: its disk, and stand-ins for its tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the tools of macOS print here.
const TOOLS: [(&str, &str); 14] = [
    ("uname", "case $1 in -s) echo Darwin ;; -m) echo arm64 ;; *) echo Darwin ;; esac"),
    (
        "ioreg",
        "printf '    \"IOPlatformUUID\" = \"4C4C4544-0031-4A10-8052-B5C04F4E3132\"\\n    \"IOPlatformSerialNumber\" = \"%s\"\\n' \"${MAC_SERIAL-C02MAC0001}\"",
    ),
    ("sw_vers", "case $1 in -productVersion) echo 14.1.2 ;; *) echo 23B92 ;; esac"),
    ("scutil", "printf 'Ada\\342\\200\\231s \"Mac\" \\\\ 1\\n'"),
    (
        "sysctl",
        "case $2 in hw.model) echo Mac15,6 ;; hw.memsize) echo 34359738368 ;; hw.*) echo 8 ;; *) echo 'Apple M3' ;; esac",
    ),
    ("ifconfig", "case $1 in -l) echo lo0 en0 ;; *) printf '%s: flags\\n\\tether aa:bb:cc:dd:ee:ff\\n' \"$1\" ;; esac"),
    ("ipconfig", "case $2 in en0) echo 10.0.0.7 ;; *) exit 1 ;; esac"),
    (
        "diskutil",
        "printf '<plist version=\"1.0\"><dict><key>DeviceIdentifier</key><string>disk3s1s1</string><key>TotalSize</key><integer>994662584320</integer></dict></plist>'",
    ),
    ("fdesetup", "echo 'FileVault is On.'"),
    ("stat", "echo ada"),
    ("hostname", "echo adas-mac.local"),
    ("zsh", "exec sh \"$@\""),
    ("plutil", "exec python3 \"$MAC_TOOLS/plist.py\" plutil \"$@\""),
    ("PlistBuddy", "exec python3 \"$MAC_TOOLS/plist.py\" buddy \"$@\""),
];

/// A Mac below a folder.
pub struct Mac {
    pub dir: tempfile::TempDir,
}

impl Mac {
    pub fn new() -> Self {
        let mac = Self { dir: tempfile::tempdir().unwrap() };
        for (name, does) in TOOLS {
            mac.program(&format!("bin/{name}"), does);
        }
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/macos/plist.py"), mac.path("bin/plist.py")).unwrap();
        mac
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn program(&self, name: &str, does: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn report(&self, name: &str, text: &[u8]) {
        fs::write(self.path(&format!("root/Library/Managed Installs/{name}")), text).unwrap();
    }

    pub fn command(&self, script: &Path) -> Command {
        let shell = if Path::new("/bin/dash").exists() { "/bin/dash" } else { "/bin/sh" };
        let mut command = Command::new(shell);
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.arg(script).env("ZENTRAL_ROOT", self.path("root")).env("ZENTRAL_PATH", &path).env("PATH", &path);
        command.env("MAC_TOOLS", self.path("bin")).env("TMPDIR", self.path("tmp/x").parent().unwrap());
        command
    }

    #[track_caller]
    pub fn run(&self, script: &Path, args: &[&str]) -> String {
        let out = self.command(script).args(args).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stderr).unwrap()
    }

    /// What Munki runs before or after it does something.
    pub fn hook(&self, name: &str) -> Output {
        let out = self.command(&self.path(&format!("root/usr/local/munki/{name}"))).arg("auto").output().unwrap();
        assert!(fs::read_dir(self.path("tmp/x").parent().unwrap()).unwrap().next().is_none(), "nothing is left behind");
        out
    }

    #[track_caller]
    pub fn hooks(&self) {
        for name in ["preflight", "postflight"] {
            let out = self.hook(name);
            assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""), "{name}");
        }
    }
}
