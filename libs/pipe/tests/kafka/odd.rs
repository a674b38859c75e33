//! Odd lines, odd topics.

use std::time::Duration;

use pipe::config::Place;
use pipe::topic::Class;
use pipe::{Exit, Job, Metrics, Signals, Sink, run};
use rdkafka::admin::AdminOptions;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::hub::{Counts, Hub, broker, wait_for};

#[test]
fn every_line_comes_through_as_it_is_and_those_of_a_machine_in_order() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "odd", "");
    let long = "y".repeat(event::LINE_MAX - 20);
    let mut lines = vec![
        String::new(),
        "{}".to_owned(),
        "not json at all".to_owned(),
        format!("{{\"payload\":\"{long}\"}}"),
        "{\"source\":\"door\",\"payload\":{\"n\":1}}".to_owned(),
        "{\"source\":\"osquery\",\"machine\":{\"serial_number\":\"\u{fc}\\n\"},\"payload\":\"\u{0}\"}".to_owned(),
    ];
    assert_eq!(lines[3].len(), event::LINE_MAX - 6);
    for n in 0..300 {
        lines.push(format!("{{\"source\":\"o\",\"machine\":{{\"serial_number\":\"C{}\"}},\"n\":{n}}}", n % 7));
    }
    hub.make("in", "5242880");
    hub.write("in", lines.iter().map(|line| (String::new(), line.clone().into_bytes())));
    assert_eq!(hub.once("in"), Exit::Done);
    let out = hub.read("out");
    let mut got: Vec<String> = out.iter().map(|(_, _, line)| String::from_utf8(line.clone()).unwrap()).collect();
    got.sort();
    lines.sort();
    assert!(got == lines, "{} of {} lines came", got.len(), lines.len());
    // What came in order of one partition goes on in that order: all lines of a machine lie in one.
    for machine in 0..7 {
        let of = format!("\"C{machine}\"");
        let parts: Vec<i32> = out
            .iter()
            .filter(|(_, key, _)| key.as_deref() == Some(&of.as_bytes()[1..of.len() - 1]))
            .map(|(p, ..)| *p)
            .collect();
        assert!(!parts.is_empty() && parts.iter().all(|p| *p == parts[0]), "{of}: {parts:?}");
    }
    // Nothing is read twice.
    assert_eq!(hub.once("in"), Exit::Done);
    assert_eq!(hub.read("out").len(), lines.len());
}

#[test]
fn a_line_of_a_stranger_over_several_lines_is_one_and_one_that_is_too_long_is_refused() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "strange", "");
    hub.make("in", "6000000");
    let lines = [b"{\n \"a\": 1\n}\n".to_vec(), vec![b'x'; event::LINE_MAX + 1], b"after".to_vec()];
    hub.write("in", lines.into_iter().map(|line| ("one".to_owned(), line)));
    assert_eq!(hub.once("in"), Exit::Refused);
    let got: Vec<Vec<u8>> = hub.read("out").into_iter().map(|(_, _, line)| line).collect();
    assert_eq!(got.len(), 2);
    assert!(got.contains(&b"{  \"a\": 1 }".to_vec()) && got.contains(&b"after".to_vec()));
}

/// 40 lines; of one no compression makes less than 100 KB.
fn lines_of_which_one_is_too_large() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut chance = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'#' + u8::try_from(state % 57).unwrap()
    };
    let noise = (0..150_000).map(|_| chance()).collect();
    let small = |n: usize| format!("{n} {}", "-".repeat(900)).into_bytes();
    (0..40).map(|n| if n == 20 { Vec::clone(&noise) } else { small(n) }).collect()
}

/// What a source was told is kept, is kept: on the topic, or among the refused lines.
#[test]
fn what_a_topic_does_not_take_from_a_source_is_kept_beside_it() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "smallraw", "");
    hub.make("raw", "10000");
    let lines = lines_of_which_one_is_too_large();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = hub.source();
    // In company, then one by one; and a writer that begins anew goes on behind what was refused before.
    for orders in [vec![lines.clone()], lines.iter().map(|line| vec![line.clone()]).collect()] {
        let (place, metrics) = (Place::Kafka("raw".into()), Metrics::new("receive"));
        let sink = Sink::open("receive", &place, &hub.config, Some(home.clone()), metrics, |e| panic!("{e}")).unwrap();
        wait_for("room", 20, || sink.has_room(Class::Source));
        for order in orders {
            let text = order.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
            assert_eq!(runtime.block_on(sink.write(text, order.len() as u64, Class::Source)), Ok(()));
        }
    }
    let mut got: Vec<Vec<u8>> = hub.read("raw").into_iter().map(|(_, _, line)| line).collect();
    let mut want: Vec<Vec<u8>> =
        lines.iter().filter(|line| line.len() < 1000).flat_map(|l| [l.clone(), l.clone()]).collect();
    got.sort();
    want.sort();
    assert!(got == want, "{} lines came, not {}", got.len(), want.len());
    let refused = std::fs::read_to_string(hub.config.data.join("refused/receive.ndjson")).unwrap();
    assert_eq!(refused.lines().count(), 2);
    let kept = |entry: &str| pipe::refused_original(entry.as_bytes()).unwrap() == lines[20];
    assert!(refused.lines().all(kept) && refused.contains("not_taken"), "{}", &refused[..200]);
    // Both sums hold: what stands in the state is what lies in the topic.
    let db = registry::db::Db::open_read_only(&home).unwrap().unwrap();
    let written = db.query("SELECT line FROM outputs WHERE topic = 'kafka:raw'", &[]).unwrap()[0].int(0);
    let not_taken = db.query("SELECT n FROM counters WHERE name = 'not taken'", &[]).unwrap()[0].int(0);
    assert_eq!((written, not_taken), (78, 2));
}

#[test]
fn what_a_topic_does_not_take_is_refused_and_the_stream_goes_on() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "small", "");
    hub.make("in", "5242880");
    hub.make("out", "10000");
    hub.write("in", lines_of_which_one_is_too_large().into_iter().map(|line| ("one".to_owned(), line)));
    assert_eq!(hub.once("in"), Exit::Refused);
    assert_eq!(hub.read("out").len(), 39);
    let refused = std::fs::read_to_string(hub.config.data.join("refused/counts.ndjson")).unwrap();
    assert_eq!(refused.lines().count(), 1);
    assert!(refused.contains("not_taken"), "{}", &refused[..200]);
}

#[test]
fn a_topic_that_was_deleted_is_made_again_and_nothing_of_it_is_missed() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "gone", "");
    hub.make("in", "5242880");
    let line = |n: usize| (format!("k{}", n % 5), format!("line {n}").into_bytes());
    hub.write("in", (0..30).map(line));
    let signals = Signals::default();
    let job = Job { signals: signals.clone(), ..hub.job("in") };
    let stage = std::thread::spawn(move || run(&mut Counts::default(), job));
    wait_for("the first lines", 30, || hub.seen().len() == 30);
    hub.delete("out");
    hub.write("in", (30..60).map(line));
    wait_for("the lines after the output was deleted", 90, || hub.seen().len() == 60);
    assert!(hub.read("out").len() >= 30);
    hub.delete("in");
    std::thread::sleep(Duration::from_secs(1));
    hub.make("in", "5242880");
    hub.write("in", (60..70).map(line));
    wait_for("the lines of the topic that was made anew", 120, || hub.seen().len() == 70);
    signals.stop();
    assert_eq!(stage.join().unwrap(), Exit::Done);
    hub.assert_exact(70);
}

/// Kafka lets go of lines whether or not they were read: that is seen in the metrics, and the sum holds.
#[test]
fn what_a_topic_let_go_of_before_it_was_read_is_counted() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "retention", "");
    hub.make("in", "5242880");
    let lines = |from: usize| (from..from + 30).map(|n| (format!("k{n}"), format!("line {n}").into_bytes()));
    let skipped = |metrics: &Metrics| {
        let text = String::from_utf8(metrics.text()).unwrap();
        let of = text.lines().find(|line| line.starts_with("zentral_topic_skipped_lines_total{"));
        of.map(|line| {
            assert!(line.contains("topic=\"in\"") && line.contains("reader=\"counts\""), "{line}");
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        })
    };
    // Of each partition all but the last line; how many those are.
    let let_go = || {
        let ends = pipe::kafka::ends(&hub.config, "in").unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, _, high) in &ends {
            let last = Offset::Offset(i64::try_from(*high).unwrap() - 1);
            list.add_partition_offset(&hub.topic("in"), *partition, last).unwrap();
        }
        let (admin, runtime) = hub.admin();
        runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
        let kept = pipe::kafka::ends(&hub.config, "in").unwrap();
        assert!(kept.iter().all(|(_, low, high)| low + 1 == *high), "{kept:?}");
    };
    hub.write("in", lines(0));
    let job = hub.job("in");
    let metrics = job.metrics.clone();
    assert_eq!(run(&mut Counts::default(), Job { once: true, ..job }), Exit::Done);
    assert_eq!((hub.seen().len(), skipped(&metrics)), (30, None));
    // Of 30 lines 3 are left: for one that reads to the end, then for a member of its group.
    for (round, once) in [(1, true), (2, false)] {
        hub.write("in", lines(30 * round));
        let_go();
        let signals = Signals::default();
        let job = Job { once, signals: signals.clone(), ..hub.job("in") };
        let metrics = job.metrics.clone();
        let stage = std::thread::spawn(move || run(&mut Counts::default(), job));
        wait_for("the lines that are left", 60, || hub.seen().len() == 30 + 3 * round);
        signals.stop();
        assert_eq!(stage.join().unwrap(), Exit::Done);
        assert_eq!(skipped(&metrics), Some(27));
    }
    let db = registry::db::Db::open_read_only(&hub.state()).unwrap().unwrap();
    let sql = "SELECT SUM(start_line + read_lines + skipped), SUM(pos), SUM(skipped) FROM positions";
    let row = &db.query(sql, &[]).unwrap()[0];
    assert_eq!((row.int(0), row.int(1), row.int(2)), (90, 90, 54));
}

#[test]
fn readers_start_where_they_are_told() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "start", "");
    hub.make("in", "5242880");
    hub.write("in", (0..10).map(|n| (format!("k{n}"), format!("old {n}").into_bytes())));
    std::thread::sleep(Duration::from_millis(6000));
    hub.write("in", (0..10).map(|n| (format!("k{n}"), format!("new {n}").into_bytes())));
    for (start, want) in [("5s", 10), ("first", 20), ("last", 0)] {
        let _ = std::fs::remove_dir_all(hub.config.data.join("state"));
        let job = Job { start: Some(start.into()), once: true, ..hub.job("in") };
        assert_eq!(run(&mut Counts::default(), job), Exit::Done);
        assert_eq!(hub.seen().len(), want, "{start}");
    }
    // Without a state nothing is committed.
    for _ in 0..2 {
        let before = hub.read("out").len();
        assert_eq!(run(&mut Counts::default(), Job { state: None, once: true, ..hub.job("in") }), Exit::Done);
        assert_eq!(hub.read("out").len(), before + 20);
    }
}

#[test]
fn a_topic_that_is_not_there_and_a_login_that_is_wrong_are_said() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "none", "");
    let exit = run(&mut Counts::default(), Job { state: None, once: true, ..hub.job("nowhere") });
    assert_eq!(exit, Exit::Usage);
    let nobody = Hub::new("127.0.0.1:9", "none", "");
    assert_eq!(nobody.once("in"), Exit::Unreachable);
}
