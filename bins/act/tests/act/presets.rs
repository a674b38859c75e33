//! The format of presets: what a preset may say, and what becomes of it.

use std::sync::{Arc, Mutex};

use act::actions::Verdict;
use act::call::Call;
use act::told::{Incident, Phase, Told};
use event::Event;
use serde_json::{Value, json};

use crate::fakes::{Fake, Reply, Request, Service, Trouble};
use crate::hub::{Hub, fresh, new_id};

/// A tracker of tickets that nobody has: 201 with a number, comments and closing by it.
#[derive(Clone, Default)]
struct Tracker(Arc<Mutex<Vec<String>>>);

impl Service for Tracker {
    fn answer(&mut self, request: &Request) -> Reply {
        // login:secretpassword
        if request.header("authorization") != "Basic bG9naW46c2VjcmV0cGFzc3dvcmQ=" {
            return Reply::text(401, "bad login secretpassword");
        }
        if request.header("x-token") != "t tokentoken" {
            return Reply::text(403, "bad token tokentoken");
        }
        self.0.lock().unwrap().push(format!("{}?{:?}", request.line(), request.query));
        match request.line().as_str() {
            "POST /api/a b/é/tickets" => Reply::json(201, json!({"number": 7})),
            "POST /api/tickets/7/comments" => Reply::json(201, json!({"number": 99})),
            "PUT /api/tickets/7" if request.json() == json!({"open": false}) => Reply::json(200, json!({})),
            "GET /api/me" if request.body.is_empty() => Reply::json(200, json!({"me": true})),
            _ => Reply::text(404, "no such thing"),
        }
    }
}

const TRACKER: &str = r#"
basic   = ["{user}", "{password}"]
headers = { X-Token = "t {token}", X-None = "{missing}" }
path    = '["api", .set.project, "é", "tickets"]'
query   = '{key: .key, none: null, labels: (.set.labels | join(",")), n: .set.level}'
body    = '{ticket: {subject: .title, text: "\(.secret.token)"}}'
ok      = '.status == 201'
later   = '.status == 418'
after   = '.body.wait'
ref     = '{id: .body.number, link: "\(.url)/t/\(.body.number)"}'
[keys]
user     = { kind = "text", required = true }
password = { kind = "secret", required = true }
token    = { kind = "secret", required = true }
missing  = { kind = "secret" }
project  = { kind = "text", words = ["a b", "c"] }
labels   = { kind = "list", default = ["x", "y"] }
level    = { kind = "int", default = 3 }
[limits]
"ticket.subject" = 8
[changed]
path = '["api", "tickets", .ref.id, "comments"]'
query = '{}'
[closed]
method = "PUT"
path = '["api", "tickets", .ref.id]'
query = '{}'
body = '{open: false}'
ok = '.status == 200'
[online]
path = '["api", "me"]'
ok = '.status == 200'
"#;

const KEYS: &str = "user = \"login\"\npassword = \"secretpassword\"\ntoken = \"tokentoken\"\nproject = \"a b\"";

/// A hub with this preset as `mine`, in an action `a`.
pub fn hub_of(preset: &str, url: &str, more: &str) -> Hub {
    let hub = Hub::new(&format!("[action.a]\nkind = \"mine\"\nurl = \"{url}\"\n{more}\n"));
    std::fs::create_dir(hub.dir.path().join("actions")).unwrap();
    std::fs::write(hub.dir.path().join("actions/mine.toml"), preset).unwrap();
    hub
}

/// The action `name` of a hub, opened; with what is needed to use it.
pub struct Opened {
    pub action: Arc<dyn act::actions::Action>,
    pub targets: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

impl Opened {
    pub fn new(hub: &Hub, name: &str, dry_run: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let jq = act::jq::Jq::start().unwrap();
        let settings = &hub.config.actions[name];
        let configured = act::conf::Configured::read(settings, &hub.config, &hub.texts());
        let configured = configured.unwrap_or_else(|found| panic!("{}", pipe::config::render(&found)));
        let registry = hub.registry();
        let opening = act::actions::Opening { jq: &jq, registry: &registry, dry_run };
        let ready = configured.open(opening).unwrap();
        Self { action: ready.action, targets: ready.targets, runtime }
    }

    pub fn send(&self, call: &Call) -> act::actions::Answer {
        self.runtime.block_on(self.action.send(call))
    }

    pub fn show(&self, call: &Call) -> Result<Value, String> {
        self.runtime.block_on(self.action.show(call))
    }

    pub fn online(&self) -> Option<Result<(), String>> {
        self.action.online().map(|trying| self.runtime.block_on(trying))
    }
}

/// A delivery about an incident.
pub fn call(line: &str, state: Option<Phase>, reference: Option<Value>) -> Call {
    let incident = state.map(|_| Incident {
        id: "00112233445566778899".into(),
        status: "open".into(),
        opened: "2026-11-21T19:00:00.000Z".into(),
        last: "2026-11-21T19:05:00.000Z".into(),
        count: 3,
        ..Incident::default()
    });
    Call {
        key: "key-1".into(),
        action: "a".into(),
        target: String::new(),
        line: line.into(),
        event: Event::parse(line.as_bytes()).unwrap(),
        url: Some("https://hub.example.com".into()),
        told: Told { state, reference, incident, count: 3, ..Told::plain() },
    }
}

#[test]
fn an_incident_is_opened_commented_and_closed() {
    let tracker = Tracker::default();
    let fake = Fake::start(tracker.clone(), vec![]);
    let opened = Opened::new(&hub_of(TRACKER, &fake.url, KEYS), "a", false);
    assert!(opened.action.keeps_reference());
    let line = fresh(&new_id(), &["a"]);
    let answer = opened.send(&call(&line, Some(Phase::Opened), None));
    let reference = json!({"id": 7, "link": format!("{}/t/7", fake.url)});
    assert_eq!((answer.verdict, answer.reference), (Verdict::Done, Some(reference.clone())), "{}", answer.error);
    for state in [Phase::Changed, Phase::Closed] {
        let answer = opened.send(&call(&line, Some(state), Some(reference.clone())));
        assert_eq!((answer.verdict, answer.reference), (Verdict::Done, None), "{}: {}", state.word(), answer.error);
    }
    let plain = opened.send(&call(&line, None, None));
    assert_eq!((plain.verdict, plain.reference), (Verdict::Done, Some(reference.clone())), "the outcome says which");
    assert_eq!(opened.send(&call(&line, Some(Phase::Closed), None)).verdict, Verdict::Done);
    let unheard = opened.send(&call(&line, Some(Phase::Changed), None));
    assert_eq!(unheard.reference, Some(reference), "the first delivery died: it is opened now");
    let first = "POST /api/a b/é/tickets?{\"key\": \"key-1\", \"labels\": \"x,y\", \"n\": \"3\"}";
    let got = tracker.0.lock().unwrap().clone();
    assert_eq!(got, [first, "POST /api/tickets/7/comments?{}", "PUT /api/tickets/7?{}", first, first]);
    let sent = fake.got();
    assert_eq!(sent[0].json(), json!({"ticket": {"subject": "USB <b>…", "text": "tokentoken"}}));
    assert!(!sent[0].headers.contains_key("x-none") && sent[0].key() == "key-1");
}

#[test]
fn credentials_are_tried_and_nothing_secret_is_said() {
    let fake = Fake::start(Tracker::default(), vec![]);
    let good = Opened::new(&hub_of(TRACKER, &fake.url, KEYS), "a", false);
    assert_eq!(good.online(), Some(Ok(())));
    assert_eq!(fake.got()[0].key(), "", "nobody is told anything");
    for (wrong, said) in [("token", "status 403: bad token tokentoken"), ("password", "status 401: bad login ***")] {
        let keys = match wrong {
            "token" => KEYS.replace("tokentoken", "otherother"),
            _ => KEYS.replace("login", "nobody"),
        };
        let opened = Opened::new(&hub_of(TRACKER, &fake.url, &keys), "a", false);
        assert_eq!(opened.online(), Some(Err(said.to_owned())));
    }
    let line = fresh(&new_id(), &["a"]);
    let shown = good.show(&call(&line, Some(Phase::Opened), None)).unwrap();
    assert_eq!(shown["path"], "/api/a%20b/%C3%A9/tickets");
    assert_eq!(shown["query"], "key=key-1&labels=x%2Cy&n=3");
    assert_eq!(shown["headers"], json!({"x-token": "***", "authorization": "***"}));
    assert_eq!(shown["body"], json!({"ticket": {"subject": "USB <b>…", "text": "***"}}));
    let nothing = good.show(&call(&line, Some(Phase::Closed), None)).unwrap();
    assert!(nothing["nothing"].is_string());
}

#[test]
fn services_ask_for_their_own_pauses() {
    let wait = Reply::json(418, json!({"wait": 2.5})).with("Retry-After", "9");
    let fake = Fake::start(Tracker::default(), vec![Trouble::Say(wait), Trouble::Say(Reply::text(418, "tea"))]);
    let opened = Opened::new(&hub_of(TRACKER, &fake.url, KEYS), "a", false);
    let line = fresh(&new_id(), &["a"]);
    let after = || match opened.send(&call(&line, None, None)).verdict {
        Verdict::Later { after, .. } => after.map(|d| d.as_millis()),
        other => panic!("{other:?}"),
    };
    assert_eq!((after(), after()), (Some(2_500), None));
}

#[test]
fn troubles_are_what_they_are_called() {
    let fake = Fake::start(Tracker::default(), vec![Trouble::Reset, Trouble::Flood, Trouble::Lost]);
    let opened = Opened::new(&hub_of(TRACKER, &fake.url, KEYS), "a", false);
    let line = fresh(&new_id(), &["a"]);
    let answers: Vec<_> = (0..4).map(|_| opened.send(&call(&line, None, None))).collect();
    assert!(answers[0].error.contains("reset"), "{:?}", answers[0]);
    assert!(answers[1].error.starts_with("status 503: xxx") && answers[1].error.len() < 300, "{:?}", answers[1]);
    assert!(matches!(answers[2].verdict, Verdict::Later { unsure: true, .. }), "{:?}", answers[2]);
    assert_eq!(answers[3].verdict, Verdict::Done);
    assert_eq!((fake.got().len(), fake.answered().len()), (4, 2));
}

#[test]
fn forms_and_people() {
    struct Push;
    impl Service for Push {
        fn answer(&mut self, request: &Request) -> Reply {
            assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
            Reply::text(200, "")
        }
    }
    let preset = "to = \"push\"\nform = true\nbody = '{user: .target, message: .title, n: 1}'\n";
    let contacts = "[contact.ada]\npush = \"ada-key-ada-key\"\ngroups = [\"g\"]\n[contact.bob]\npush = \"bob-key-bob-key\"\n\
                    groups = [\"g\"]\n[contact.eve]\ngroups = [\"g\"]\n";
    let fake = Fake::start(Push, vec![]);
    let hub = hub_of(preset, &fake.url, &format!("to = [\"group:g\", \"ada\"]\n{contacts}"));
    let id = new_id();
    hub.feed(&[fresh(&id, &["a"])]);
    hub.run();
    let mut got: Vec<_> = fake.got().iter().map(|request| request.form().unwrap()).collect();
    got.sort();
    assert_eq!(got.len(), 2, "one each, nobody twice");
    assert_eq!(got[0]["user"], "ada-key-ada-key");
    assert_eq!((&got[1]["message"], &got[1]["n"]), (&format!("USB <b> & *{id}*"), &"1".to_owned()));
    let lines = hub.lines().join("\n");
    assert!(lines.contains("\"target\":\"ada\"") && !lines.contains("-key"), "{lines}");
    for (to, why) in [
        ("[\"group:h\"]", "no contact is in the group `h`"),
        ("[\"eve\"]", "`eve` has no `push`"),
        ("[\"mallory\"]", "there is no contact `mallory`"),
    ] {
        let hub = hub_of(preset, &fake.url, &format!("to = {to}\n{contacts}"));
        let found = pipe::config::render(&act::conf::check(&hub.config, &hub.texts(), true));
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn keys_are_checked() {
    let check = |preset: &str, more: &str| {
        let hub = hub_of(preset, "https://x.example.com", more);
        pipe::config::render(&act::conf::check(&hub.config, &hub.texts(), true))
    };
    assert_eq!(check(TRACKER, KEYS), "");
    for (from, to, why) in [
        ("user = \"login\"\n", "", "needs the key `user`"),
        ("\"a b\"", "\"d\"", "`d` is none of a b, c"),
        ("project", "projekt", "did you mean `project`?"),
        ("\"login\"", "1", "expected a string"),
        ("\"tokentoken\"", "{ env = \"ZENTRAL_TEST_NOT_SET\" }", "ZENTRAL_TEST_NOT_SET is not set"),
    ] {
        let found = check(TRACKER, &KEYS.replace(from, to));
        assert!(found.contains(why), "{found}");
    }
    let either = "[keys]\ntopic = { kind = \"secret\", or = \"other\" }\nother = { kind = \"text\" }\n";
    assert!(check(either, "").contains("needs the key `topic` or `other`"));
    assert_eq!(check(either, "other = \"x\""), "");
    assert_eq!(check("rate = \"2/s\"", ""), "");
}

/// What goes before the request that counts: asked, left out, and made again with it.
#[test]
fn requests_before_the_one_that_counts() {
    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<Value>>>);
    impl Service for Shelf {
        fn answer(&mut self, request: &Request) -> Reply {
            let mut things = self.0.lock().unwrap();
            match request.line().as_str() {
                "GET /things" => Reply::json(200, json!({"things": *things})),
                "POST /things" => {
                    things.push(request.json());
                    Reply::json(201, json!({"name": request.json()["name"]}))
                }
                "PUT /lid" => Reply::text(503, "busy").with("X-Wait", "4"),
                _ => Reply::text(404, ""),
            }
        }
    }
    let preset = r#"
defs = 'def name: "thing \(.key)";'
path = '["things"]'
body = '{name: name, others: (.before[1].body.things | length), left: .before[0]}'
ref  = '{id: .body.name}'
after = '.headers["x-wait"] | tonumber'
[[before]]
when = '.before != []'
path = '["nowhere"]'
[[before]]
path = '["things"]'
ref  = 'name as $name | [.body.things[] | select(.name == $name)][0] | if . then {id: .name, link: .name} else null end'
[closed]
path = '["things"]'
[[closed.before]]
method = "PUT"
path   = '["lid"]'
"#;
    let shelf = Shelf::default();
    let fake = Fake::start(shelf.clone(), vec![]);
    let opened = Opened::new(&hub_of(preset, &fake.url, ""), "a", false);
    let line = fresh(&new_id(), &["a"]);
    let first = opened.send(&call(&line, Some(Phase::Opened), None));
    assert_eq!(first.reference, Some(json!({"id": "thing key-1"})), "{}", first.error);
    let again = opened.send(&call(&line, Some(Phase::Opened), None));
    assert_eq!(again.reference, Some(json!({"id": "thing key-1", "link": "thing key-1"})), "{}", again.error);
    assert_eq!(*shelf.0.lock().unwrap(), [json!({"name": "thing key-1", "others": 0, "left": null})]);
    let lines: Vec<String> = fake.got().iter().map(Request::line).collect();
    assert_eq!(lines, ["GET /things", "POST /things", "GET /things"]);
    assert_eq!(fake.got()[0].key(), "", "the key is that of the request that counts");
    let closed = opened.send(&call(&line, Some(Phase::Closed), again.reference));
    let wait = Verdict::Later { after: Some(std::time::Duration::from_secs(4)), unsure: false };
    assert_eq!((closed.verdict, fake.got().len()), (wait, 4), "what fails ends the try");
    fake.trouble(vec![Trouble::Reset, Trouble::Pass, Trouble::Reset]);
    let unsure = || {
        let mut other = call(&line, Some(Phase::Opened), None);
        other.key = "key-2".into();
        matches!(opened.send(&other).verdict, Verdict::Later { unsure: true, .. })
    };
    assert_eq!([unsure(), unsure()], [false, true], "a question may be asked again");
    let shown = opened.show(&call(&line, Some(Phase::Opened), None)).unwrap();
    assert_eq!(shown["before"][1], json!({"method": "GET", "path": "/things", "query": null, "body": null}));
}
