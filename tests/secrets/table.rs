//! Every kind of action that has secrets, with a server that takes them. A secret stands between `<<` and `>>`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fakes::smtp::{Rules, Smtp, Tls};
use crate::fakes::{Fake, Reply, Request, Service};
use crate::fakes::{freshdesk, github, google_chat, jamf, jira, ntfy, pagerduty, pushover, servicenow, slack};
use crate::fakes::{teams, trello, twilio, zendesk};

/// Kinds that have none.
pub const WITHOUT: [&str; 5] = ["file", "munki", "osquery", "santa", "tag"];

/// One action.
pub struct Row {
    pub kind: &'static str,
    /// What stands in its table; `{url}` is the server's address.
    pub keys: String,
    /// A server that does as it is asked.
    pub good: String,
    /// Users who log in: `user:{}`, with the secret in place of `{}`.
    pub login: &'static str,
}

/// Says no, and repeats all that it heard: the second time for good.
#[derive(Default)]
pub struct Parrot {
    heard: usize,
}

impl Service for Parrot {
    fn answer(&mut self, request: &Request) -> Reply {
        self.heard += 1;
        let form = request.form().map(|form| format!("{form:?}")).unwrap_or_default();
        let said = format!(
            "{} {} {:?} {:?} {} {form}",
            request.line(),
            request.raw_path,
            request.query,
            request.headers,
            String::from_utf8_lossy(&request.body)
        );
        let body =
            serde_json::json!({"ok": false, "message": said, "error": said, "errors": [said], "errorMessages": [said]});
        Reply::json(if self.heard == 1 { 500 } else { 403 }, body).with("X-Said", "no")
    }
}

/// Takes everything.
struct Taker;

impl Service for Taker {
    fn answer(&mut self, _: &Request) -> Reply {
        Reply::text(200, "ok")
    }
}

const MAILS: Rules = Rules { tls: Tls::None, login: Some(("hub", "mail-password-of-hub")), unknown: None };

/// All of them.
pub fn rows() -> Vec<Row> {
    fn row(kind: &'static str, service: impl Service + 'static, keys: impl Into<String>) -> Row {
        Row {
            kind,
            good: Fake::start(service, vec![]).url,
            keys: format!("url = \"{{url}}\"\n{}", keys.into()),
            login: "",
        }
    }
    fn hook(kind: &'static str, service: impl Service + 'static, path: &str) -> Row {
        Row { keys: format!("url = <<{{url}}{path}>>\n"), ..row(kind, service, "") }
    }
    let token = |token: &str| format!("token = <<{token}>>\n");
    let jamf_client = format!("client = {{ id = \"{}\", secret = <<{}>> }}\nmax = \"20/h\"\n", jamf::ID, jamf::SECRET);
    vec![
        hook("slack", slack::Slack::default(), slack::HOOK),
        row("slack-bot", slack::Slack::default(), token(slack::TOKEN) + &format!("channel = \"{}\"\n", slack::CHANNEL)),
        hook("teams", teams::Teams, teams::HOOK),
        hook("google-chat", google_chat::GoogleChat::default(), google_chat::HOOK),
        row("ntfy", ntfy::Ntfy, token(ntfy::TOKEN) + "topic = <<topic-that-nobody-knows>>\n"),
        Row {
            login: "hub:{}",
            ..row(
                "ntfy",
                Taker,
                "user = \"hub\"\npassword = <<ntfy-password-of-hub>>\ntopic = <<another-topic-that-nobody-knows>>\n",
            )
        },
        row("pushover", pushover::Pushover, token(pushover::TOKEN) + "to = [\"ada\"]\n"),
        row("pushover", pushover::Pushover, token(pushover::TOKEN) + &format!("user = <<{}>>\n", pushover::USERS[1])),
        row("pagerduty", pagerduty::PagerDuty::default(), format!("routing_key = <<{}>>\n", pagerduty::KEY)),
        row("pagerduty-change", pagerduty::PagerDuty::default(), format!("routing_key = <<{}>>\n", pagerduty::KEY)),
        Row {
            login: "AC0123456789abcdef0123456789abcdef:{}",
            ..row(
                "twilio",
                twilio::Twilio::default(),
                format!(
                    "login = {{ account = \"{}\", token = <<{}>> }}\nfrom = \"{}\"\nto = [\"+491700000000\"]\n",
                    twilio::ACCOUNT,
                    twilio::TOKEN,
                    twilio::FROM
                ),
            )
        },
        Row {
            login: "agent@example.com/token:{}",
            ..row("zendesk", zendesk::Zendesk::default(), mail(zendesk::EMAIL) + &token(zendesk::TOKEN))
        },
        Row {
            login: "{}:X",
            ..row("freshdesk", freshdesk::Freshdesk::default(), mail("hub@example.com") + &token(freshdesk::TOKEN))
        },
        Row {
            login: "agent@example.com:{}",
            ..row("jira", jira::Jira::cloud(), mail(jira::EMAIL) + &token(jira::TOKEN) + "project = \"SEC\"\n")
        },
        row("jira-data-center", jira::Jira::data_center(), token(jira::TOKEN) + "project = \"SEC\"\n"),
        service_now("servicenow"),
        service_now("servicenow-change"),
        row(
            "github",
            github::GitHub::default(),
            token(github::TOKEN) + &format!("owner = \"{}\"\nrepo = \"{}\"\n", github::OWNER, github::REPO),
        ),
        row(
            "trello",
            trello::Trello::default(),
            token(trello::TOKEN) + &format!("key = <<{}>>\nlist = \"{}\"\n", trello::KEY, trello::LIST),
        ),
        row("jamf", jamf::Jamf::new(3), jamf_client.clone() + "group = \"Quarantine & Co\"\n"),
        row(
            "jamf",
            jamf::Jamf::new(3),
            jamf_client + "command = \"DEVICE_LOCK\"\nconfirm = \"DEVICE_LOCK\"\npin = <<493817>>\n",
        ),
        Row {
            keys: "url = <<{url}/in/path-that-nobody-knows?key=key-that-nobody-knows>>\n\
                   headers = { X-Token = <<header-that-nobody-knows>> }\n\
                   basic = { user = <<user-that-nobody-knows>>, password = <<password-that-nobody-knows>> }\n\
                   hmac = { header = \"X-Signature\", secret = <<hmac-that-nobody-knows>> }\n"
                .to_owned(),
            login: "user-that-nobody-knows:{}",
            ..row("http", Taker, "")
        },
        Row {
            kind: "email",
            keys: "smtp = { url = \"{url}\", user = \"hub\", password = <<mail-password-of-hub>>, plain = true }\n\
                   from = \"hub@example.com\"\nto = [\"ada@example.com\"]\n"
                .to_owned(),
            good: Smtp::start(MAILS, vec![]).url,
            login: "\0hub\0{}",
        },
    ]
}

/// A mail server that lets nobody in.
pub fn bad_mail() -> String {
    Smtp::start(Rules { login: Some(("hub", "another-word")), ..MAILS }, vec![]).url
}

fn service_now(kind: &'static str) -> Row {
    let keys = format!("url = \"{{url}}\"\nuser = \"{}\"\npassword = <<{}>>\n", servicenow::USER, servicenow::PASSWORD);
    Row { kind, keys, good: Fake::start(servicenow::ServiceNow::default(), vec![]).url, login: "hub:{}" }
}

fn mail(address: &str) -> String {
    format!("email = \"{address}\"\n")
}

/// The ways in which this secret may be said.
pub fn forms(secret: &str, login: &str) -> Vec<String> {
    let mut all = vec![secret.to_owned()];
    // Of a URL what comes after the host, and each part of that which nobody could guess.
    if let Some((_, path)) = secret.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
        all = vec![path.to_owned()];
        let public = ["workflows", "triggers", "2016-06-01", "AAAAsecops", "api-version", "requestId"];
        let parts = path.split(['/', '?', '&', '=']).filter(|part| part.len() >= 16 && !public.contains(part));
        all.extend(parts.map(str::to_owned));
        return all;
    }
    let escaped = |keep: &[u8]| -> String {
        let byte = |b: u8| match b.is_ascii_alphanumeric() || keep.contains(&b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        };
        secret.bytes().map(byte).collect()
    };
    all.extend([escaped(b"-_.~"), escaped(b"-_.*").replace("%20", "+"), STANDARD.encode(secret)]);
    if !login.is_empty() {
        all.push(STANDARD.encode(login.replace("{}", secret)));
    }
    all.sort();
    all.dedup();
    all
}
