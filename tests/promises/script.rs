//! What deletes the folder, run as Munki and Jamf run it: the page's own item and script, with another folder and another
//! `fdesetup` written into them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::page::with;

const SCRIPT: &str = "docs/promises/delete-confidential.sh";
const PKGINFO: &str = "docs/promises/DeleteConfidential-1.0.plist";

/// A script of the item.
fn of_item(key: &str) -> String {
    let text = std::fs::read_to_string(PKGINFO).unwrap();
    let value = text.split_once(&format!("<key>{key}</key>\n\t<string>")).unwrap().1.split_once("</string>").unwrap().0;
    value.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// A folder with files, and a FileVault that says this.
    fn new(says: &str) -> Self {
        let dir = tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap();
        let disk = Self { dir };
        std::fs::create_dir_all(disk.path("Shared/Confidential/deep")).unwrap();
        std::fs::write(disk.path("Shared/Confidential/deep/plan; rm -rf ~.txt"), "x").unwrap();
        std::fs::write(disk.path("Shared/holiday.jpg"), "x").unwrap();
        std::fs::write(disk.path("fdesetup"), format!("#!/bin/sh\n[ \"$1\" = status ] && printf '{says}'\n")).unwrap();
        std::fs::set_permissions(disk.path("fdesetup"), std::fs::Permissions::from_mode(0o755)).unwrap();
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a script with this folder; its exit code.
    fn run(&self, script: &str, folder: &Path) -> Option<i32> {
        let script = with(script, "/usr/bin/fdesetup", self.path("fdesetup").to_str().unwrap());
        let script = with(&script, "/Users/Shared/Confidential", folder.to_str().unwrap());
        let status = Command::new("sh").args(["-c", &script]).stderr(std::process::Stdio::null()).status().unwrap();
        status.code()
    }

    fn is_whole(&self) -> bool {
        self.path("Shared/Confidential/deep/plan; rm -rf ~.txt").exists()
    }
}

#[test]
fn the_item_asks_and_deletes() {
    assert_eq!(of_item("postinstall_script"), std::fs::read_to_string(SCRIPT).unwrap());
    let (check, delete) = (of_item("installcheck_script"), of_item("postinstall_script"));
    let off = Disk::new("FileVault is Off.\\n");
    let folder = off.path("Shared/Confidential");
    assert_eq!((off.run(&check, &folder), off.run(&delete, &folder)), (Some(0), Some(0)));
    assert!(!folder.exists() && off.path("Shared/holiday.jpg").exists());
    assert_eq!((off.run(&check, &folder), off.run(&delete, &folder)), (Some(1), Some(0)), "there is nothing any more");

    for says in ["FileVault is On.\\n", "FileVault is On.\\nEncryption in progress: Percent completed = 7\\n", ""] {
        let on = Disk::new(says);
        let folder = on.path("Shared/Confidential");
        assert_eq!((on.run(&check, &folder), on.run(&delete, &folder)), (Some(1), Some(0)), "{says}");
        assert!(on.is_whole(), "{says}");
    }
}

#[test]
fn nothing_else_is_deleted() {
    let script = std::fs::read_to_string(SCRIPT).unwrap();
    let disk = Disk::new("FileVault is Off.\\n");
    symlink(disk.path("Shared/Confidential"), disk.path("link")).unwrap();
    symlink(disk.path("Shared"), disk.path("way")).unwrap();
    for folder in
        ["link", "way/Confidential", "Shared/../Shared/Confidential", "Shared/./Confidential", "Shared/holiday.jpg"]
    {
        assert_eq!(disk.run(&script, &disk.path(folder)), Some(1), "{folder}");
    }
    // Folders of this machine: here nothing is deleted whatever the script thinks.
    let tame = with(&script, "/bin/rm -rf \"$folder\"", "exit 99");
    for folder in ["/", "/proc", "/tmp", "//tmp", "/tmp/", "/tmp/.."] {
        assert_eq!(disk.run(&tame, Path::new(folder)), Some(1), "{folder}");
    }
    assert_eq!(disk.run(&tame, &disk.path("Shared/Confidential")), Some(99), "the one that is meant");
    assert!(disk.is_whole() && disk.path("Shared/holiday.jpg").exists() && disk.path("link").exists());
}
