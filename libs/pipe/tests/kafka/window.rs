//! Who looks into a topic while it changes.

use std::time::{Duration, Instant};

use event::Time;
use pipe::Window;
use pipe::config::Place;

use crate::hub::{Hub, broker};

/// The first words of the lines that come before the end, or within these seconds to whoever follows.
fn words(window: &mut Window, seconds: u64, enough: usize) -> Vec<String> {
    let (begun, mut all) = (Instant::now(), Vec::new());
    loop {
        match window.read().unwrap() {
            Some(lines) => {
                let lines = lines.bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                all.extend(lines.map(|l| String::from_utf8_lossy(l).split(' ').next().unwrap().to_owned()));
            }
            None if all.len() >= enough || begun.elapsed() >= Duration::from_secs(seconds) => return all,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// One partition was far ahead, is stopped, and has not given all that waited when the other loses what comes next.
#[test]
fn a_partition_that_was_stopped_goes_on_after_another_lost_lines() {
    const ONE: i64 = 800;
    const OTHER: i64 = 120;
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "window", "");
    hub.make("in", "5242880");
    let line = |word: &str, n: i64| format!("{word}{n} {}", "x".repeat(100_000)).into_bytes();
    // 4 MiB of `other` wait while the first 200 are read, 15 of these lines are given, then it is the turn of `one` again.
    let began = Time::now().ms() - 60_000;
    let at = |n: i64, turn: i64, later: i64| began + n + if n < turn { 0 } else { later };
    hub.write_to("in", 1, (0..ONE).map(|n| (at(n, 200, 5000), line("one", n))));
    hub.write_to("in", 0, (0..OTHER).map(|n| (1000 + at(n, 15, 9000), line("other", n))));
    let mut window = Window::open(&hub.config, &Place::Kafka("in".into()), None, None, false).unwrap().unwrap();
    assert_eq!(window.total(), (ONE + OTHER).cast_unsigned());
    let mut before = 0;
    while before < 300 {
        before += window.read().unwrap().unwrap().bytes.iter().filter(|b| **b == b'\n').count();
    }
    hub.forget("in", 1, ONE - 5);
    let rest = words(&mut window, 0, 0);
    assert!(before + rest.len() < (ONE + OTHER).try_into().unwrap(), "all were read before they went");
    let other: Vec<_> = rest.iter().filter(|word| word.starts_with("other")).cloned().collect();
    assert_eq!(other, (15..OTHER).map(|n| format!("other{n}")).collect::<Vec<_>>());
    assert!(rest.contains(&format!("one{}", ONE - 1)));
    assert_eq!(window.done(), window.total());
}

#[test]
fn what_is_passed_over_counts_as_looked_through() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "passed", "");
    hub.make("in", "6000000");
    let lines = [b"before".to_vec(), vec![b'x'; event::LINE_MAX + 1], b"after".to_vec()];
    hub.write_to("in", 2, lines.into_iter().map(|line| (0, line)));
    let mut window = Window::open(&hub.config, &Place::Kafka("in".into()), None, None, false).unwrap().unwrap();
    assert_eq!((window.done(), window.total()), (0, 3));
    assert_eq!(words(&mut window, 0, 0), ["before", "after"]);
    assert_eq!((window.done(), window.total()), (3, 3));
}

/// Who reads to an end gives up behind so many, who follows never does.
#[test]
fn much_that_comes_later_is_the_end_but_for_who_follows() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "later", "");
    hub.make("in", "5242880");
    let (begun, now) = (Time::from_ms(1_800_000_000_000), Time::from_ms(1_800_000_060_000));
    let line = |n: i64, received: Time, pad: usize| {
        (n, format!("{{\"received\":\"{received}\",\"x\":\"{}\"}}", "x".repeat(pad)).into_bytes())
    };
    let late = (1..=18).map(|n| line(n, now, 4_000_000));
    hub.write_to("in", 0, std::iter::once(line(0, begun, 0)).chain(late).chain([line(19, begun, 0)]));
    for (follows, want) in [(false, 1), (true, 2)] {
        let place = Place::Kafka("in".into());
        let mut window = Window::open(&hub.config, &place, None, Some(begun), follows).unwrap().unwrap();
        assert_eq!(words(&mut window, 30, want).len(), want, "follows: {follows}");
        assert!(follows || window.done() == window.total());
    }
}

#[test]
fn who_follows_a_topic_that_was_made_anew_begins_at_its_first_line() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "anew", "");
    let line = |n: usize| ("one".to_owned(), format!("line{n} ").into_bytes());
    hub.make("in", "5242880");
    hub.write("in", (0..10).map(line));
    let mut window = Window::open(&hub.config, &Place::Kafka("in".into()), None, None, true).unwrap().unwrap();
    assert_eq!(words(&mut window, 30, 10).len(), 10);
    hub.delete("in");
    std::thread::sleep(Duration::from_secs(1));
    hub.make("in", "5242880");
    hub.write("in", (20..25).map(line));
    let got = words(&mut window, 60, 5);
    assert_eq!(got, (20..25).map(|n| format!("line{n}")).collect::<Vec<_>>());
}
