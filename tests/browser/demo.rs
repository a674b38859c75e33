//! `zentral demo`, as somebody starts it who wants to see what there is.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::hub::signal;

/// How long the demo may take until all that its agents sent is stored and acted on.
const SETTLED: Duration = Duration::from_secs(180);

pub struct Demo {
    demo: Child,
    _dir: tempfile::TempDir,
    pub port: u16,
    /// By which its admin chooses a password.
    pub link: String,
}

impl Demo {
    /// Runs once its agents have sent all they have.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.arg("demo").env("TMPDIR", dir.path()).current_dir(dir.path());
        let mut demo = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (said, hears) = mpsc::channel();
        let stdout = demo.stdout.take().unwrap();
        // Read to its end: a demo that nobody reads stops.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let (mut all, mut link, end) = (Vec::new(), None, Instant::now() + SETTLED);
        let mut demo = Self { demo, _dir: dir, port: 0, link: String::new() };
        loop {
            let line = hears.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|e| panic!("the demo does not settle: {e}\n{}", all.join("\n")));
            if let Some(rest) = line.strip_prefix("console ") {
                link = rest.split_whitespace().next().map(str::to_owned);
            }
            if line.starts_with("It goes on") {
                break;
            }
            all.push(line);
        }
        demo.link = link.unwrap_or_else(|| panic!("no link to the console:\n{}", all.join("\n")));
        let port = demo.link.trim_start_matches("http://127.0.0.1:").split('/').next().unwrap();
        demo.port = port.parse().unwrap();
        demo
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It clears up behind itself.
        signal(self.demo.id() as i32, Signal::TERM);
        let _ = self.demo.wait();
    }
}
