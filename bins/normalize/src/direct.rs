//! The short way of a raw line: most are canonical and give one event, whose payload is the record as it stands. Such a line
//! is looked through once, and its parts are put together anew; what is not so plain goes the long way, which gives the
//! same bytes.

use std::collections::HashMap;
use std::sync::Arc;

use event::json::Shape;
use event::{EventTexts, LINE_MAX, Machine, Request, Time};
use serde::Serialize;

use sources::Run;

use crate::geo::Geo;

/// Bytes of the texts that are kept of each kind; beyond it they are learned anew. Enough for 20,000 usual machines.
const KEPT_MAX: usize = 8 << 20;
/// What a kept text takes beside itself and what becomes of it, about.
const ENTRY: usize = 96;
/// A longer machine or request is not kept: it goes the long way.
const TEXT_MAX: usize = 512;

/// What the short way remembers from line to line.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    shape: Shape,
    /// What becomes of the machine of a raw line in an event: completed by what is known of it.
    machines: Texts,
    /// What becomes of its request.
    requests: Texts,
    /// Where its address is.
    pub(crate) geo: Geo,
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The event was written.
    Written,
    /// It goes the long way.
    Long,
}

impl Direct {
    /// Writes the event of the line, if it is so plain. `complete` fills in what is known of a machine that is seen for the
    /// first time since [`Direct::forget`]; `means_more`: the result of a query, of the machine of this key, is more than
    /// its event.
    pub(crate) fn write<E>(
        &mut self,
        line: &[u8],
        out: &mut Vec<u8>,
        complete: impl FnOnce(Machine) -> Result<Machine, E>,
        means_more: impl FnOnce(&Run<'_>, Option<&str>, Time) -> bool,
    ) -> Result<Way, E> {
        if line.len() > LINE_MAX || !self.shape.read(line) {
            return Ok(Way::Long);
        }
        let Some(raw) = Parts::of(&self.shape, line) else { return Ok(Way::Long) };
        let request = match self.requests.find(raw.request) {
            Some(place) => place,
            None => match request(raw.request, &self.geo) {
                Some(text) => self.requests.keep(raw.request, text),
                None => return Ok(Way::Long),
            },
        };
        let machine = match self.machines.find(raw.machine) {
            Some(place) => place,
            None => match machine(raw.machine) {
                None => return Ok(Way::Long),
                Some(machine) if machine == Machine::default() => self.machines.keep(raw.machine, None),
                Some(machine) => {
                    let key = machine.key().map(Into::into);
                    self.machines.keep_of(raw.machine, Some(written(&complete(machine)?)), key)
                }
            },
        };
        if let Some(run) = &raw.plain.run
            && means_more(run, self.machines.key(machine), raw.plain.time)
        {
            return Ok(Way::Long);
        }
        let event = EventTexts {
            id: raw.id,
            type_: raw.plain.type_,
            time: raw.plain.time,
            received: raw.received,
            source: raw.source,
            tags: raw.plain.tags,
            machine: self.machines.text(machine),
            request: self.requests.text(request),
            objects: &raw.plain.objects,
            payload: raw.body,
        };
        event.write(out);
        Ok(Way::Written)
    }

    /// Addresses are elsewhere from now on.
    pub(crate) fn locate(&mut self, geo: Geo) {
        self.geo = geo;
        self.requests = Texts::default();
    }

    /// The configuration is another.
    pub(crate) fn forget(&mut self) {
        self.machines = Texts::default();
    }

    /// Something was learned of the machine of this key.
    pub(crate) fn forget_one(&mut self, machine: &str) {
        self.machines.forget(machine);
    }
}

/// The parts of a plain raw line.
struct Parts<'a> {
    id: &'a [u8],
    source: &'static str,
    received: Time,
    machine: &'a [u8],
    request: &'a [u8],
    body: &'a [u8],
    plain: sources::Plain<'a>,
}

impl<'a> Parts<'a> {
    /// None: there is something odd about it, which the long way judges.
    fn of(shape: &'a Shape, line: &'a [u8]) -> Option<Self> {
        let (mut v, mut id, mut source, mut kind, mut received) = (None, None, None, None, None);
        let (mut machine, mut request, mut body) = (None, None, None);
        for ((key, value), within) in shape.root(line).members() {
            match key {
                b"v" => v = Some(value),
                b"id" => id = Some(value),
                b"source" => source = Some(value),
                b"kind" => kind = Some(value),
                b"received" => received = Some(value),
                b"machine" => machine = Some(value),
                b"request" => request = Some(value),
                b"body" => body = Some((value, within)),
                _ => return None,
            }
        }
        let (body, record) = body.filter(|(text, _)| text.starts_with(b"{"))?;
        let source = sources::by_name(std::str::from_utf8(plain_str(source?)?).ok()?)?;
        let received = std::str::from_utf8(plain_str(received?)?).ok()?.parse().ok()?;
        if v != Some(b"1") {
            return None;
        }
        let plain = source.plain(plain_str(kind?)?, received, record)?;
        let (machine, request) = (machine.unwrap_or(b"{}"), request.unwrap_or(b"null"));
        Some(Self { id: plain_str(id?)?, source: source.name(), received, machine, request, body, plain })
    }
}

/// The text of a string in which nothing is escaped.
fn plain_str(value: &[u8]) -> Option<&[u8]> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!text.contains(&b'\\')).then_some(text)
}

fn machine(text: &[u8]) -> Option<Machine> {
    if text.len() > TEXT_MAX { None } else { serde_json::from_slice(text).ok() }
}

/// The text of a request as an event has it; none within if it has none.
fn request(text: &[u8], geo: &Geo) -> Option<Option<Vec<u8>>> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let mut request: Option<Request> = serde_json::from_slice(text).ok()?;
    request.iter_mut().for_each(|request| geo.add(request));
    Some(request.as_ref().map(written))
}

fn written(value: &impl Serialize) -> Vec<u8> {
    // A plain struct into a Vec: this cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Texts of raw lines and what becomes of them, by places that hold until the next text is kept.
#[derive(Debug, Default)]
struct Texts {
    places: HashMap<Arc<[u8]>, usize>,
    texts: Vec<Option<Vec<u8>>>,
    /// The keys of machines.
    keys: Vec<Option<Box<str>>>,
    /// The texts of each.
    of_key: HashMap<Box<str>, Vec<Arc<[u8]>>>,
    /// Bytes of all of them.
    kept: usize,
}

impl Texts {
    fn find(&self, text: &[u8]) -> Option<usize> {
        self.places.get(text).copied()
    }

    fn text(&self, place: usize) -> Option<&[u8]> {
        self.texts.get(place)?.as_deref()
    }

    fn key(&self, place: usize) -> Option<&str> {
        self.keys.get(place)?.as_deref()
    }

    fn keep(&mut self, text: &[u8], becomes: Option<Vec<u8>>) -> usize {
        self.keep_of(text, becomes, None)
    }

    fn keep_of(&mut self, text: &[u8], becomes: Option<Vec<u8>>, key: Option<Box<str>>) -> usize {
        let of_key = key.as_ref().map_or(0, |key| ENTRY + 2 * key.len());
        let takes = ENTRY + text.len() + becomes.as_ref().map_or(0, Vec::len) + of_key;
        if self.kept + takes > KEPT_MAX {
            *self = Self::default();
        }
        self.kept += takes;
        let text: Arc<[u8]> = text.into();
        if let Some(key) = &key {
            self.of_key.entry(key.clone()).or_default().push(text.clone());
        }
        self.texts.push(becomes);
        self.keys.push(key);
        self.places.insert(text, self.texts.len() - 1);
        self.texts.len() - 1
    }

    /// Of one machine. The places hold; what was kept there counts until all is forgotten.
    fn forget(&mut self, key: &str) {
        for text in self.of_key.remove(key).into_iter().flatten() {
            if let Some(place) = self.places.remove(&text) {
                self.texts.get_mut(place).map(Option::take);
                self.keys.get_mut(place).map(Option::take);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use std::convert::Infallible;

    use event::Raw;
    use proptest::prelude::*;

    use super::*;

    fn complete(machine: Machine) -> Machine {
        Machine { hostname: machine.hostname.or(Some("known".into())), ..machine }
    }

    /// The event by the short way, if the line takes it.
    fn short(direct: &mut Direct, line: &str) -> Option<String> {
        let mut out = Vec::new();
        let add = |machine| Ok::<_, Infallible>(complete(machine));
        let way = direct.write(line.as_bytes(), &mut out, add, |_, _, _| false);
        (way == Ok(Way::Written)).then(|| String::from_utf8(out).unwrap())
    }

    /// All the events by the long way.
    fn long(line: &str) -> Vec<String> {
        let Ok(raw) = Raw::parse(line.as_bytes()) else { return Vec::new() };
        let source = sources::by_name(&raw.source).unwrap();
        let mut events = source.translate(&raw).unwrap_or_default();
        for event in &mut events {
            event.machine = event.machine.take().map(complete);
        }
        let text = |event: &event::Event| {
            let mut out = Vec::new();
            event.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        events.iter().map(text).collect()
    }

    fn line(kind: &str, received: &str, around: &str, body: &str) -> String {
        format!(
            "{{\"v\":1,\"id\":\"01a1ff7a-cbfb-8000-8000-000000000000\",\"source\":\"osquery\",\"kind\":\"{kind}\",\
             \"received\":\"{received}\"{around},\"body\":{body}}}"
        )
    }

    const NOW: &str = "2026-01-06T08:00:10.000Z";
    const RECORD: &str =
        r#"{"name":"usb","unixTime":1767686405,"columns":{"username":"ada","sha256":"00"},"action":"added"}"#;

    #[test]
    fn recorded_lines_go_the_short_way() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/osquery");
        let (mut direct, mut short_ones, mut all) = (Direct::default(), 0, 0);
        for file in [
            "filebeat/darwin_head.log",
            "osquery-tests/kafka_producer.ndjson",
            "zentral/osquery_log.ndjson",
            "authored-osquery/edge_results.ndjson",
            "authored-osquery/edge_status.ndjson",
            "panther/suspicious_cron.ndjson",
        ] {
            for record in std::fs::read_to_string(data.join(file)).unwrap().lines() {
                let mut body = Vec::new();
                event::json::canonical(record.as_bytes(), &mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                for (kind, around) in [("result", ",\"machine\":{\"serial_number\":\"C02\"}"), ("status", "")] {
                    let line = line(kind, NOW, around, &body);
                    all += 1;
                    if let Some(event) = short(&mut direct, &line) {
                        short_ones += 1;
                        assert_eq!(long(&line), [event], "{line}");
                    }
                }
            }
        }
        assert!(short_ones * 10 > all * 8, "{short_ones} of {all}");
    }

    #[test]
    fn what_is_odd_goes_the_long_way() {
        let mut direct = Direct::default();
        let plain = line("result", NOW, "", RECORD);
        assert!(short(&mut direct, &plain).is_some());
        for odd in [
            plain.replace("\"v\":1", "\"v\":2"),
            plain.replace("\"v\":1", "\"v\":1.0"),
            plain.replace("osquery", "nobody"),
            plain.replace("\"result\"", "\"enroll\""),
            plain.replace("\"result\"", "\"log:x\""),
            plain.replace("{\"v\"", "{ \"v\""),
            plain.replace("01a1", "\\\\1"),
            plain.replace(NOW, "now"),
            plain.replace("\"body\"", "\"newer\":1,\"body\""),
            plain.replace("\"body\"", "\"machine\":[],\"body\""),
            plain.replace("\"body\"", "\"request\":{\"ip\":1},\"body\""),
            plain.replace("\"action\"", "\"name\""),
            plain.replace("\"columns\"", "\"diffResults\""),
            line("result", NOW, "", "{\"base64\":\"/w==\"}"),
            line("result", NOW, "", "[]"),
            line("result", NOW, "", r#"{"name":"ztl-inv","snapshot":[{"a":"b"}]}"#),
            line("result", NOW, "", "{}"),
            plain.replace("usb", &"x".repeat(LINE_MAX)),
            String::new(),
        ] {
            assert_eq!(short(&mut direct, &odd), None, "{odd:.300}");
        }
    }

    #[test]
    fn a_machine_is_completed_anew_when_something_was_learned() {
        let mut direct = Direct::default();
        let line = line("result", NOW, ",\"machine\":{\"serial_number\":\"C02\"}", RECORD);
        let mut with = |name: &str, forget: Option<&str>| {
            match forget {
                Some("") => direct.forget(),
                Some(key) => direct.forget_one(key),
                None => {}
            }
            let mut out = Vec::new();
            let known = |machine| Ok::<_, Infallible>(Machine { hostname: Some(name.into()), ..machine });
            direct.write(line.as_bytes(), &mut out, known, |_, _, _| false).unwrap();
            String::from_utf8(out).unwrap().contains(&format!("\"hostname\":\"{name}\""))
        };
        assert!(with("one", None) && !with("two", None) && with("two", Some("")));
        assert!(!with("three", Some("C03")) && with("three", Some("C02")) && !with("four", None));
        assert!(with("four", Some("C02")), "it can be forgotten again");
    }

    #[test]
    fn an_address_has_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("city.mmdb");
        std::fs::write(&path, crate::geo::tests::file()).unwrap();
        let mut direct = Direct::default();
        let line = line("result", NOW, ",\"request\":{\"ip\":\"203.0.113.9\"}", RECORD);
        let mut has_place = |geo: Option<Geo>| {
            geo.into_iter().for_each(|geo| direct.locate(geo));
            short(&mut direct, &line).unwrap().contains(r#""request":{"ip":"203.0.113.9","geo":{"country":"DE","#)
        };
        assert!(!has_place(None) && has_place(Some(Geo::open(&path).unwrap())) && has_place(None));
        assert!(!has_place(Some(Geo::default())), "what was kept is forgotten");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut direct, mut most) = (Direct::default(), 0);
        for n in 0..10_000 {
            let serial = format!("{n:0>400}");
            let around =
                format!(",\"machine\":{{\"serial_number\":\"{serial}\"}},\"request\":{{\"user_agent\":\"{serial}\"}}");
            assert!(short(&mut direct, &line("result", NOW, &around, RECORD)).is_some());
            for texts in [&direct.machines, &direct.requests] {
                assert!(texts.kept <= KEPT_MAX && texts.places.len() == texts.texts.len());
                most = most.max(texts.places.len());
            }
        }
        assert!((7_000..10_000).contains(&most), "{most}: all was forgotten once, and it is about 1 KB each");
        let real =
            |t: &Texts| t.places.keys().map(|k| k.len()).chain(t.texts.iter().flatten().map(Vec::len)).sum::<usize>();
        assert!(real(&direct.machines) <= direct.machines.kept && real(&direct.requests) <= direct.requests.kept);
        let long = format!(",\"machine\":{{\"serial_number\":\"{}\"}}", "x".repeat(TEXT_MAX));
        assert_eq!(short(&mut direct, &line("result", NOW, &long, RECORD)), None);
    }

    proptest! {
        /// Whatever goes the short way becomes what it becomes the long way.
        #[test]
        fn both_ways_give_the_same(
            kind in "result|status|enroll|log:a",
            received in "2026-01-06T08:00:10.000Z|2026-01-06T08:00:10Z|2026-02-29T08:00:10.000Z|2026-01-06T09:00:10.123+01:00",
            machine in r#"(,"machine":(\{\}|\{"serial_number":"(C02|)"(,"tags":\["b","a"\])?(,"rack":[0-9.e]{1,3})?\}|\{"groups":\[\],"hostname":"h\\n"\}|null|\{"unit":1\}))?"#,
            request in r#"(,"request":(\{\}|null|\{"user_agent":"x","ip":"::1"\}|\{"ip":"::1","via":\{"a":1e400\}\}|\[\]))?"#,
            time in r#"("unixTime":("?-?[0-9]{1,12}"?|1\.5|1e3|\[1\]|"x"),)?("calendarTime":"Tue Jan  6 08:00:05 2026 UTC",)?"#,
            shape in r#"("columns":(\{("(username|user|sha256|team_identifier|x)":("(ada|Ada é|\\"|)"|7|null|"0123456789abcdefABCDEF00000000000000000000000000000000000000000000"|\{\}),?){0,4}\}|""|\[\]),)?("snapshot":\[\{"columns":1\}\],)?("diffResults":"",)?("severity":0,)?("line":"1","message":"m",)?"#,
            end in r#""name":"(n|\\u0001|/|\\/)""#,
        ) {
            let shape = shape.replace(",}", "}");
            let line = line(&kind, &received, &format!("{machine}{request}"), &format!("{{{time}{shape}{end}}}"));
            let mut direct = Direct::default();
            // Twice: the second time its texts are known.
            for _ in 0..2 {
                if let Some(event) = short(&mut direct, &line) {
                    prop_assert_eq!(long(&line), [event], "{}", line);
                }
            }
        }
    }
}
