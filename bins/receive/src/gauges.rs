//! `/metrics/{inventory,santa,munki,incidents}/` at the agents' address, for a Prometheus that reaches nothing else: the
//! part of the pipeline's metrics that is about it, with the bearer of `[metrics]`.

use std::path::Path;
use std::time::Duration;

use pipe::config::Config;
use sha2::{Digest as _, Sha256};
use sources::{Reply, ReplyBody};

/// Where they are.
const PREFIX: &str = "/metrics/";
/// How long `up` may take to tell the metrics of all stages.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Prometheus' text form.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A metric that is about the inventory.
const MACHINES: &str = "zentral_machines";
/// Metrics that are about incidents begin so.
const INCIDENTS: &str = "zentral_incidents";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Machines by source, platform and unit.
    Inventory,
    /// Whatever bears the label of this source.
    Source(&'static str),
    /// Open incidents.
    Incidents,
}

impl Part {
    /// What a path asks for.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix(PREFIX)?.trim_end_matches('/') {
            "inventory" => Self::Inventory,
            "santa" => Self::Source("santa"),
            "munki" => Self::Source("munki"),
            "incidents" => Self::Incidents,
            _ => return None,
        })
    }

    /// What a path of 2017 asks for.
    pub fn legacy(path: &str) -> Option<Self> {
        (path == "/inventory/prometheus_metrics/").then_some(Self::Inventory)
    }

    /// The lines of the text that are about it, each family with its head; never nothing at all.
    fn cut(self, text: &str) -> String {
        let label = match self {
            Self::Source(name) => format!("source=\"{name}\""),
            Self::Inventory | Self::Incidents => String::new(),
        };
        let (mut cut, mut head) = (String::new(), String::new());
        for line in text.lines() {
            if line.starts_with("# HELP ") {
                head.clear();
            }
            if line.starts_with('#') {
                head.push_str(line);
                head.push('\n');
                continue;
            }
            let (name, labels) = line.split_once('{').unwrap_or((line, ""));
            let wanted = match self {
                Self::Inventory => name == MACHINES,
                Self::Incidents => name.starts_with(INCIDENTS),
                Self::Source(_) => labels.contains(&label),
            };
            if wanted {
                cut.push_str(&std::mem::take(&mut head));
                cut.push_str(line);
                cut.push('\n');
            }
        }
        if cut.is_empty() { "# nothing is counted yet\n".to_owned() } else { cut }
    }
}

/// Answers; blocks, for a file may hold the bearer and another process knows the metrics.
pub fn answer(config: &Config, part: Part, method: &str, authorization: Option<&str>) -> Reply {
    match allowed(config, authorization) {
        Err(why) => {
            tracing::error!("metrics: the bearer: {why}");
            return Reply::error(503, "busy", "the bearer cannot be read");
        }
        Ok(false) => return Reply::error(403, "bearer", "the bearer of the metrics is needed"),
        Ok(true) => {}
    }
    if !matches!(method, "GET" | "HEAD") {
        return Reply::error(405, "method", "only GET is answered here").with("Allow", "GET, HEAD");
    }
    match pipe::ops::get(&socket(&config.data), "/metrics", TIMEOUT) {
        Ok((200, text)) => {
            let text = part.cut(&String::from_utf8_lossy(&text));
            Reply::ok(ReplyBody::Own(text.into_bytes())).of_type(TEXT)
        }
        // A stage that runs alone counts for itself, and nobody counts for all.
        _ => Reply::error(503, "busy", "`zentral up` tells the metrics, and it does not answer"),
    }
}

/// The socket of `zentral up`.
fn socket(data: &Path) -> std::path::PathBuf {
    data.join("run/up.sock")
}

/// Whether the bearer of `[metrics]` was shown; without one nobody may read here.
fn allowed(config: &Config, authorization: Option<&str>) -> Result<bool, String> {
    let Some(bearer) = config.metrics.as_ref().and_then(|metrics| metrics.bearer.as_ref()) else { return Ok(false) };
    let Some(shown) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(false) };
    let wanted = bearer.resolve().map_err(|e| e.to_string())?;
    // Hashes are compared: the time does not tell where two secrets differ.
    let (a, b) = (Sha256::digest(shown.trim()), Sha256::digest(wanted));
    Ok(a.iter().zip(b.iter()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const ALL: &str = "# HELP zentral_machines Machines.\n# TYPE zentral_machines gauge\n\
        zentral_machines{source=\"santa\",platform=\"macos\"} 3\n\
        # HELP zentral_requests_total Requests.\n# TYPE zentral_requests_total counter\n\
        zentral_requests_total{source=\"osquery\"} 1\nzentral_requests_total{source=\"santa\"} 2\n\
        # HELP zentral_stage_up 1.\nzentral_stage_up{stage=\"a\"} 1\n";

    #[test]
    fn each_part_is_its_own_lines_and_their_heads() {
        let cut = |path: &str| Part::of(path).map(|part| part.cut(ALL));
        let inventory = "# HELP zentral_machines Machines.\n# TYPE zentral_machines gauge\n\
            zentral_machines{source=\"santa\",platform=\"macos\"} 3\n";
        assert_eq!(cut("/metrics/inventory/").unwrap(), inventory);
        let requests = "# HELP zentral_requests_total Requests.\n# TYPE zentral_requests_total counter\n\
            zentral_requests_total{source=\"santa\"} 2\n";
        assert_eq!(cut("/metrics/santa/").unwrap(), format!("{inventory}{requests}"));
        assert_eq!(cut("/metrics/munki").unwrap(), "# nothing is counted yet\n");
        assert_eq!(cut("/metrics/incidents/").unwrap(), "# nothing is counted yet\n");
        assert_eq!((cut("/metrics/"), cut("/metrics/osquery/"), cut("/metric/santa/")), (None, None, None));
    }

    #[test]
    fn nobody_reads_without_the_bearer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(dir.path().join("bearer"), "s3cret\n").unwrap();
        let status = |metrics: &str, method: &str, shown: Option<&str>| {
            std::fs::write(&path, format!("version = 1\n{metrics}")).unwrap();
            let (config, _) = Config::load(&path, None).unwrap();
            answer(&config, Part::Inventory, method, shown).status
        };
        let with = "[metrics]\nlisten = \"127.0.0.1:0\"\nbearer = { file = \"bearer\" }\n";
        for (metrics, method, shown, want) in [
            ("", "GET", Some("Bearer "), 403),
            ("[metrics]\nlisten = \"127.0.0.1:0\"\n", "GET", Some("Bearer "), 403),
            (with, "GET", None, 403),
            (with, "GET", Some("Bearer s3cre"), 403),
            (with, "GET", Some("s3cret"), 403),
            (with, "POST", Some("Bearer s3cret"), 405),
            // Let in, but there is no `up` here.
            (with, "GET", Some("Bearer s3cret"), 503),
            (&with.replace("\"bearer\"", "\"none\""), "GET", Some("Bearer s3cret"), 503),
        ] {
            assert_eq!(status(metrics, method, shown), want, "{metrics} {method} {shown:?}");
        }
    }
}
