//! The dashboards that `zentral store setup` writes: every query and every aggregation of them, and every search, gives
//! something on real clusters that hold the demo's events and those of the examples beside the filters. Needs
//! `scripts/services start elasticsearch opensearch`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::hub::{signal, wait_for};
use support::plain::good;
use support::services::address;

const ZENTRAL: &str = env!("CARGO_BIN_EXE_zentral");

/// The answer of a cluster, which must be good.
fn ask(base: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
    let body = body.map(Value::to_string).unwrap_or_default();
    serde_json::from_slice(&good(base, method, path, body.as_bytes())).unwrap()
}

/// What the demo made of its agents, until it acted.
fn of_the_demo() -> Vec<Value> {
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::new(ZENTRAL);
    command.arg("demo").env("TMPDIR", tmp.path()).current_dir(tmp.path());
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.for_each(drop));
    let scratch = || -> Option<PathBuf> { Some(std::fs::read_dir(tmp.path()).ok()?.next()?.ok()?.path()) };
    let mut events = Vec::new();
    wait_for("the demo to have acted", Duration::from_secs(120), String::new, || {
        let Some(config) = scratch().map(|dir| dir.join("pipeline.toml")).filter(|file| file.exists()) else {
            return false;
        };
        let told = Command::new(ZENTRAL).arg("-c").arg(config).args(["cat", "events"]).output().unwrap();
        events = values(&told.stdout);
        let has = |kind: &str, n: usize| events.iter().filter(|event| event["type"] == kind).count() >= n;
        has("action_done", 20) && has("osquery_result", 200) && has("results_missing", 1)
    });
    signal(i32::try_from(demo.id()).unwrap(), rustix::process::Signal::TERM);
    demo.wait().unwrap();
    events
}

/// What becomes of matches whose action cannot be done; the demo's all can.
fn not_done(matches: &[Value]) -> Vec<Value> {
    let mut command = Command::new(ZENTRAL);
    command.args(["act", "--kind", "exec", "--set", "run=[\"/bin/false\"]"]);
    let mut act = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines: String = matches.iter().map(|event| format!("{event}\n")).collect();
    act.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    values(&act.wait_with_output().unwrap().stdout)
}

/// The examples beside the filters: events of every source, as of now.
fn of_the_examples() -> Vec<Value> {
    let mut events = Vec::new();
    let now = jiff::Timestamp::now().to_string();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("filters")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "ndjson") {
            continue;
        }
        for example in values(&std::fs::read(&path).unwrap()) {
            let mut event = example["event"].clone();
            event["id"] = format!("example-{}", events.len()).into();
            event["time"] = now.clone().into();
            event["received"] = now.clone().into();
            events.push(event);
        }
    }
    events
}

fn values(lines: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(lines).into_iter::<Value>().map(Result::unwrap).collect()
}

/// What a picture asks, as its program makes it of the picture's state.
fn aggregations(state: &Value) -> Value {
    let mut asked = json!({});
    let field = &state["aggs"][0]["params"]["field"];
    let metric = match state["aggs"][0]["type"].as_str().unwrap() {
        "count" => json!({}),
        "cardinality" => json!({"1": {"cardinality": {"field": field}}}),
        other => panic!("{other}"),
    };
    for agg in state["aggs"].as_array().unwrap().iter().skip(1).rev() {
        let (id, params) = (agg["id"].as_str().unwrap(), &agg["params"]);
        let field = &params["field"];
        // By the number that is shown.
        let order = if metric == json!({}) { "_count" } else { "1" };
        let kind = agg["type"].as_str().unwrap();
        let own = match kind {
            "date_histogram" => json!({"field": field, "fixed_interval": "1h", "min_doc_count": 1}),
            "terms" => json!({"field": field, "size": params["size"], "order": {order: params["order"]}}),
            other => panic!("{other}"),
        };
        // The number is asked for at every level.
        let mut inner = metric.clone();
        inner.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        asked = json!({id: {kind: own, "aggs": inner}});
    }
    if asked == json!({}) { metric } else { asked }
}

/// Every level of buckets has one, and the number at the bottom is not nought.
fn holds(answer: &Value, asked: &Value) -> bool {
    asked.as_object().unwrap().iter().all(|(id, agg)| {
        let told = &answer[id];
        match agg.get("cardinality") {
            Some(_) => told["value"].as_u64().unwrap() > 0,
            None => told["buckets"].as_array().unwrap().iter().any(|bucket| {
                bucket["doc_count"].as_u64().unwrap() > 0 && agg.get("aggs").is_none_or(|inner| holds(bucket, inner))
            }),
        }
    })
}

/// The query of an object as its program asks it, within the last day.
fn query(object: &Value) -> Value {
    let source = object["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str().unwrap();
    let source: Value = serde_json::from_str(source).unwrap();
    let mut clauses = vec![json!({"range": {"time": {"gte": "now-24h", "lte": "now"}}})];
    match source["query"]["query"].as_str().unwrap() {
        "" => {}
        text => clauses.push(json!({"query_string": {"query": text, "analyze_wildcard": true}})),
    }
    json!({"bool": {"filter": clauses}})
}

#[test]
fn every_picture_shows_something() {
    let servers: Vec<(&str, String)> = ["elasticsearch", "opensearch"]
        .into_iter()
        .filter_map(|kind| Some((kind, address(&format!("ZENTRAL_TEST_{}", kind.to_uppercase()))?)))
        .collect();
    if servers.is_empty() {
        return;
    }
    let mut events = of_the_demo();
    let matches: Vec<Value> = events.iter().filter(|event| event.get("probes").is_some()).take(3).cloned().collect();
    events.extend(not_done(&matches));
    events.extend(of_the_examples());
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    for (kind, base) in servers {
        let dir = tempfile::tempdir().unwrap();
        let stem = format!("boards{}", std::process::id());
        let text = format!(
            "version = 1\n[stage.told]\nrun = [\"true\"]\nto = \"topic:events\"\n[stage.elastic]\nrun = \"store\"\nkind = \"{kind}\"\nfrom = \"topic:events\"\n\
             hosts = [\"{base}\"]\nindex = \"{stem}-%Y.%m.%d\"\nshards = 1\ncopies = 0\n"
        );
        std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
        let zentral = |words: &[&str], input: &str| {
            let mut command = Command::new(ZENTRAL);
            command.args(words).current_dir(dir.path()).stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        zentral(&["store", "setup", "elastic"], "");
        zentral(&["store", "setup", "elastic", "--to", "files"], "");
        zentral(&["store", "elastic"], &lines);
        ask(&base, "POST", &format!("/{stem}-*/_refresh"), None);

        let objects = values(&std::fs::read(dir.path().join("files/dashboards.ndjson")).unwrap());
        let view = objects.iter().find(|object| object["type"] == "index-pattern").unwrap();
        let view = view["attributes"]["title"].as_str().unwrap();
        let mut empty = Vec::new();
        let (mut pictures, mut searches) = (0, 0);
        for object in &objects {
            let title = &object["attributes"]["title"];
            let mut asks = |query: Value, aggs: Value| {
                let body = json!({"size": 0, "track_total_hits": true, "query": query, "aggs": aggs});
                let answer = ask(&base, "POST", &format!("/{view}/_search"), Some(&body));
                assert_eq!(answer["_shards"]["failed"], 0, "{title}: {answer}");
                let found = answer["hits"]["total"]["value"].as_u64().unwrap() > 0;
                if !found || !holds(&answer["aggregations"], &aggs) {
                    empty.push(format!("{title}: {body}"));
                }
            };
            match object["type"].as_str().unwrap() {
                "visualization" => {
                    pictures += 1;
                    let state: Value =
                        serde_json::from_str(object["attributes"]["visState"].as_str().unwrap()).unwrap();
                    asks(query(object), aggregations(&state));
                }
                "search" => {
                    searches += 1;
                    asks(query(object), json!({}));
                    for column in object["attributes"]["columns"].as_array().unwrap() {
                        let both = json!({"bool": {"filter": [query(object), {"exists": {"field": column}}]}});
                        asks(both, json!({}));
                    }
                }
                _ => {}
            }
        }
        // What pictures count by is a field that both programs let people count by.
        let fields = ask(&base, "GET", &format!("/{view}/_field_caps?fields=*"), None)["fields"].take();
        for object in objects.iter().filter(|object| object["type"] == "visualization") {
            let state: Value = serde_json::from_str(object["attributes"]["visState"].as_str().unwrap()).unwrap();
            for field in state["aggs"].as_array().unwrap().iter().filter_map(|agg| agg["params"]["field"].as_str()) {
                let kinds = fields[field].as_object().unwrap_or_else(|| panic!("there is no field {field}"));
                assert!(kinds.values().all(|kind| kind["aggregatable"] == true), "{field}: {kinds:?}");
            }
        }
        let indices = ask(&base, "GET", &format!("/_cat/indices/{stem}-*?format=json&h=index"), None);
        for index in indices.as_array().unwrap() {
            ask(&base, "DELETE", &format!("/{}", index["index"].as_str().unwrap()), None);
        }
        ask(&base, "DELETE", &format!("/_index_template/{stem}-events"), None);
        assert!(empty.is_empty(), "{kind}: nothing is shown by\n{}", empty.join("\n"));
        assert!(pictures >= 50 && searches >= 7, "{pictures} pictures, {searches} searches");
    }
}
