//! `zentral check --agent URL`: an osquery agent that nobody knows asks through whatever stands before the hub, and hears
//! what an agent would hear. osquery looks at the body alone: an empty one, whatever its status, is a success to it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use event::printable;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use pipe::config::{Config, Finding};
use serde_json::{Value, json};

use crate::demo::client::{Client, Way};

/// Bytes of a log that a busy agent sends at once.
const LOG_BYTES: usize = 4 << 20;
/// Bytes of a block of a carve, as often set.
const BLOCK_BYTES: usize = 1 << 20;
/// Characters that are shown of an answer that is none.
const SHOWN: usize = 80;
/// A key, secret and session that nobody was given.
const NOBODY: &str = "zentral-check";
/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What an agent says, and whether the hub's answer makes it enrol anew.
struct Saying {
    what: &'static str,
    path: &'static str,
    gzip: bool,
    body: Bytes,
    invalid: bool,
}

/// That an agent got through to the hub: what it asked, and over how many connections.
pub struct Answered {
    asked: Vec<&'static str>,
    connections: usize,
}

impl Answered {
    /// For people.
    pub fn text(&self, url: &str) -> String {
        let (n, connections) = (self.asked.len(), self.connections);
        let over = if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") };
        let asked = self.asked.join("; ");
        format!(
            "an osquery agent that nobody knows came in at {url}: {n} requests over {over}, each answered by the hub ({asked})"
        )
    }

    /// For programs.
    pub fn record(&self, url: &str) -> Value {
        json!({"level": "summary", "agent": url, "asked": self.asked, "connections": self.connections})
    }
}

/// What is wrong between agents and the hub at this URL; and, if nothing is, that one got through.
pub fn look(config: &Config, url: &str, ca: Option<&Path>) -> (Vec<Finding>, Option<Answered>) {
    let fail = |text: String| (vec![Finding::file(url, text)], None);
    let way = match way(config, url, ca) {
        Ok(way) => way,
        Err(why) => return fail(why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(format!("cannot start: {e}")),
    };
    runtime.block_on(ask(&way, url))
}

fn way(config: &Config, url: &str, ca: Option<&Path>) -> Result<Way, String> {
    let rest = url.strip_prefix("https://").ok_or("agents speak https only: the URL begins with https://")?;
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '?', '#', '@']) {
        return Err("expected https://HOST or https://HOST:PORT: agents have their paths from their flags".into());
    }
    let (path, pem) = authorities(config, ca)?;
    Way::to(host, &pem).map_err(|why| format!("{}: {why}", path.display()))
}

/// The file that is named, else the hub's own authority as `enrol package` gives it to agents, else those of the system.
fn authorities(config: &Config, ca: Option<&Path>) -> Result<(PathBuf, String), String> {
    let read = |path: &Path| std::fs::read_to_string(path).map(|pem| (path.to_owned(), pem));
    if let Some(path) = ca {
        return read(path).map_err(|e| format!("{}: {e}", path.display()));
    }
    let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let all = config.authority().into_iter().chain(given).chain(BUNDLES.map(PathBuf::from));
    let found = all.into_iter().find_map(|path| read(&path).ok());
    found.ok_or_else(|| "no authorities to trust were found: name a file with --ca".to_owned())
}

fn sayings() -> Vec<Saying> {
    let say = |what, path, body: Value, invalid| Saying {
        what,
        path,
        gzip: false,
        body: Bytes::from(body.to_string().into_bytes()),
        invalid,
    };
    let record = json!({"name": NOBODY, "unixTime": 0, "action": "added", "columns": {"x": "y".repeat(1000)}});
    let records: Vec<&Value> = std::iter::repeat_n(&record, LOG_BYTES / 1100).collect();
    let log = json!({"node_key": NOBODY, "log_type": "result", "data": records});
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(log.to_string().as_bytes()).and_then(|()| packed.finish()).unwrap_or_default();
    let block =
        json!({"session_id": NOBODY, "block_id": 0, "request_id": NOBODY, "data": "A".repeat(BLOCK_BYTES / 3 * 4)});
    let key = || json!({"node_key": NOBODY});
    vec![
        say("enrolment", "enroll", json!({"enroll_secret": NOBODY, "host_identifier": NOBODY}), true),
        say("configuration", "config", key(), true),
        say("reading of live queries", "distributed/read", key(), true),
        say("answer to a live query", "distributed/write", key(), true),
        say("log of 4 MiB", "log", log, true),
        Saying { what: "log, gzip", path: "log", gzip: true, body: packed.into(), invalid: true },
        say("block of a carve", "carver/continue", block, false),
    ]
}

async fn ask(way: &Way, url: &str) -> (Vec<Finding>, Option<Answered>) {
    let (mut client, mut found, mut broken) = (Client::new(way), Vec::new(), false);
    let (mut asked, all) = (Vec::new(), sayings());
    for Saying { what, path, gzip, body, invalid } in all {
        let path = format!("/public/osquery/{path}");
        let wrong = match client.send(Method::POST, &path, gzip, body).await {
            Ok((status, body)) => judge(status, &body, invalid),
            // Nobody was reached: the others would hear the same.
            Err(why) if asked.is_empty() => return (vec![Finding::file(url, why)], None),
            Err(why) => {
                broken = true;
                Some(why)
            }
        };
        asked.push(what);
        found.extend(wrong.map(|why| Finding::file(url, format!("{path} ({what}): {why}"))));
    }
    let connections = client.connections();
    let answered = found.is_empty().then(|| Answered { asked: asked.clone(), connections });
    if !broken && connections > 1 {
        let text = format!(
            "{connections} connections for {} requests: agents keep theirs, and here each of their requests shakes hands anew",
            asked.len()
        );
        found.push(Finding::file(url, text).warning());
    }
    (found, answered)
}

/// What an agent would make of an answer, if that is not what the hub means.
fn judge(status: u16, body: &[u8], invalid: bool) -> Option<String> {
    let shown: String = printable(&String::from_utf8_lossy(body)).chars().take(SHOWN).collect();
    if body.trim_ascii().is_empty() {
        return Some(format!(
            "{status} with an empty body, which osquery takes for success: logs would be lost, schedules emptied"
        ));
    }
    if (300..400).contains(&status) {
        return Some(format!("{status}: osquery follows redirects, Santa and Munki do not; name the hub's own URL"));
    }
    match serde_json::from_slice::<Value>(body) {
        Err(_) => Some(format!("{status} with a body that is no JSON: agents would try again for ever: {shown}")),
        Ok(Value::Object(answer)) => {
            let meant =
                if invalid { answer.get("node_invalid") == Some(&json!(true)) } else { answer.contains_key("error") };
            (!meant).then(|| format!("{status} and an answer that is not the hub's to an agent nobody knows: {shown}"))
        }
        Ok(_) => Some(format!("{status} with JSON that is no object, which stops osquery: {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_looks_at_the_body_alone() {
        let check = |status, body: &str, says: Option<&str>| {
            let found = judge(status, body.as_bytes(), true);
            match says {
                None => assert_eq!(found, None, "{body}"),
                Some(says) => assert!(found.as_deref().is_some_and(|text| text.contains(says)), "{body}: {found:?}"),
            }
        };
        check(200, r#"{"node_invalid":true}"#, None);
        check(401, r#"{"node_invalid":true}"#, None);
        check(502, "", Some("502 with an empty body"));
        check(200, " \n", Some("empty body"));
        check(413, "<html>413 Request Entity Too Large</html>", Some("no JSON"));
        check(200, "[]", Some("no object"));
        check(200, "{}", Some("not the hub's"));
        check(503, r#"{"error":"busy"}"#, Some("busy"));
        check(301, "<html>", Some("redirects"));
        assert_eq!(judge(403, br#"{"error":"no such carve"}"#, false), None);
    }

    #[test]
    fn only_a_host_is_asked() {
        let config = Config::empty(None);
        for url in ["http://hub", "https://", "https://hub/path", "https://a@hub"] {
            assert!(way(&config, url, None).is_err(), "{url}");
        }
    }
}
