//! Who calls without being asked, against the real program over TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use common::{Answer, Hub, gzip, wait};
use rustix::process::Signal;

const TABLES: &str = "[source.jamf-prod]\nkind = \"jamf\"\nwebhook = { secret = { file = \"jamf.key\" }, own_users = [\"hub\"] }\n\
    [source.door]\nkind = \"webhook\"\ntype = \"door_opened\"\nbearer = \"bearer-of-the-door\"\n";
const WEBHOOK: &[u8] =
    br#"{"webhook": {"webhookEvent": "ComputerCheckIn"}, "event": {"serialNumber": "C02", "username": ""}}"#;

fn post(hub: &Hub, path: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let mut conn = hub.connect();
    conn.send(&[head.as_bytes(), body].concat());
    conn.answer()
}

/// A hub whose file of the secret is there.
fn hub() -> Hub {
    let mut hub = Hub::new("", "");
    std::fs::write(hub.path("jamf.key"), "jamf-secret-1\n").unwrap();
    hub.configure("", TABLES);
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended(), Some(0));
    hub.start();
    hub
}

#[test]
fn callers_are_heard_and_their_secrets_are_in_no_log() {
    let hub = hub();
    let answer = post(&hub, "/jamf/post_event/jamf-secret-1/", "", WEBHOOK);
    assert_eq!((answer.status, answer.body), (200, serde_json::json!({})));
    assert_eq!(post(&hub, "/jamf/post_event/", "Authorization: Bearer jamf-secret-1\r\n", WEBHOOK).status, 200);
    let packed = gzip(WEBHOOK);
    assert_eq!(post(&hub, "/jamf/post_event/jamf-secret-1", "Content-Encoding: gzip\r\n", &packed).status, 200);
    assert_eq!(post(&hub, "/jamf/post_event/jamf-secret-2/", "", WEBHOOK).status, 403);
    let door = "Authorization: Bearer bearer-of-the-door\r\n";
    assert_eq!(post(&hub, "/webhook/door", door, b"{\"a\": [1, 2]}").status, 200);
    assert_eq!(post(&hub, "/webhook/door", "", b"{}").status, 401);
    assert_eq!(post(&hub, "/webhook/jamf-prod", door, b"{}").status, 404, "a name of another kind");
    let long = [b"[".as_slice(), &b"\"xxxxxxxxxxxxx\",".repeat(200_000), b"1]"].concat();
    assert_eq!(post(&hub, "/webhook/door", door, &long).status, 200, "worked on beside the others");

    let lines = hub.lines();
    let of = |name: &str| lines.iter().filter(|raw| raw.source == name).count();
    assert_eq!((of("jamf-prod"), of("door")), (3, 2));
    assert_eq!(lines[0].machine.serial_number.as_deref(), Some("C02"));
    assert_eq!((lines[0].kind.as_str(), lines[3].kind.as_str()), ("webhook", "door_opened"));
    assert_eq!(
        hub.metric("zentral_requests_total", &["kind=\"post_event\"", "source=\"jamf\"", "status=\"200\""]),
        3.0
    );
    assert_eq!(hub.refused("secret"), 1.0);
    let log = hub.log();
    for secret in ["jamf-secret", "bearer-of-the-door", "post_event/"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_new_secret_takes_the_place_of_the_old_one() {
    let hub = hub();
    std::fs::write(hub.path("jamf.key"), "jamf-secret-2").unwrap();
    hub.signal(Signal::HUP);
    wait("the new secret", || (post(&hub, "/jamf/post_event/jamf-secret-2/", "", WEBHOOK).status == 200).then_some(()));
    assert_eq!(post(&hub, "/jamf/post_event/jamf-secret-1/", "", WEBHOOK).status, 403);
    std::fs::remove_file(hub.path("jamf.key")).unwrap();
    hub.signal(Signal::HUP);
    wait("a complaint", || hub.log().contains("jamf.key").then_some(()));
    assert_eq!(post(&hub, "/jamf/post_event/jamf-secret-2/", "", WEBHOOK).status, 200, "the last good one goes on");
}

#[test]
fn without_its_secret_it_does_not_start() {
    let mut hub = hub();
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended(), Some(0));
    std::fs::remove_file(hub.path("jamf.key")).unwrap();
    hub.spawn();
    assert_eq!(hub.ended(), Some(2));
    wait("the reason", || hub.log().contains("source.jamf-prod.webhook").then_some(()));
}
