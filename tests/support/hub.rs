//! A hub in a scratch folder: the real programs, started by the real `zentral up`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// How long a supervisor may take to end: longer than it gives its stages.
const END: Duration = Duration::from_secs(40);

pub struct Hub {
    pub dir: tempfile::TempDir,
    pub port: u16,
    up: Option<Child>,
    env: Vec<(String, String)>,
}

impl Hub {
    /// `zentral init` with this text appended to pipeline.toml; not started.
    pub fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // A link of its own: a rebuild while the test runs does not change what it tests, and no small binary of an
        // older build lies beside it.
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let own = dir.path().join("bin/zentral");
        let built = env!("CARGO_BIN_EXE_zentral");
        std::fs::hard_link(built, &own).or_else(|_| std::fs::copy(built, &own).map(|_| ())).unwrap();
        let hub = Self { dir, port, up: None, env: Vec::new() };
        let listen = format!("127.0.0.1:{port}");
        let url = format!("https://localhost:{port}");
        let folder = hub.dir.path().to_str().unwrap().to_owned();
        hub.ok(&["init", &folder, "--listen", &listen, "--url", &url]);
        let file = hub.dir.path().join("pipeline.toml");
        // What flows does not need anybody to look: who wants a console appends one, on a port of its own.
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("[stage.console]\n").unwrap();
        let (_, after) = rest.split_once("\n\n").unwrap();
        let text = format!("{before}{after}{more}");
        std::fs::write(file, text).unwrap();
        hub
    }

    /// A variable for the hub's processes.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/zentral"));
        command.current_dir(self.dir.path()).args(words).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// stdout of a command that must succeed.
    pub fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(
            out.status.success(),
            "zentral {}: {:?}\n{}{}",
            words.join(" "),
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// What a command, fed with `input`, prints.
    pub fn feed(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let out = child.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        out
    }

    /// The stored events that a query finds, newest first; none while nobody answers.
    pub fn events(&self, query: &str) -> Vec<serde_json::Value> {
        let found = String::from_utf8(self.run(&["search", query, "-n", "0"]).stdout).unwrap();
        found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes pipeline.toml anew.
    pub fn edit(&self, change: impl Fn(String) -> String) {
        let file = self.path("pipeline.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(text)).unwrap();
    }

    /// How many matches of a probe there are. The file may be broken at this moment; the copy in force is not.
    pub fn matched(&self, probe: &str) -> usize {
        let copy = self.path("data/config/current");
        let chosen = format!("any(.probes[]; .name == \"{probe}\")");
        let words = ["--config", copy.to_str().unwrap(), "cat", "matches", "--where", &chosen, "--count"];
        self.ok(&words).trim().parse().unwrap()
    }

    /// Waits until `done`, else panics with the end of the hub's log.
    pub fn wait(&self, what: &str, seconds: u64, done: impl FnMut() -> bool) {
        wait_for(what, Duration::from_secs(seconds), || self.log(), done);
    }

    pub fn start(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("up.log")).unwrap();
        self.up = Some(self.command(&["up"]).stderr(log).stdout(Stdio::null()).spawn().unwrap());
    }

    /// A secret for osquery agents of the only unit.
    pub fn secret(&self) -> String {
        self.made(&[])
    }

    /// A secret for osquery agents of this unit.
    pub fn secret_of(&self, unit: &str) -> String {
        self.made(&["--unit", unit])
    }

    fn made(&self, more: &[&str]) -> String {
        let made = self.ok(&[&["enrol", "new", "--source", "osquery"], more].concat());
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        made["secret"].as_str().unwrap().to_owned()
    }

    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.path("tls/ca.pem")).unwrap()
    }

    /// Process ids of the stages that run for this hub, by name.
    pub fn stages(&self) -> Vec<(String, i32)> {
        let data = self.dir.path().to_str().unwrap().to_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            // One program: `KIND --stage NAME`; several joined: `run NAME`.
            let Some(at) = words.iter().position(|w| w == "--stage" || w == "run") else { continue };
            if words.iter().any(|w| w.starts_with(&data)) {
                // One of several instances is called after its number, as in `status`.
                let instance = words.iter().find_map(|w| w.strip_prefix("--instance="));
                found.push((instance.map_or_else(|| words[at + 1].clone(), |n| format!("{}-{n}", words[at + 1])), pid));
            }
        }
        found.sort();
        found
    }

    pub fn up_pid(&self) -> Option<i32> {
        self.up.as_ref().map(|c| c.id() as i32)
    }

    /// Waits for the end of a supervisor that was killed.
    pub fn reap(&mut self) -> ExitStatus {
        let up = self.up.take().unwrap();
        self.ended(up)
    }

    /// SIGTERM to the supervisor; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let up = self.up.take()?;
        // Nobody has waited for it yet, so its id is still its own.
        assert!(signal(up.id() as i32, Signal::TERM));
        self.ended(up).code()
    }

    fn ended(&self, mut up: Child) -> ExitStatus {
        let end = Instant::now() + END;
        while Instant::now() < end {
            if let Some(status) = up.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        up.kill().unwrap();
        up.wait().unwrap();
        panic!("zentral up did not end within {END:?}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.path("up.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        for (_, pid) in self.stages() {
            signal(pid, Signal::KILL);
        }
    }
}

/// Whether the process was still there. (A system call: not every machine has the program `kill`.)
pub fn signal(pid: i32, signal: Signal) -> bool {
    match kill_process(Pid::from_raw(pid).unwrap(), signal) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(e) => panic!("signal {signal:?} to {pid}: {e}"),
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `done`, else panics with what `why` says.
pub fn wait_for(what: &str, limit: Duration, why: impl Fn() -> String, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}\n{}", why());
        std::thread::sleep(Duration::from_millis(50));
    }
}
