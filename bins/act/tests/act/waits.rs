//! An action whose secret cannot be read waits alone: nothing it is asked for is lost or doubled, and the others work.

use std::time::{Duration, Instant};

use act::Mode;
use pipe::Exit;

use crate::every::rows::rows;
use crate::fake::{Http, say, wait};
use crate::fakes::Fake;
use crate::hub::{How, Hub, Running, fresh, new_id};

/// An action without secrets, which works whatever the others do.
const GOOD: &str = "[action.good]\nkind = \"file\"\npath = \"good.ndjson\"\n";

fn patient() -> How {
    How { patient: true, stay: std::sync::Arc::new(true.into()), ..How::default() }
}

fn waits(running: &Running) -> bool {
    running.metric("zentral_action_waiting{action=\"a\"") >= 1.0
}

/// What is said to be wrong.
fn said(running: &Running) -> Vec<String> {
    running.metrics.wrong.all().into_iter().map(|trouble| trouble.words()).collect()
}

/// The table with each string that holds one of these taken into a file that is not there yet, and what the files hold.
fn in_files(text: &str, secrets: &[&str]) -> (String, Vec<(String, String)>) {
    let (mut table, mut files) = (String::new(), Vec::new());
    for (n, part) in text.split('"').enumerate() {
        let is_secret = n % 2 == 1 && secrets.iter().any(|secret| part.contains(secret));
        match (n % 2, is_secret) {
            (1, true) => {
                let name = format!("secret-{}", files.len());
                table += &format!("{{ file = \"{name}\" }}");
                files.push((name, part.to_owned()));
            }
            (1, false) => table += &format!("\"{part}\""),
            _ => table += part,
        }
    }
    (table, files)
}

#[test]
fn every_secret_of_every_preset_is_waited_for() {
    let test = |row: &crate::every::rows::Row| {
        let fake = Fake::start((row.service)(), vec![]);
        let (table, files) = in_files(&row.action(&fake.url, ""), row.secrets);
        assert!(!files.is_empty(), "{}: a row without a secret", row.name);
        let hub = Hub::new(&format!("{GOOD}{table}"));
        hub.feed(&[fresh(&new_id(), &["a", "good"])]);
        let running = hub.start(patient());
        wait("the good one", || hub.told().len() == 1);
        for (name, text) in &files {
            assert!(waits(&running), "{}: {name} is not there", row.name);
            let all = said(&running);
            assert!(
                all.len() == 1 && all[0].starts_with("action a waits: cannot read ") && all[0].contains("/secret-"),
                "{}: {all:?}",
                row.name
            );
            assert!(hub.dead().is_empty() && fake.got().is_empty(), "{}: {:?}", row.name, hub.dead());
            std::fs::write(hub.dir.path().join(name), text).unwrap();
        }
        assert_eq!(running.join(), Exit::Done, "{}", row.name);
        let told = hub.told();
        assert!(told.len() == 2 && told.iter().all(|(kind, _)| kind == "action_done"), "{}: {told:?}", row.name);
        assert_eq!(fake.answered().len(), 1, "{}: once", row.name);
    };
    std::thread::scope(|scope| rows().into_iter().for_each(|row| _ = scope.spawn(move || test(&row))));
}

#[test]
fn every_secret_of_the_other_kinds_is_waited_for() {
    let url = "kind = \"http\"\nurl = \"http://127.0.0.1:9/\"\n";
    let jamf = "kind = \"jamf\"\nurl = \"http://127.0.0.1:9\"\n";
    let client = "client = { id = \"i\", secret = ";
    for keys in [
        "kind = \"http\"\nurl = { file = \"key\" }".to_owned(),
        format!("{url}headers = {{ x-key = {{ file = \"key\" }} }}"),
        format!("{url}basic = {{ user = \"u\", password = {{ file = \"key\" }} }}"),
        format!("{url}hmac = {{ header = \"x-sum\", secret = {{ file = \"key\" }} }}"),
        format!("{jamf}group = 1\nmax = \"9/h\"\n{client}{{ file = \"key\" }} }}"),
        format!(
            "{jamf}command = \"DEVICE_LOCK\"\nconfirm = \"DEVICE_LOCK\"\nmax = \"9/h\"\n{client}\"s\" }}\npin = {{ file = \"key\" }}"
        ),
        "kind = \"email\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]\n\
         smtp = { url = \"smtps://127.0.0.1:9\", user = \"u\", password = { file = \"key\" } }"
            .to_owned(),
    ] {
        let hub = Hub::new(&format!("{GOOD}[action.a]\n{keys}\n"));
        let wrong = act::check(&hub.config, &hub.texts(), false);
        assert!(wrong.is_empty(), "{keys}: {wrong:?}");
        hub.feed(&[fresh(&new_id(), &["a", "good"])]);
        let running = hub.start(patient());
        wait("the good one", || hub.told().len() == 1);
        assert!(waits(&running) && hub.dead().is_empty(), "{keys}");
        let secret = if keys.contains("pin") { "123456" } else { "http://127.0.0.1:9/" };
        std::fs::write(hub.dir.path().join("key"), secret).unwrap();
        wait("the action to be ready", || !waits(&running));
        assert_eq!(said(&running), [""; 0], "{keys}");
        running.kill();
    }
}

fn one(fake: &Http, more: &str) -> Hub {
    let key = "headers = { x-key = { file = \"key\" } }";
    Hub::new(&format!("{GOOD}[action.a]\nkind = \"http\"\nurl = \"{}/\"\n{key}\n{more}\n", fake.url))
}

#[test]
fn what_waits_is_neither_lost_nor_doubled_by_kills_and_reloads() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = one(&fake, "");
    let key = hub.dir.path().join("key");
    let ids: Vec<String> = (0..30).map(|_| new_id()).collect();
    for (n, part) in ids.chunks(6).enumerate() {
        hub.feed(&part.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
        let running = hub.start(patient());
        if n == 2 {
            std::fs::write(&key, "hunter2").unwrap();
            fake.wait_for(18);
            std::fs::remove_file(&key).unwrap();
            // The secret is there no more: whoever is told so waits again.
            *running.how.reload.lock().unwrap() = Some(hub.config.clone());
            wait("the action to wait", || waits(&running));
        } else {
            wait("the lines to be read", || running.metric("zentral_actions_pending{action=\"a\"") >= 6.0);
        }
        running.kill();
    }
    std::fs::write(&key, "hunter2").unwrap();
    assert_eq!(hub.start(How { patient: true, ..How::default() }).join(), Exit::Done);
    let mut got: Vec<String> = fake.got().iter().map(|got| got.key().to_owned()).collect();
    got.sort();
    got.dedup();
    assert_eq!((got.len(), fake.got().len(), hub.dead().len()), (30, 30, 0));
    assert!(fake.got().iter().all(|got| got.headers["x-key"] == "hunter2"));
    assert!(!format!("{:?}", hub.told()).contains("hunter2"));
}

#[test]
fn what_waits_too_long_says_for_what() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = one(&fake, "give_up = \"1m\"\nmax_age = \"30s\"");
    hub.feed(&[fresh(&new_id(), &["a"])]);
    let running = hub.start(patient());
    wait("a dead letter", || hub.dead().len() == 1);
    let dead = hub.dead();
    let why = dead[0]["error"].as_str().unwrap();
    assert!(why.starts_with("given up: cannot read ") && why.contains("/key: "), "{why}");
    running.kill();
}

#[test]
fn at_a_shell_a_missing_secret_is_the_end() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = one(&fake, "");
    hub.feed(&[fresh(&new_id(), &["good"])]);
    assert_eq!(hub.run(), Exit::Usage);
    let dry = Mode { dry_run: true, ..Mode::default() };
    let begun = Instant::now();
    assert_eq!(hub.start(How { mode: dry, ..How::default() }).join(), Exit::Done);
    assert!(begun.elapsed() < Duration::from_secs(30));
}
