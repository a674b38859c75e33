//! The table: each preset with its server, its least configuration and what a good request is.

use serde_json::Value;

use crate::fakes::{Reply, Request, Service, google_chat, ntfy, pagerduty, pushover, slack, teams, twilio};

/// One preset.
pub struct Row {
    pub name: &'static str,
    pub service: fn() -> Box<dyn Service>,
    /// What stands in the action's table; `{url}` is the server's address.
    pub keys: String,
    /// What a good request is.
    pub good: fn(&Request) -> bool,
    /// The words for people in a request.
    pub text: fn(&Request) -> String,
    /// What the service made of the n-th request: the same words for the same thing.
    pub made: fn(usize, &Request, &Reply) -> String,
    /// Whether a delivery that comes again makes nothing new.
    pub once: bool,
    /// The service is busy; it asks for a pause of about 7 s.
    pub busy: fn() -> Reply,
    /// The service says no.
    pub refused: fn() -> Reply,
    /// The links and mentions in what people see, and whatever else would do something.
    pub active: fn(&Request) -> Vec<String>,
    /// What nobody may say.
    pub secrets: &'static [&'static str],
}

impl Row {
    /// `[action.a]` and the contacts.
    pub fn action(&self, url: &str, more: &str) -> String {
        let keys = self.keys.replace("{url}", url);
        let (kind, contacts) = (self.name, "[contact.ada]\npush = \"uQiRzpo4DXghDmr9QzzfQu27cmVRsG\"\n");
        format!("[action.a]\nkind = \"{kind}\"\n{keys}\n{more}\n{contacts}")
    }
}

fn counted(n: usize, _: &Request, _: &Reply) -> String {
    n.to_string()
}

fn busy() -> Reply {
    Reply::text(429, "slow down").with("Retry-After", "7")
}

fn at(request: &Request, pointer: &str) -> String {
    request.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Keys of the body that are none of these.
fn others(body: &Value, known: &[&str]) -> Vec<String> {
    let keys = body.as_object().into_iter().flat_map(|all| all.keys());
    keys.filter(|key| !known.contains(&key.as_str())).map(|key| format!("key {key}")).collect()
}

fn of_slack(request: &Request) -> Vec<String> {
    let body = request.json();
    let mut all = slack::active(body["text"].as_str().unwrap_or_default());
    let keys =
        ["text", "parse", "link_names", "unfurl_links", "unfurl_media", "channel", "thread_ts", "reply_broadcast"];
    all.extend(others(&body, &keys));
    // Anything else turns bare addresses and names into links, or fetches them.
    if body["parse"] != "none"
        || body["link_names"] != false
        || body["unfurl_links"] != false
        || body["unfurl_media"] != false
    {
        all.push("markup".to_owned());
    }
    all
}

fn of_pagerduty(request: &Request) -> Vec<String> {
    let body = request.json();
    let known = ["routing_key", "dedup_key", "event_action", "client", "client_url", "payload", "links"];
    let links = body["links"].as_array().cloned().unwrap_or_default();
    let url = body["client_url"].as_str().map(|url| format!("{url}/"));
    let hrefs = links.iter().map(|link| link["href"].as_str().unwrap_or("none").to_owned());
    hrefs.chain(url).chain(others(&body, &known)).collect()
}

/// Takes JSON from whoever knows the word, and says 202: what the bare `http` is used for.
struct Collector;

const WORD: &str = "Splunk collector-word-0123";

impl Service for Collector {
    fn answer(&mut self, request: &Request) -> Reply {
        match () {
            () if request.header("authorization") != WORD => Reply::text(401, "who are you?"),
            () if request.line() != "POST /in" => Reply::text(404, ""),
            () if !request.json().is_object() => Reply::text(400, "no JSON"),
            () => Reply::text(202, ""),
        }
    }
}

/// All of them.
pub fn rows() -> Vec<Row> {
    let plain = Row {
        name: "",
        service: || Box::<slack::Slack>::default(),
        keys: String::new(),
        good: |_| false,
        text: |_| String::new(),
        made: counted,
        once: false,
        busy,
        refused: || Reply::text(400, "invalid"),
        active: |_| Vec::new(),
        secrets: &[],
    };
    vec![
        Row {
            name: "slack",
            keys: format!("url = \"{{url}}{}\"", slack::HOOK),
            good: |r| r.raw_path == slack::HOOK && r.header("content-type") == "application/json",
            text: |r| at(r, "/text"),
            refused: || Reply::text(404, "no_service"),
            active: of_slack,
            secrets: &[slack::HOOK, "XXXXXXXXXXXXXXXXXXXXXXXX"],
            ..plain
        },
        Row {
            name: "slack-bot",
            keys: format!("url = \"{{url}}\"\ntoken = \"{}\"\nchannel = \"{}\"", slack::TOKEN, slack::CHANNEL),
            good: |r| r.line() == "POST /api/chat.postMessage" && r.header("authorization").ends_with(slack::TOKEN),
            text: |r| at(r, "/text"),
            refused: || Reply::json(200, serde_json::json!({"ok": false, "error": "channel_not_found"})),
            active: of_slack,
            secrets: &[slack::TOKEN],
            ..plain
        },
        Row {
            name: "teams",
            service: || Box::<teams::Teams>::default(),
            keys: format!("url = \"{{url}}{}\"", teams::HOOK),
            good: |r| r.query["sig"] == "sigsigsigsigsigsig",
            text: |r| teams::texts(&r.json()).1.join("\n"),
            active: |r| {
                let card = r.json()["attachments"][0]["content"].clone();
                let opened = card["actions"].as_array().cloned().unwrap_or_default();
                let urls = opened.iter().map(|action| action["url"].as_str().unwrap_or("none").to_owned());
                let odd = others(&card, &["type", "version", "$schema", "body", "actions"]);
                urls.chain(teams::texts(&r.json()).0).chain(odd).collect()
            },
            secrets: &["sigsigsigsigsigsig", "0123456789abcdef"],
            ..plain
        },
        Row {
            name: "google-chat",
            service: || Box::<google_chat::GoogleChat>::default(),
            keys: format!("url = \"{{url}}{}\"", google_chat::HOOK),
            good: |r| r.query["requestId"] == r.key() && r.query["token"] == "tokentokentokentoken",
            text: |r| at(r, "/text"),
            made: |_, _, reply| reply.value()["name"].to_string(),
            once: true,
            active: |r| {
                let text = at(r, "/text");
                let marks = ["<", ">", "]("].into_iter().filter(|mark| text.contains(mark));
                marks.map(str::to_owned).chain(others(&r.json(), &["text", "thread"])).collect()
            },
            secrets: &["keykeykeykeykeykey", "tokentokentokentoken"],
            ..plain
        },
        Row {
            name: "ntfy",
            service: || Box::<ntfy::Ntfy>::default(),
            keys: format!("url = \"{{url}}\"\ntoken = \"{}\"\ntopic = \"topic-that-nobody-knows\"", ntfy::TOKEN),
            good: |r| {
                r.line() == "POST /" && r.json()["topic"] == "topic-that-nobody-knows" && r.json()["priority"] == 4
            },
            text: |r| at(r, "/title"),
            active: |r| {
                let body = r.json();
                let click = body["click"].as_str().map(str::to_owned);
                let known = ["topic", "title", "message", "priority", "click"];
                click.into_iter().chain(others(&body, &known)).collect()
            },
            secrets: &[ntfy::TOKEN, "topic-that-nobody-knows"],
            ..plain
        },
        Row {
            name: "pushover",
            service: || Box::<pushover::Pushover>::default(),
            keys: format!("url = \"{{url}}\"\ntoken = \"{}\"\nto = [\"ada\"]", pushover::TOKEN),
            good: |r| r.form().is_some_and(|form| form["user"] == pushover::USERS[0] && form["priority"] == "0"),
            text: |r| r.form().unwrap()["title"].clone(),
            busy: || {
                let reset = event::Time::now().ms() / 1000 + 8;
                Reply::json(429, serde_json::json!({"status": 0})).with("X-Limit-App-Reset", &reset.to_string())
            },
            refused: || Reply::json(400, serde_json::json!({"status": 0, "errors": ["user identifier is invalid"]})),
            active: |r| {
                let form = serde_json::to_value(r.form()).unwrap();
                let url = form["url"].as_str().map(str::to_owned);
                let known = ["token", "user", "title", "message", "priority", "url", "url_title"];
                url.into_iter().chain(others(&form, &known)).collect()
            },
            secrets: &[pushover::TOKEN, "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"],
            ..plain
        },
        Row {
            name: "pagerduty",
            service: || Box::<pagerduty::PagerDuty>::default(),
            keys: format!("url = \"{{url}}\"\nrouting_key = \"{}\"", pagerduty::KEY),
            good: |r| r.json()["event_action"] == "trigger" && r.json()["payload"]["severity"] == "error",
            text: |r| at(r, "/payload/summary"),
            made: |_, _, reply| reply.value()["dedup_key"].to_string(),
            once: true,
            active: of_pagerduty,
            secrets: &[pagerduty::KEY],
            ..plain
        },
        Row {
            name: "pagerduty-change",
            service: || Box::<pagerduty::PagerDuty>::default(),
            keys: format!("url = \"{{url}}\"\nrouting_key = \"{}\"", pagerduty::KEY),
            good: |r| r.line() == "POST /v2/change/enqueue" && r.json()["payload"]["source"] == "ada-mbp",
            text: |r| at(r, "/payload/summary"),
            active: of_pagerduty,
            secrets: &[pagerduty::KEY],
            ..plain
        },
        Row {
            name: "http",
            service: || Box::new(Collector),
            keys: format!(
                "url = \"{{url}}/in\"\nheaders = {{ Authorization = \"{WORD}\" }}\nbody = '{{title, text, probe: .probe.name}}'\nok = '.status == 202'"
            ),
            good: |r| r.line() == "POST /in" && r.json()["probe"] == "usb",
            text: |r| at(r, "/title"),
            active: |r| others(&r.json(), &["title", "text", "probe"]),
            secrets: &["collector-word-0123"],
            ..plain
        },
        Row {
            name: "twilio",
            service: || Box::<twilio::Twilio>::default(),
            keys: format!(
                "url = \"{{url}}\"\nlogin = {{ account = \"{}\", token = \"{}\" }}\nfrom = \"{}\"\nto = [\"+491700000000\"]",
                twilio::ACCOUNT,
                twilio::TOKEN,
                twilio::FROM
            ),
            good: |r| {
                r.header("authorization") == twilio::LOGIN && r.form().is_some_and(|f| f["To"] == "+491700000000")
            },
            text: |r| r.form().unwrap()["Body"].clone(),
            refused: || Reply::json(400, serde_json::json!({"code": 21211, "message": "no such number"})),
            active: |r| others(&serde_json::to_value(r.form()).unwrap(), &["To", "From", "Body"]),
            secrets: &[twilio::TOKEN, twilio::LOGIN],
            ..plain
        },
    ]
}
