//! `filter` with probes, as a process: what it writes whatever its filters do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder with a configuration and, once something ran, a data folder.
struct Place {
    folder: tempfile::TempDir,
    /// Lines of the topic `out` that were seen.
    seen: usize,
}

impl Place {
    fn new(probes: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), seen: 0 };
        place.probes(probes);
        place
    }

    /// The stage `sift` and these probes.
    fn probes(&self, probes: &str) {
        let stage = "[stage.receive]\nto = \"topic:in\"\n[stage.sift]\nrun = \"filter\"\nfrom = \"topic:in\"\nto = \"topic:out\"\n";
        self.write("pipeline.toml", &format!("version = 1\n{stage}{probes}"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filter"));
        command.arg("-c").arg(self.path("pipeline.toml")).arg("--data").arg(self.path("data")).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
        // A filter that has had enough closes its end: that is no fault.
        let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output
    }

    fn fine(&self, args: &[&str], input: &str) -> Output {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What the stage makes of more input.
    fn sift(&mut self, input: &str) -> Vec<Value> {
        if !input.is_empty() {
            self.fine(&["-e", ".", "--as", "feeder", "--to", "topic:in"], input);
        }
        self.fine(&["--stage", "sift", "--once"], "");
        let all = lines(&self.run(&["-e", ".", "--from", "topic:out", "--once"], ""));
        let before = std::mem::replace(&mut self.seen, all.len());
        all.into_iter().skip(before).collect()
    }
}

fn lines(output: &Output) -> Vec<Value> {
    output.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

fn event(id: &str, payload: &str) -> String {
    format!(
        "{{\"v\":1,\"id\":\"{id}\",\"type\":\"t\",\"received\":\"2026-11-21T19:00:00.000Z\",\"payload\":{payload}}}\n"
    )
}

fn names(line: &Value) -> Vec<&str> {
    line["probes"].as_array().map(|all| all.iter().map(|p| p["name"].as_str().unwrap()).collect()).unwrap_or_default()
}

#[test]
fn no_context_costs_the_event() {
    let mut place = Place::new(
        "[probe.big]\nfilter = '{title: (\"big\" * 99), rows: .payload.x, again: .payload.x}'\n[probe.small]\nfilter = 'true'\n",
    );
    let of = |n: usize| event("e", &format!("{{\"x\":\"{}\"}}", "x".repeat(n)));
    let room = event::LINE_MAX - of(0).trim_end().len();
    // Beside a long event; beside one that leaves room for names only, for one name, for nothing.
    for (n, want, context) in [
        (2_000_000, &["big", "small"][..], format!("{{\"title\":\"{}\",\"cut\":4000330}}", "big".repeat(99))),
        (room - 200, &["big", "small"], "null".to_owned()),
        (room - 100, &["big"], "null".to_owned()),
        (room, &[], "null".to_owned()),
    ] {
        let out = place.sift(&of(n));
        assert_eq!(out.len(), 1, "{n}");
        assert_eq!(names(&out[0]), want, "{n}");
        assert_eq!(out[0]["probes"][0]["context"], serde_json::from_str::<Value>(&context).unwrap(), "{n}");
        assert_eq!(out[0]["payload"]["x"].as_str().unwrap().len(), n);
    }
}

/// The lines about filters, as (type, probe, event, reason).
fn told(out: &[Value]) -> Vec<[&str; 4]> {
    let about = out.iter().filter(|l| l["source"] == "zentral");
    about
        .map(|l| {
            let payload = |key: &str| l["payload"][key].as_str().unwrap();
            [l["type"].as_str().unwrap(), payload("probe"), payload("event"), payload("reason")]
        })
        .collect()
}

#[test]
fn a_filter_that_is_off_begins_and_ends_with_an_event() {
    let mut place = Place::new("[probe.loop]\nfilter = 'repeat(false)'\n[probe.fine]\nfilter = 'true'\n");
    let events: String = (0..12).map(|i| event(&format!("e{i}"), "{}")).collect();
    let out = place.sift(&events);
    let want = [["filter_failed", "loop", "e0", "outputs"], ["filter_quarantined", "loop", "e9", "outputs"]];
    assert_eq!(told(&out), want);
    assert_eq!(out.len(), 14, "every event goes on");
    assert!(told(&place.sift(&event("e12", "{}"))).is_empty());

    place.probes("[probe.loop]\nfilter = 'true'\n[probe.fine]\nfilter = 'true'\n");
    let out = place.sift(&event("e13", "{}"));
    assert_eq!(told(&out), [["filter_resumed", "loop", "e9", "quarantined"]]);
    let last = out.last().unwrap();
    assert_eq!(names(last), ["fine", "loop"]);

    // The process died twice in this run; whatever the id is, and only this text is off.
    let rev = last["probes"][1]["rev"].as_str().unwrap();
    let note = |place: &Place, rev: &str| place.write("data/run/sift.note", &format!("2 00 {rev} loop odd id\n"));
    note(&place, "00000000");
    assert!(told(&place.sift("")).is_empty());
    note(&place, rev);
    let out = place.sift(&event("e14", "{}"));
    assert_eq!(told(&out), [["filter_switched_off", "loop", "odd id", "crash"]]);
    assert_eq!(names(out.last().unwrap()), ["fine"]);
    // Once is enough, though the note still says so.
    note(&place, rev);
    assert!(told(&place.sift("")).is_empty());
    place.probes("[probe.loop]\nfilter = '1'\n");
    assert_eq!(told(&place.sift("")), [["filter_resumed", "loop", "odd id", "crash"]]);
}

#[test]
fn at_the_shell_an_exceeded_limit_is_said() {
    let place = Place::new("");
    let ten = event("e", "{\"n\":2}").repeat(10);
    let output = place.run(&["-e", "repeat(false)"], &ten);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert_eq!(said.matches("filter_failed: exceeded its limit of 100 outputs").count(), 3, "{said}");
}
