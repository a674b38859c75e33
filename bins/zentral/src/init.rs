//! `zentral init`: a folder with everything that a hub needs to start.

mod complete;
mod guide;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use event::Time;
use packages::{Address, is_host};
use pipe::cli::Global;
use pipe::{Exit, StageError};
use registry::folder::make_private;
use registry::server_key;
use shipped::probes::{FIRST, probe};

use crate::{ca, template};

/// Command line of `init`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder; made if it is not there. Where a pipeline.toml is already, it stays and what it lacks is made
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Address that agents speak to [default: every address, on the URL's port; without --url 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// URL by which agents reach the hub [default: https://localhost and the port of --listen]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Also the files of the guide to filters (docs/filters.md): a log of osquery's, rows, and filters with examples
    #[arg(long)]
    pub guide: bool,
}

/// Port of the hub if nobody says one.
const PORT: u16 = 8443;

/// Makes it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("init");
    let there = fs::symlink_metadata(args.dir.join("pipeline.toml")).is_ok();
    let plan = if there { complete::plan(global, args) } else { Plan::of(args) };
    crate::finish(plan.and_then(|plan| {
        plan.write(&args.dir)?;
        pipe::write_stdout(plan.said(&args.dir).as_bytes()).map_err(crate::stdout_error)?;
        Ok(Exit::Done)
    }))
}

fn port_of(listen: &str) -> Result<u16, String> {
    let bad = || format!("`{listen}` is no address: write it as 0.0.0.0:443, 127.0.0.1:8443 or [::]:443");
    let (host, port) = listen.rsplit_once(':').ok_or_else(bad)?;
    if is_host(host) { port.parse().map_err(|_| bad()) } else { Err(bad()) }
}

/// What is to be written, with the permissions of each file.
struct Plan {
    files: Vec<(PathBuf, u32, Vec<u8>)>,
    /// Files that are there already and stay as they are.
    kept: Vec<PathBuf>,
}

impl Plan {
    fn of(args: &Args) -> Result<Self, StageError> {
        let (listen, url) = match (&args.listen, &args.url) {
            (Some(listen), Some(url)) => (listen.clone(), url.clone()),
            (Some(listen), None) => {
                let port = port_of(listen).map_err(StageError::usage)?;
                (listen.clone(), format!("https://localhost:{port}"))
            }
            (None, Some(url)) => {
                let port = Address::parse(url).map_err(StageError::usage)?.port;
                (format!("0.0.0.0:{}", port.unwrap_or(443)), url.clone())
            }
            (None, None) => (format!("127.0.0.1:{PORT}"), format!("https://localhost:{PORT}")),
        };
        port_of(&listen).map_err(StageError::usage)?;
        let host = Address::parse(&url).map_err(StageError::usage)?.host;
        let made = ca::make(&ca::names(&host), Time::now()).map_err(StageError::state)?;
        let key = server_key::random().map_err(|e| StageError::state(format!("no random numbers: {e}")))?;
        // Both were checked above: neither holds a quote or a backslash.
        let pipeline = template::with(&[
            (template::URL, &format!("url     = \"{}\"", url.trim_end_matches('/'))),
            (template::LISTEN, &format!("listen = \"{listen}\"")),
            (template::INCLUDE, "include = [\"probes/*.toml\"] "),
        ]);
        let pipeline = pipeline.map_err(StageError::state)?;
        let mut files: Vec<(PathBuf, u32, Vec<u8>)> = vec![
            ("tls/ca.pem".into(), 0o644, made.ca.into()),
            ("tls/hub.pem".into(), 0o644, made.hub.into()),
            ("tls/hub.key".into(), 0o600, made.hub_key.into()),
            (Path::new("data").join(server_key::FILE), 0o600, key.0.to_vec()),
        ];
        for (name, text) in probe(FIRST).iter().flat_map(|probe| probe.files()) {
            files.push((Path::new("probes").join(name), 0o644, text.into()));
        }
        if args.guide {
            files.extend(guide::FILES.map(|(name, text)| (name.into(), 0o644, text.into())));
        }
        // Last, so that a folder with a pipeline.toml has the rest as well.
        files.push(("pipeline.toml".into(), 0o644, pipeline.into()));
        Ok(Self { files, kept: Vec::new() })
    }

    /// Writes all of it, or nothing: whatever is there already stays as it is.
    fn write(&self, dir: &Path) -> Result<(), StageError> {
        for (path, ..) in self.files.iter().rev() {
            let path = dir.join(path);
            if fs::symlink_metadata(&path).is_ok() {
                return Err(StageError::usage(format!("{} is there already; nothing was written", path.display())));
            }
        }
        let mut made = Vec::new();
        let written = self.files.iter().try_for_each(|(path, mode, bytes)| {
            let path = dir.join(path);
            let fail = |e: std::io::Error| StageError::usage(format!("{}: {e}; nothing was written", path.display()));
            if let Some(folder) = path.parent() {
                // The data folder is nobody else's business.
                let private = path.file_name() == Some(server_key::FILE.as_ref());
                if private { make_private(folder) } else { fs::create_dir_all(folder) }.map_err(fail)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(&path).map_err(fail)?;
            made.push(path.clone());
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)
        });
        if written.is_err() {
            made.iter().for_each(|path| drop(fs::remove_file(path)));
        }
        written
    }

    fn said(&self, dir: &Path) -> String {
        let config = match dir.join("pipeline.toml") {
            _ if dir == Path::new(".") => String::new(),
            path => format!(" -c {}", quoted(&path.to_string_lossy())),
        };
        let list = |paths: &mut dyn Iterator<Item = &PathBuf>| -> String {
            paths.map(|path| format!("  {}\n", dir.join(path).display())).collect()
        };
        let mut said = format!("Made:\n{}", list(&mut self.files.iter().map(|(path, ..)| path)));
        if !self.kept.is_empty() {
            said.push_str(&format!("\nKept as it is:\n{}", list(&mut self.kept.iter())));
        }
        format!(
            "{said}\nNext:\n  \
             zentral{config} up                     # run it\n  \
             zentral{config} user add NAME --role admin   # a link to the console, whose first page leads on from here; or at the shell:\n  \
             zentral{config} enrol new              # a secret for machines; its id goes into the next line\n  \
             zentral{config} enrol package ID --format sh -o enrol.sh   # for osqueryd on Linux and macOS\n"
        )
    }
}

/// As one word for a shell.
pub fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('~') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (listen, want) in [
            ("0.0.0.0:443", true),
            ("[::]:443", true),
            ("localhost:1", true),
            ("443", false),
            (":443", false),
            ("a b:1", false),
        ] {
            assert_eq!(port_of(listen).is_ok(), want, "{listen}");
        }
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("hub/pipeline.toml"), "hub/pipeline.toml");
    }
}
