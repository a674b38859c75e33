use super::*;
use proptest::prelude::*;
use serde_json::json;

fn snapshot(source: &str, taken: i64, parts: Value) -> Snapshot {
    let parts = parts.as_object().unwrap().iter();
    let objects = |list: &Value| list.as_array().unwrap().iter().map(|o| o.as_object().unwrap().clone()).collect();
    let mut snapshot = Snapshot {
        source: source.into(),
        taken: Time::from_ms(taken),
        machine: Machine { serial_number: Some("C02".into()), ..Machine::default() },
        parts: parts.map(|(kind, list)| (kind.clone(), objects(list))).collect(),
    };
    snapshot.tidy();
    snapshot
}

/// Each change as `kind action version(was)`.
fn told(old: &Snapshot, new: Snapshot) -> Vec<String> {
    let version = |object: &Map<String, Value>| object.get("v").map(Value::to_string).unwrap_or_default();
    let one = |c: Change| {
        let was = c.was.as_ref().map(|was| format!("<{}", version(was))).unwrap_or_default();
        format!("{} {} {}{was}{}", c.kind, c.action.word(), version(&c.object), if c.first { " first" } else { "" })
    };
    diff(old, &new.over(old)).into_iter().map(one).collect()
}

#[test]
fn each_kind_has_its_own_identity() {
    let old = snapshot(
        "osquery",
        1,
        json!({
            "osx_app": [{"bundle_id": "a", "bundle_path": "/A", "v": 1}, {"bundle_id": "b", "v": 1}, {"bundle_id": "b", "v": 2}],
            "os_version": [{"v": 1}],
            "rack": [{"v": 1}],
        }),
    );
    let check = |parts: Value, want: &[&str]| assert_eq!(told(&old, snapshot("osquery", 2, parts)), want);
    check(json!({}), &[]);
    check(json!({"os_version": [{"v": 2, "x": "", "y": null}]}), &["os_version changed 2<1"]);
    check(json!({"os_version": []}), &["os_version removed 1"]);
    check(json!({"rack": [{"v": 2}]}), &["rack added 2", "rack removed 1"]);
    // One of the two that are known by the same went: it is not the other one that changed.
    check(
        json!({"osx_app": [{"v": 1, "bundle_id": "b"}, {"v": 2, "bundle_id": "a", "bundle_path": "/A"}]}),
        &["osx_app changed 2<1", "osx_app removed 2"],
    );
    check(
        json!({"osx_app": [{"bundle_id": "a", "bundle_path": "/B", "v": 1}, {"bundle_id": "b", "v": 2}, {"bundle_id": "b", "v": 3}]}),
        &["osx_app added 1", "osx_app changed 3<1", "osx_app removed 1"],
    );
    check(json!({"disk": [{"name": "sda", "v": 1}]}), &["disk added 1 first"]);
    // Order and repeats are nothing.
    check(
        json!({"osx_app": [{"bundle_id": "b", "v": 2}, {"bundle_id": "b", "v": 1}, {"v": 1, "bundle_id": "b"}, {"v": 1, "bundle_path": "/A", "bundle_id": "a"}]}),
        &[],
    );
}

#[test]
fn what_never_rests_is_no_change() {
    let of = |n: u64| {
        let disk = json!([{"name": "C:", "size": 9, "free_space": n}]);
        snapshot(
            "osquery",
            1,
            json!({"uptime": [{"total_seconds": n}], "disk": disk, "mount": [{"path": "/", "blocks_free": n}]}),
        )
    };
    assert_eq!((of(1), of(1).hash()), (of(2), of(2).hash()));
    assert_eq!(of(1).counts(), [("disk", 1), ("mount", 1)].into());
}

#[test]
fn what_is_said_of_the_machine_is_a_thing_too() {
    let of = |hostname: Option<&str>, os: &str, parts: Value| {
        let mut s = snapshot("jamf", 1, parts);
        s.machine.hostname = hostname.map(str::to_owned);
        s.machine.os_version = Some(os.into());
        s
    };
    let old = of(Some("mac"), "15.1", json!({}));
    assert_eq!(told(&old, of(None, "15.1", json!({}))), Vec::<String>::new(), "what is not said stays");
    assert_eq!(told(&old, of(Some("lab"), "15.2", json!({}))), ["machine changed <"]);
    let both = |os: &str| of(Some("mac"), os, json!({"os_version": [{"v": os}]}));
    assert_eq!(told(&both("15.1"), both("15.2")), ["os_version changed \"15.2\"<\"15.1\""], "one change");
}

#[test]
fn who_is_believed_is_a_matter_of_order() {
    let day = 86_400_000;
    let of = |source: &str, name: &str, user: Option<&str>, parts: Value| {
        let mut s = snapshot(source, 1, parts);
        s.machine.hostname = Some(name.into());
        s.machine.user = user.map(str::to_owned);
        s
    };
    let parts = json!({"osx_app": [{"bundle_id": "a"}], "group": [{"name": "x"}], "user": [{"username": "ada"}]});
    let osquery = of("osquery", "mac.local", Some("root"), parts);
    let jamf = of(
        "jamf-prod",
        "Ada's Mac",
        Some("ada@example.com"),
        json!({"osx_app": [], "group": [{"name": "vip"}, {"name": "x"}], "profile": [{"identifier": "p"}], "user": []}),
    );
    let merged = |seen: i64| {
        let told = [
            Told { kind: "jamf", seen: Time::from_ms(10 * day), snapshot: &jamf },
            Told { kind: "osquery", seen: Time::from_ms(seen), snapshot: &osquery },
        ];
        let (one, [a, b]) = (merge(&told), told);
        assert_eq!(one, merge(&[b, a]), "their order is nothing");
        one
    };
    let m = merged(9 * day);
    assert_eq!((m.machine.hostname.as_deref(), m.fields["hostname"].as_str()), (Some("mac.local"), "osquery"));
    assert_eq!((m.machine.user.as_deref(), m.fields["user"].as_str()), (Some("ada@example.com"), "jamf-prod"));
    assert_eq!(m.machine.groups, ["vip", "x"]);
    assert_eq!(
        (m.parts["osx_app"].sources.as_slice(), m.parts["osx_app"].objects.len()),
        (&["osquery".to_owned()][..], 1)
    );
    assert_eq!((m.parts["group"].sources.len(), m.parts["group"].objects.len()), (2, 2));
    assert_eq!(m.parts["profile"].sources, ["jamf-prod"]);
    assert_eq!(m.parts["user"].sources, ["osquery"], "accounts are not the principal user");
    assert!(!m.fields.contains_key("unit"));
    // What osquery said last week no longer hides what is said today.
    let m = merged(2 * day);
    assert_eq!((m.machine.hostname.as_deref(), m.parts["osx_app"].objects.len()), (Some("Ada's Mac"), 0));
    for (kind, _) in KINDS {
        assert!(precedence(kind, "osquery") < precedence(kind, "nobody"));
    }
}

/// A kind, and things of it that share identities, differ, or are alike but for how they are written.
fn parts() -> impl Strategy<Value = BTreeMap<String, Vec<Map<String, Value>>>> {
    let kind =
        prop::sample::select(vec!["osx_app", "os_version", "deb_package", "user", "group", "machine", "unheard"]);
    let value = prop_oneof![
        Just(json!("")),
        Just(Value::Null),
        (0..3u8).prop_map(|n| json!(n.to_string())),
        Just(json!({"b": 1, "a": [0]}))
    ];
    let key = prop::sample::select(vec!["bundle_id", "name", "arch", "username", "version", "path"]);
    let object = prop::collection::vec((key, value), 0..4)
        .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    prop::collection::btree_map(kind.prop_map(str::to_owned), prop::collection::vec(object, 0..6), 0..4)
}

fn without_empty(mut things: Things) -> Things {
    things.retain(|_, of| !of.is_empty());
    things
}

proptest! {
    /// Any sequence of looks by four sources, kinds told and left out as it comes: the changes carried out on what was
    /// known give what is known, and nothing is said twice.
    #[test]
    fn changes_carried_out_give_what_is_new(
        looks in prop::collection::vec((0..4usize, parts(), prop::option::of("[ab]"), any::<bool>()), 1..24),
    ) {
        let mut held: BTreeMap<usize, Snapshot> = BTreeMap::new();
        for (taken, (source, parts, hostname, turned)) in looks.into_iter().enumerate() {
            let machine = Machine { hostname, ..Machine::default() };
            let taken = Time::from_ms(taken as i64);
            let mut new = Snapshot { source: source.to_string(), taken, machine, parts: parts.clone() };
            if turned {
                new.parts.values_mut().for_each(|objects| objects.reverse());
            }
            new.tidy();
            let told: Vec<String> = new.parts.keys().cloned().collect();
            if let Some(old) = held.get(&source) {
                let new = new.clone().over(old);
                let changes = diff(old, &new);
                let mut now = things(old);
                for change in &changes {
                    prop_assert!(told.contains(&change.kind) || change.kind == MACHINE, "{change:?}");
                    prop_assert!(apply(&mut now, change), "{change:?}");
                    let text = serde_json::to_string(change).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Change>(&text).unwrap(), change);
                }
                prop_assert_eq!(without_empty(now), without_empty(things(&new)));
                prop_assert_eq!(diff(&new, &new), vec![]);
                // What was taken from the state is what was put there.
                let kept: Snapshot = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
                prop_assert_eq!(&kept, &new);
                held.insert(source, new);
            } else {
                held.insert(source, new);
            }
        }
        let told: Vec<Told<'_>> = held.values().map(|snapshot| Told { kind: "osquery", seen: snapshot.taken, snapshot }).collect();
        let merged = merge(&told);
        for (kind, part) in &merged.parts {
            prop_assert!(part.objects.iter().all(|o| told.iter().any(|t| t.snapshot.parts.get(kind).is_some_and(|of| of.contains(o)))));
        }
    }
}
