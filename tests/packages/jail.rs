//! A folder that scripts take for `/`: a shell, the programs that they call, and nothing else of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the scripts call of any machine.
const PROGRAMS: [&str; 17] = [
    "sh", "cat", "chmod", "cmp", "cp", "cut", "head", "id", "ln", "mkdir", "mv", "readlink", "rm", "sed", "uname",
    "touch", "env",
];

pub struct Jail(tempfile::TempDir);

impl Jail {
    /// None where this machine lets nobody change the root.
    pub fn new() -> Option<Self> {
        let jail = Self(tempfile::tempdir().unwrap());
        for name in PROGRAMS {
            let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().stdout;
            let program = PathBuf::from(String::from_utf8(found).unwrap().trim());
            fs::copy(&program, jail.path(&format!("bin/{name}"))).unwrap();
            let needs = Command::new("ldd").arg(&program).output().unwrap().stdout;
            for library in String::from_utf8(needs).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
                fs::copy(library, jail.path(&library[1..])).unwrap();
            }
        }
        // A file does as well, as nobody reads what is in it.
        fs::write(jail.path("dev/null"), "").unwrap();
        let works = jail.command(&["/bin/sh", "-c", "exit 7"]).output().is_ok_and(|out| out.status.code() == Some(7));
        if !works {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "chroot does not work here");
            eprintln!("left out, as chroot does not work here");
        }
        works.then_some(jail)
    }

    /// A path in it, whose folder is made.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn program(&self, name: &str, does: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Takes files over, as an installer lays them down.
    pub fn take(&self, root: &Path) {
        let out = Command::new("cp").arg("-a").arg(root.join(".")).arg(self.0.path()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = as_root("chroot");
        command.arg(self.0.path()).args(["/bin/env", "-i", "PATH=/bin"]).args(words);
        command
    }

    /// What a script says that must succeed.
    #[track_caller]
    pub fn run(&self, script: &str, args: &[&str]) -> String {
        let out = self.command(&["/bin/sh", &format!("/{script}")]).args(args).output().unwrap();
        assert!(out.status.success(), "{script}: {out:?}");
        String::from_utf8(out.stderr).unwrap()
    }

    /// A script that must succeed and say this.
    #[track_caller]
    pub fn says(&self, script: &str, args: &[&str], wanted: &str) {
        let told = self.run(script, args);
        assert!(told.contains(wanted), "{script} {args:?} does not say {wanted:?}: {told}");
    }

    /// What programs have written to `/log` since it was looked at.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("log"));
        text.lines().map(str::to_owned).collect()
    }
}

/// A command that may change its root: where we are not root, we are of a namespace of its own.
pub fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["-r", program]);
    command
}
