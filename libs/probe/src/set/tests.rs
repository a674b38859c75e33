use super::*;
use crate::{Limit, NoModules, Quiet, Scope, Source, Why};

fn spec(name: &str, filter: &str) -> Spec {
    let bare = Spec::bare(&format!("probe {name}"), filter);
    let (name, rev, act) = (name.to_owned(), crate::rev(filter, ""), vec!["tell".into()]);
    Spec { name, rev, act, severity: "major".into(), first_run: false, ..bare }
}

fn names(set: &FilterSet, line: &str) -> Vec<String> {
    let outcome = set.run(line.as_bytes(), 0, &mut Quiet).unwrap();
    outcome.found.iter().map(|f| set.spec(f.probe).unwrap().name.clone()).collect()
}

#[test]
fn scope_query_and_first_run_come_before_the_filter() {
    let own = Some("zentral/usb/1f6c09aa".to_owned());
    let set = FilterSet::build(
        vec![
            spec("every", "true"),
            Spec { query_name: own.clone(), ..spec("usb", "true") },
            Spec { query_name: own, first_run: true, ..spec("usb-first", "true") },
            Spec { scope: Scope { platforms: vec!["macos".into()], ..Scope::default() }, ..spec("mac", "true") },
            spec("last", ".payload.name"),
        ],
        &NoModules,
    )
    .unwrap();
    for (line, want) in [
        (r#"{}"#, "every"),
        (r#"{"machine":{"platform":"macos"}}"#, "every mac"),
        (r#"{"type":"osquery_result","payload":{"name":"zentral/usb/1f6c09aa"}}"#, "every usb usb-first last"),
        (r#"{"type":"osquery_result","payload":{"name":"zentral/usb/1f6c09aa","counter":0}}"#, "every usb-first last"),
        (
            r#"{"type":"osquery_result","payload":{"name":"zentral/usb/1f6c09aa","counter":"0"}}"#,
            "every usb-first last",
        ),
        (
            r#"{"type":"osquery_result","payload":{"name":"zentral/usb/1f6c09aa","counter":0,"snapshot":[]}}"#,
            "every usb usb-first last",
        ),
        (
            r#"{"type":"osquery_result","payload":{"name":"zentral/usb/1f6c09aa","counter":7}}"#,
            "every usb usb-first last",
        ),
        (r#"{"type":"osquery_result","payload":{"name":"other","counter":0}}"#, "every last"),
        (r#"{"type":"x","payload":{"name":"zentral/usb/1f6c09aa"}}"#, "every last"),
    ] {
        assert_eq!(names(&set, line).join(" "), want, "{line}");
    }
    assert!(set.run(b"[]", 0, &mut Quiet).is_err());
    assert!(set.run(b"{", 0, &mut Quiet).is_err());
}

#[test]
fn key_context_and_failures() {
    let by = |by: &str| Spec { by: Some(by.into()), ..spec("p", "{title: .t}") };
    let line = br#"{"t":"x","n":{"a":[1]},"machine":{"serial_number":null,"hardware_uuid":"U","hostname":"h"}}"#;
    for (spec, key) in [
        (spec("p", "{title: .t}"), Some("U")),
        (by("machine_key"), Some("U")),
        (by(".machine.hostname"), Some("h")),
        (by(".n"), Some(r#"{"a":[1]}"#)),
        (by(".absent"), None),
        (by("empty"), None),
    ] {
        let set = FilterSet::build(vec![spec], &NoModules).unwrap();
        let outcome = set.run(line, 0, &mut Quiet).unwrap();
        assert_eq!(outcome.found[0].key.as_deref(), key);
        assert_eq!(outcome.found[0].context.as_deref(), Some(r#"{"title":"x"}"#));
        assert!(outcome.failures.is_empty());
        let written = set.annotation(&outcome.found[0]).unwrap();
        assert_eq!((written.name.as_str(), written.rev.len()), ("p", 8));
    }

    let set = FilterSet::build(
        vec![spec("loop", "def f: f; f"), spec("bad", ".t | keys"), by("error"), spec("fine", ".t")],
        &NoModules,
    )
    .unwrap()
    // An unoptimised build is too slow for the backstop.
    .with_limits(Limits { cpu: std::time::Duration::from_secs(10), ..Limits::default() });
    let outcome = set.run(line, 0, &mut Quiet).unwrap();
    let found: Vec<usize> = outcome.found.iter().map(|f| f.probe).collect();
    let failed: Vec<usize> = outcome.failures.iter().map(|f| f.probe).collect();
    assert_eq!((found, failed), (vec![2, 3], vec![0, 1, 2]), "no probe holds up another");
    assert_eq!(outcome.failures[0].why, Why::Exceeded(Limit::Steps));
}

#[test]
fn contexts_are_bounded_together() {
    let specs = (0..40).map(|i| spec(&format!("p{i}"), "{title: .t, x: .x}")).collect();
    let set = FilterSet::build(specs, &NoModules).unwrap();
    let line = format!(r#"{{"t":"x","x":"{}","machine":{{"hostname":"{0}"}}}}"#, "x".repeat(50_000));
    let found = set.run(line.as_bytes(), 0, &mut Quiet).unwrap().found;
    let bytes: usize = found.iter().filter_map(|f| f.context.as_deref()).map(str::len).sum();
    assert!(found.len() == 40 && bytes < crate::CONTEXTS_MAX + 1000, "{} {bytes}", found.len());
    assert_eq!(found[39].context.as_deref(), Some(r#"{"cut":50020}"#));
    assert!(found[39].key.as_ref().is_some_and(|k| k.len() < 1100));
}

#[test]
fn until_closes_and_notes_can_stop() {
    let until = Some(Source { name: "u".into(), text: ".n == 0".into() });
    let set = FilterSet::build(vec![Spec { until, ..spec("p", ".n > 2") }], &NoModules).unwrap();
    for (line, found) in [(r#"{"n":3}"#, Some(false)), (r#"{"n":1}"#, None), (r#"{"n":0}"#, Some(true))] {
        let outcome = set.run(line.as_bytes(), 0, &mut Quiet).unwrap();
        assert_eq!(outcome.found.first().map(|f| f.closes), found);
        if found == Some(true) {
            assert_eq!(set.annotation(&outcome.found[0]).unwrap().extra["closes"], true);
        }
    }

    struct Off(Vec<String>);
    impl Note for Off {
        fn before(&mut self, probe: usize, id: &str) -> bool {
            self.0.push(format!("{probe} {id}"));
            false
        }
        fn is_off(&self, _: usize) -> bool {
            true
        }
    }
    let mut off = Off(Vec::new());
    assert_eq!(set.run(br#"{"id":"e1","n":3}"#, 0, &mut off).unwrap(), Outcome::default());
    assert!(off.0.is_empty(), "decided without jq: {:?}", off.0);
    let set = FilterSet::build(vec![spec("p", "{n}")], &NoModules).unwrap();
    assert_eq!(set.run(br#"{"id":"e1","n":3}"#, 0, &mut off).unwrap(), Outcome::default());
    assert_eq!(off.0, ["0 e1"]);
}

#[test]
fn now_is_the_events_received() {
    let set = FilterSet::build(vec![spec("p", "{now: now}")], &NoModules).unwrap();
    for (line, now) in
        [(r#"{"received":"1970-01-01T00:00:02.500Z"}"#, "2.5"), ("{}", "7"), (r#"{"received":"x"}"#, "7")]
    {
        let outcome = set.run(line.as_bytes(), 7000, &mut Quiet).unwrap();
        assert_eq!(outcome.found[0].context.as_deref(), Some(format!("{{\"now\":{now}}}").as_str()));
    }
}

#[test]
fn errors_name_every_broken_probe() {
    let broken = vec![
        spec("a", ". | foo"),
        spec("b", "true"),
        spec("c", ". ]"),
        Spec { by: Some("$x".into()), ..spec("d", "true") },
        spec("e", "\n  env.HOME"),
    ];
    let errors = FilterSet::build(broken, &NoModules).map(|_| ()).unwrap_err();
    let places: Vec<String> = errors
        .iter()
        .map(|e| format!("{}:{}:{}", e.problems[0].file, e.problems[0].line, e.problems[0].column))
        .collect();
    assert_eq!(places, ["probe a:1:5", "probe c:1:3", "probe d, by:1:1", "probe e:2:3"]);
}

#[test]
fn a_thousand_probes_compile_quickly_and_share_their_definitions() {
    let specs: Vec<Spec> = (0..1000)
        .map(|i| spec(&format!("p{i}"), &format!(".type == \"t{i}\" and (.payload.name | test(\"^x{i}\"))")))
        .collect();
    stack::with_stack(|| {
        let before = crate::alloc::live();
        let start = std::time::Instant::now();
        let set = FilterSet::build(specs, &NoModules).unwrap();
        let (took, bytes) = (start.elapsed(), crate::alloc::live() - before);
        assert!(took.as_millis() < 3000, "{took:?}, unoptimised");
        assert!(bytes < 20_000_000, "{bytes} bytes");
        assert_eq!(names(&set, r#"{"type":"t999","payload":{"name":"x999"}}"#), ["p999"]);
    })
    .unwrap();
}

/// Filters that are filed under something in a line.
fn asked(set: &FilterSet, line: &str) -> u64 {
    let mut scratch = Scratch::default();
    set.index().look(line.as_bytes(), &set.inner.paths, set.len(), &mut scratch).asked
}

#[test]
fn what_passes_teaches_and_a_reload_remembers() {
    crate::with_stack(|| {
        // It could be filed under either; the first is in every line.
        let specs = |other: &str| {
            vec![Spec::bare("two", r#".common == "c" and .rare == "r""#), Spec::bare("other", format!(".n == {other}"))]
        };
        let old = FilterSet::build(specs("1"), &NoModules).unwrap();
        let line = |rare: usize| format!(r#"{{"common":"c","rare":"{rare}"}}"#);
        assert_eq!(asked(&old, &line(0)), 1);
        for batch in 0..30 {
            let mut scratch = Scratch::default();
            let mut runner = old.runner(&mut scratch);
            for i in 0..10 {
                assert!(runner.run(line(batch * 10 + i).as_bytes(), 0, &mut Quiet).unwrap().found.is_empty());
            }
        }
        assert_eq!(asked(&old, &line(0)), 0, "it is filed under the other");
        let new = FilterSet::rebuild(&old, specs("2"), &NoModules).unwrap();
        assert_eq!(asked(&new, &line(0)), 0, "and is so still");
        for set in [&old, &new] {
            let found = set.run(br#"{"common":"c","rare":"r"}"#, 0, &mut Quiet).unwrap().found;
            assert_eq!(found.iter().map(|f| f.probe).collect::<Vec<_>>(), [0]);
        }
    })
    .unwrap();
}

#[test]
fn reloads_leave_nothing_behind() {
    let specs = |round: usize| {
        (0..50).map(|i| Spec::bare(&format!("p{i}"), format!(".k{round}_{i} | test(\"^{round}-{i}$\")"))).collect()
    };
    let mut set = FilterSet::build(specs(0), &NoModules).unwrap();
    for round in 1..=200 {
        set = FilterSet::rebuild(&set, specs(round), &NoModules).unwrap();
    }
    // Those of the set before were in use still when this one was made.
    assert!(set.inner.patterns.len() <= 100, "{}", set.inner.patterns.len());
    assert!(set.inner.paths.len() < 5_000, "{}", set.inner.paths.len());
    let found = set.run(br#"{"k200_7":"200-7"}"#, 0, &mut Quiet).unwrap().found;
    assert_eq!(found.iter().map(|f| f.probe).collect::<Vec<_>>(), [7]);
}
