//! A broker whose certificate expires, and is renewed: a server of this test's own (scripts/services).

use std::time::{Duration, Instant};

use pipe::config::Place;
use pipe::topic::Class;
use pipe::{Exit, Metrics, Sink};

use crate::hub::wait_for;
use crate::login::{Broker, broker};
use crate::server::Server;

/// The broker as it is reached now.
fn reached(server: &Server) -> Broker {
    Broker::of(|name| server.variable(&format!("ZENTRAL_TEST_KAFKA_TLS{name}"))).unwrap()
}

#[test]
fn a_certificate_that_expired_is_said_and_renewed_everything_goes_on() {
    // Where the other is this can be started.
    if broker().is_none() {
        return;
    }
    let server = Server::start("kafka-tls", "expired");
    let broker = reached(&server);
    let hub = broker.hub("expired", &broker.user("PLAIN"));
    for topic in ["in", "out", "raw"] {
        hub.make(topic, "5242880");
    }
    let lines = |from: usize| (from..from + 20).map(|n| (format!("k{n}"), format!("line {n}").into_bytes()));
    hub.write("in", lines(0));
    let mut stage = hub.process(0);
    wait_for("the first lines", 60, || hub.seen().len() == 20);
    let metrics = Metrics::new("receive");
    let place = Place::Kafka("raw".into());
    let sink =
        Sink::open("receive", &place, &hub.config, Some(hub.source()), metrics.clone(), |e| panic!("{e}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let write = |n: usize| {
        let begun = Instant::now();
        let line = format!("{{\"source\":\"s\",\"n\":{n}}}\n").into_bytes();
        (runtime.block_on(sink.write(line, 1, Class::Source)).is_ok(), begun.elapsed())
    };
    assert!(write(1).0);

    server.restart(&["--expired"]);
    let expired =
        format!("TLS: the certificate of {} has expired: it was good until 2020-02-01T00:00:00.000Z", broker.at);
    // Who reads ends and says why; so does whoever starts, and whoever looks.
    wait_for("the end of the stage", 30, || !stage.alive());
    assert_eq!(stage.end(), Some(Exit::Unreachable as i32));
    assert!(hub.log(0).contains(&format!("kafka:in: {expired}")), "{}", hub.log(0));
    let begun = Instant::now();
    assert_eq!(hub.once("in"), Exit::Unreachable);
    let error = pipe::kafka::look(&hub.config, "nowhere").unwrap_err();
    assert_eq!((error.exit, error.text), (Exit::Unreachable, format!("kafka:nowhere: {expired}")));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // A source says "busy": the first waits as long as an agent may, the others do not.
    let (taken, waited) = write(2);
    assert!(!taken && waited < Duration::from_secs(15), "{waited:?}");
    let (taken, waited) = write(3);
    assert!(!taken && waited < Duration::from_secs(1), "{waited:?}");
    let full = |n: u8| {
        let text = String::from_utf8(metrics.text()).unwrap();
        text.contains(&format!("zentral_topic_full{{topic=\"raw\",stage=\"receive\"}} {n}"))
    };
    assert!(full(1));

    server.restart(&[]);
    wait_for("room again", 40, || sink.has_room(Class::Source));
    assert!(write(4).0);
    assert!(full(0));
    hub.write("in", lines(20));
    let mut stage = hub.process(0);
    wait_for("the lines after it", 60, || hub.seen().len() == 40);
    stage.signal(rustix::process::Signal::TERM);
    assert_eq!(stage.end(), Some(0), "{}", hub.log(0));
    hub.assert_exact(40);
    let mut raw: Vec<Vec<u8>> = hub.read("raw").into_iter().map(|(_, _, line)| line).collect();
    raw.sort();
    assert_eq!(
        raw,
        [1, 4].map(|n| format!("{{\"source\":\"s\",\"n\":{n}}}").into_bytes()),
        "what was told busy was written"
    );
}
