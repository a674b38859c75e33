//! Brokers that go and come back: played by librdkafka's own cluster, so that no server is needed.

use std::time::{Duration, Instant};

use pipe::config::Place;
use pipe::topic::Class;
use pipe::{Exit, Job, Metrics, Signals, Sink, run};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rustix::process::Signal;

use crate::hub::{Counts, Hub, wait_for};

#[test]
fn receive_says_busy_while_no_broker_answers_and_recovers() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(&format!("t{}-busy.raw", std::process::id()), 3, 1).unwrap();
    let hub = Hub::new(&cluster.bootstrap_servers(), "busy", "");
    let metrics = Metrics::new("receive");
    let place = Place::Kafka("raw".into());
    let sink = Sink::open("receive", &place, &hub.config, None, metrics.clone(), |e| panic!("{e}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let write = |n: usize| {
        let line = format!("{{\"source\":\"s\",\"n\":{n}}}\n").into_bytes();
        runtime.block_on(sink.write(line, 1, Class::Source))
    };
    assert_eq!(write(1), Ok(()));
    cluster.broker_down(1).unwrap();
    let begun = Instant::now();
    assert!(write(2).is_err());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // From now on nobody waits.
    let begun = Instant::now();
    assert!(write(3).is_err());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let text = String::from_utf8(metrics.text()).unwrap();
    assert!(text.contains("zentral_topic_full{topic=\"raw\",stage=\"receive\"} 1"), "{text}");
    cluster.broker_up(1).unwrap();
    wait_for("room again", 40, || sink.has_room(Class::Source));
    assert_eq!(write(4), Ok(()));
    let text = String::from_utf8(metrics.text()).unwrap();
    assert!(text.contains("zentral_topic_full{topic=\"raw\",stage=\"receive\"} 0"), "{text}");
}

#[test]
fn that_no_broker_answers_is_said_once_and_that_they_do_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(&format!("t{}-said.raw", std::process::id()), 3, 1).unwrap();
    let hub = Hub::new(&cluster.bootstrap_servers(), "said", "");
    let mut source = hub.process_with(0, &[("TEST_SOURCE", "1")]);
    wait_for("the first line", 40, || !hub.read("raw").is_empty());
    cluster.broker_down(1).unwrap();
    // It asks every three seconds, each time as a new client.
    std::thread::sleep(Duration::from_secs(20));
    cluster.broker_up(1).unwrap();
    wait_for("the end of it", 40, || hub.log(0).contains("kafka:raw takes lines again"));
    source.signal(Signal::TERM);
    assert_eq!(source.end(), Some(0), "{}", hub.log(0));
    let said = |words: &str| hub.log(0).lines().filter(|line| !line.contains("debug") && line.contains(words)).count();
    for words in ["no broker of Kafka answers", "answer again", "takes nothing", "takes lines again"] {
        assert_eq!(said(words), 1, "{words}: {}", hub.log(0));
    }
    assert_eq!(said("warning: "), 2, "{}", hub.log(0));
}

/// A client that may not write has given up for ever, and whoever gave it leave afterwards wants lines all the same.
#[test]
fn receive_recovers_from_what_its_client_never_would() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(&format!("t{}-fatal.raw", std::process::id()), 3, 1).unwrap();
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 3];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &denied);
    let hub = Hub::new(&cluster.bootstrap_servers(), "fatal", "");
    let place = Place::Kafka("raw".into());
    let home = hub.source();
    let metrics = Metrics::new("receive");
    let sink = Sink::open("receive", &place, &hub.config, Some(home.clone()), metrics, |e| panic!("{e}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let line = || b"{\"source\":\"s\"}\n".to_vec();
    assert!(runtime.block_on(sink.write(line(), 1, Class::Source)).is_err(), "it may not write");
    let mut tries = 0;
    wait_for("leave to write", 60, || {
        tries += 1;
        runtime.block_on(sink.write(line(), 1, Class::Source)).is_ok()
    });
    assert!(tries > 1);
    assert_eq!(hub.read("raw").len(), 1, "what was told busy was not written");
    let db = registry::db::Db::open_read_only(&home).unwrap().unwrap();
    assert_eq!(db.query("SELECT line FROM outputs WHERE topic = 'kafka:raw'", &[]).unwrap()[0].int(0), 1);
}

#[test]
fn a_stage_waits_for_its_brokers_and_can_be_stopped_while_it_does() {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["in", "out"] {
        cluster.create_topic(&format!("t{}-wait.{topic}", std::process::id()), 3, 1).unwrap();
    }
    let hub = Hub::new(&cluster.bootstrap_servers(), "wait", "");
    hub.write("in", (0..50).map(|n| (format!("k{n}"), format!("line {n}").into_bytes())));
    let signals = Signals::default();
    let job = Job { signals: signals.clone(), ..hub.job("in") };
    let stage =
        std::thread::spawn(move || run(&mut Counts { pause: Duration::from_secs(1), ..Counts::default() }, job));
    // The batch is with the stage; when it wants to write nobody is there.
    std::thread::sleep(Duration::from_millis(4200));
    cluster.broker_down(1).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    cluster.broker_up(1).unwrap();
    wait_for("the lines", 60, || hub.seen().len() == 50);
    hub.assert_exact(50);
    cluster.broker_down(1).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    signals.stop();
    assert_eq!(stage.join().unwrap(), Exit::Done);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
