//! `packaging/prometheus` and `packaging/grafana`: a real Prometheus scrapes the demo and a hub in trouble, takes the rules,
//! and answers every query of the dashboards. Needs `scripts/services start prometheus`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::agent::{Agent, record};
use support::hub::{Hub, free_port, signal, wait_for};
use support::plain::good;
use support::services::address;

/// Lines that were passed over take a sealed segment, 64 MiB or an hour: only the query itself is tried.
const NEVER: &str = "zentral_topic_skipped_lines_total";
/// What does not happen while all is well: [`TROUBLE`] has all of it.
const QUIET: [&str; 9] = [
    "zentral_lines_refused_total",
    "zentral_topic_full",
    "zentral_requests_refused_total",
    "zentral_connections_refused_total",
    "zentral_live_answers_total",
    "zentral_probe_failures_total",
    "zentral_probe_off",
    "zentral_action_stopped",
    "zentral_incidents",
];

/// Filters that fail, that never end and that open an incident, an action that may change one machine an hour, and a topic
/// that is full at once.
const TROUBLE: &str = r#"
[probe.fails]
filter = '(.payload.columns.n | tonumber) > 1'
[probe.runs-away]
filter = 'def f: f; if .payload.columns.n == "x" then f else false end'
[probe.open]
filter = '.payload.columns.n == "x"'
until = 'false'
severity = "major"
act = ["once"]
[probe.once]
filter = '.payload.columns.n == "x"'
act = ["once"]
[action.once]
kind = "exec"
run = ["/bin/true"]
max = "1/h"
[stage.side]
run = "filter"
from = "topic:normalized"
to = "topic:side"
[topic.side]
limit = "1 KiB"
"#;
/// More than it takes until a filter that runs away is switched off, and an action stopped.
const MACHINES: usize = 12;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// What a program says to this input; it must succeed.
fn says(program: &str, words: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(words).current_dir(packaging("prometheus"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {words:?}: {said}");
    said
}

fn api(base: &str, path: &str) -> Value {
    serde_json::from_slice::<Value>(&good(base, "GET", path, b"")).unwrap()["data"].take()
}

/// How many series a query gives; an error of it is one of the test.
fn series(base: &str, query: &str) -> usize {
    let encoded: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
    api(base, &format!("/api/v1/query?query={encoded}"))["result"].as_array().unwrap().len()
}

/// What Prometheus is told of one hub: gone with this.
struct Scraped {
    told: [PathBuf; 2],
    prometheus: String,
}

impl Scraped {
    fn new(prometheus: &str, folder: &Path, job: &str, target: &str) -> Self {
        let told = [folder.join(format!("targets/{job}.json")), folder.join(format!("rules/{job}.yml"))];
        let text = json!([{"targets": [target], "labels": {"job": job}}]);
        std::fs::write(&told[0], text.to_string()).unwrap();
        std::fs::copy(packaging("prometheus/zentral.rules.yml"), &told[1]).unwrap();
        good(prometheus, "POST", "/-/reload", b"");
        Self { told, prometheus: prometheus.to_owned() }
    }
}

impl Drop for Scraped {
    fn drop(&mut self) {
        self.told.iter().for_each(|file| _ = std::fs::remove_file(file));
        if !std::thread::panicking() {
            good(&self.prometheus, "POST", "/-/reload", b"");
        }
    }
}

struct Demo {
    process: Child,
    metrics: String,
    _tmp: tempfile::TempDir,
    _scraped: Scraped,
}

impl Demo {
    fn start(prometheus: &str, folder: &Path, job: &str) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.arg("demo").env("TMPDIR", tmp.path()).current_dir(tmp.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("metrics   ")?.trim().to_owned())).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let metrics = address.strip_suffix("/metrics").unwrap().to_owned();
        let scraped = Scraped::new(prometheus, folder, job, metrics.strip_prefix("http://").unwrap());
        Self { process, metrics, _tmp: tmp, _scraped: scraped }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        signal(i32::try_from(self.process.id()).unwrap(), rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

fn is_quiet(query: &str) -> bool {
    QUIET.iter().any(|name| query.contains(name))
}

/// Waits until each of these queries gives something.
fn all_answer(prometheus: &str, queries: Vec<(String, String)>) {
    let remaining = std::cell::RefCell::new(queries);
    let why = || format!("no data: {:#?}", remaining.borrow());
    wait_for("data of every query", Duration::from_secs(90), why, || {
        remaining.borrow_mut().retain(|(_, query)| series(prometheus, query) == 0);
        remaining.borrow().is_empty()
    });
}

/// The queries of all dashboards, with their place; the variables filled in.
fn queries(job: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(packaging("grafana")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let board: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(board["uid"], format!("zentral-{name}"));
        for variable in board["templating"]["list"].as_array().unwrap().iter().filter(|v| v["type"] == "query") {
            let query = variable["query"].as_str().unwrap();
            let metric = query.strip_prefix("label_values(").unwrap().split(',').next().unwrap();
            found.push((format!("{name}: {query}"), metric.to_owned()));
        }
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap().replace("$job", job).replace("$__rate_interval", "1m");
                assert!(!query.contains('$'), "{query}");
                found.push((format!("{name}: {}", panel["title"]), query));
            }
        }
    }
    found
}

#[test]
fn rules_are_right_and_tell_what_they_should() {
    let Some(promtool) = address("ZENTRAL_TEST_PROMTOOL") else { return };
    says(&promtool, &["check", "rules", "zentral.rules.yml"], b"");
    says(&promtool, &["check", "config", "prometheus.yml"], b"");
    says(&promtool, &["test", "rules", "zentral.rules.test.yml"], b"");
    let (rules, tests) = (packaging("prometheus/zentral.rules.yml"), packaging("prometheus/zentral.rules.test.yml"));
    let (rules, tests) = (std::fs::read_to_string(rules).unwrap(), std::fs::read_to_string(tests).unwrap());
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let told = format!("alertname: {alert}\n");
        let told = tests.split(&told).skip(1).any(|after| after.trim_start().starts_with("exp_alerts:"));
        assert!(
            told || tests.contains(&format!("alertname: {alert}, exp_alerts:")),
            "{alert} has no test in which it is told"
        );
    }
}

#[test]
fn a_real_prometheus_answers_every_query_about_the_demo() {
    let Some(prometheus) = address("ZENTRAL_TEST_PROMETHEUS") else { return };
    let (folder, promtool) =
        (address("ZENTRAL_TEST_PROMETHEUS_DIR").unwrap(), address("ZENTRAL_TEST_PROMTOOL").unwrap());
    let job = format!("zentral-{}", std::process::id());
    let demo = Demo::start(&prometheus, Path::new(&folder), &job);

    let mut queries = queries(&job);
    assert!(queries.len() > 50, "{queries:?}");
    for (_, query) in queries.iter().filter(|(_, query)| query.contains(NEVER)) {
        series(&prometheus, query);
    }
    queries.retain(|(_, query)| !is_quiet(query) && !query.contains(NEVER));
    all_answer(&prometheus, queries);

    // As it is served, by Prometheus' own judgement.
    let served = good(&demo.metrics, "GET", "/metrics", b"");
    says(&promtool, &["check", "metrics"], &served);

    // The rules run, and of a pipeline that is well nothing is told.
    let of_job = |rule: &Value| rule["file"].as_str().unwrap().ends_with(&format!("{job}.yml"));
    let evaluated = |rule: &Value| rule["lastEvaluation"].as_str().is_some_and(|at| !at.starts_with("0001"));
    let rules = || -> Vec<Value> {
        let groups = api(&prometheus, "/api/v1/rules")["groups"].take();
        let ours = groups.as_array().unwrap().iter().filter(|group| of_job(group));
        ours.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    };
    wait_for("rules", Duration::from_secs(30), || format!("{:#?}", rules()), || rules().iter().all(evaluated));
    assert!(rules().len() > 20);
    for rule in rules() {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        let told = rule["alerts"].as_array().into_iter().flatten();
        let told: Vec<_> = told.filter(|a| a["labels"]["job"] == job.as_str() && a["state"] == "firing").collect();
        assert!(told.is_empty(), "{told:#?}");
    }
    for name in ["stage:zentral_lines_in:rate5m", "topic:zentral_topic_used:ratio", "action:zentral_actions:rate5m"] {
        let recorded = || series(&prometheus, &format!("{name}{{job=\"{job}\"}}")) > 0;
        wait_for(name, Duration::from_secs(30), String::new, recorded);
    }
}

/// What agents and people do to a hub that is not well, so that each of [`QUIET`] is counted.
fn trouble(hub: &Hub, first: &mut Agent) {
    for n in 0..MACHINES {
        let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), &format!("C{n:02}AA"));
        let mut line = record(n);
        line["columns"]["n"] = json!("x");
        // The second is no record of osquery's.
        assert!(agent.log(&[line, json!("?")]).unwrap());
    }
    let key = first.node_key.replace("nobody".into());
    assert!(!first.log(&[record(0)]).unwrap());
    first.node_key = key;
    // Not TLS.
    TcpStream::connect(("127.0.0.1", hub.port)).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
}

/// Somebody asks the machines something, and this one answers.
fn asked(hub: &Hub, agent: &mut Agent) {
    let mut query = hub.command(&["query", "select 1 as a", "--wait", "30s"]);
    let mut query = query.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut name = None;
    hub.wait("a query", 30, || {
        let body = json!({"node_key": agent.node_key});
        let (_, answer) = agent.client.post("/public/osquery/distributed/read", &body).unwrap();
        name = answer["queries"].as_object().and_then(|all| all.keys().next().cloned());
        name.is_some()
    });
    let name = name.unwrap();
    let body = json!({"node_key": agent.node_key, "queries": {&name: [{"a": "1"}]}, "statuses": {&name: 0}});
    assert_eq!(agent.client.post("/public/osquery/distributed/write", &body).unwrap().0, 200);
    let _ = query.kill();
    let _ = query.wait();
}

#[test]
fn what_goes_wrong_is_in_the_dashboards_and_alerts() {
    let Some(prometheus) = address("ZENTRAL_TEST_PROMETHEUS") else { return };
    let folder = address("ZENTRAL_TEST_PROMETHEUS_DIR").unwrap();
    let job = format!("zentral-ill-{}", std::process::id());
    let mut hub = Hub::new(TROUBLE);
    let metrics = format!("127.0.0.1:{}", free_port());
    hub.edit(|text| text.replace("127.0.0.1:9473", &metrics));
    hub.start();
    hub.wait("receive", 30, || hub.path("data/run/receive.addr").exists());
    let mut first = Agent::new(&hub.ca(), hub.port, &hub.secret(), "C99ZZ");
    first.enrol().unwrap();
    let _scraped = Scraped::new(&prometheus, Path::new(&folder), &job, &metrics);
    // A rate is of two scrapes: what comes with the first one was never less.
    all_answer(&prometheus, vec![("up".into(), format!("zentral_stage_up{{job=\"{job}\"}}"))]);
    trouble(&hub, &mut first);
    asked(&hub, &mut first);

    let mut queries = queries(&job);
    queries.retain(|(_, query)| is_quiet(query));
    for name in QUIET {
        assert!(queries.iter().any(|(_, query)| query.contains(name)), "no dashboard shows {name}");
    }
    all_answer(&prometheus, queries);
    // Alerts that wait for no time to pass, and have something to tell.
    for alert in ["ZentralProbeOff", "ZentralActionStopped"] {
        let query = format!("ALERTS{{job=\"{job}\", alertname=\"{alert}\", alertstate=\"firing\"}}");
        all_answer(&prometheus, vec![(alert.into(), query)]);
    }
}

/// A metric that is named in a rule or a dashboard is one that some program has.
#[test]
fn every_metric_that_is_named_is_told_by_somebody() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("bins"), root.join("libs")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = std::fs::read_to_string(packaging("prometheus/zentral.rules.yml")).unwrap();
    queries("x").iter().for_each(|(_, query)| text.push_str(&format!("{query}\n")));
    // What a rule makes has colons.
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let names: std::collections::BTreeSet<&str> = words.filter(|word| word.starts_with("zentral_")).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(sources.contains(&format!("\"{family}\"")), "{name}: nobody tells it");
    }
}
