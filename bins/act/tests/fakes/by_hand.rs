//! Each service as somebody runs it by hand, with the table of an action that reaches it.

use super::smtp::{Rules, Smtp, Tls};
use super::{
    Fake, Service, freshdesk, github, google_chat, jamf, jira, ntfy, pagerduty, pushover, servicenow, slack, teams,
    trello, twilio, zendesk,
};

/// A service that runs.
pub struct Started {
    pub url: String,
    /// `[action.NAME]` for it.
    pub toml: String,
}

/// Those that speak HTTP: the name, the service, and what its table says beside `kind`; `{url}` is the address.
fn all() -> Vec<(&'static str, Box<dyn Service>, String)> {
    let at = |more: String| format!("url = \"{{url}}\"\n{more}");
    let hook = |path: &str| format!("url = \"{{url}}{path}\"\n");
    let tracked = |token: &str| format!("token = \"{token}\"\nproject = \"{}\"\n", jira::PROJECT);
    let login = format!("user = \"{}\"\npassword = \"{}\"\n", servicenow::USER, servicenow::PASSWORD);
    let routed = format!("routing_key = \"{}\"\n", pagerduty::KEY);
    vec![
        ("freshdesk", Box::new(freshdesk::Freshdesk::default()), {
            at(format!("email = \"hub@example.com\"\ntoken = \"{}\"\n", freshdesk::TOKEN))
        }),
        ("github", Box::new(github::GitHub::default()), {
            let (owner, repo, token) = (github::OWNER, github::REPO, github::TOKEN);
            at(format!("owner = \"{owner}\"\nrepo = \"{repo}\"\ntoken = \"{token}\"\n"))
        }),
        ("google-chat", Box::new(google_chat::GoogleChat::default()), hook(google_chat::HOOK)),
        ("jamf", Box::new(jamf::Jamf::new(3)), {
            let (id, secret) = (jamf::ID, jamf::SECRET);
            let group = "group = \"Quarantine & Co\"\nmax = \"20/h\"\n";
            at(format!("client = {{ id = \"{id}\", secret = \"{secret}\" }}\n{group}"))
        }),
        ("jira", Box::new(jira::Jira::cloud()), {
            at(format!("email = \"{}\"\n{}", jira::EMAIL, tracked(jira::TOKEN)))
        }),
        ("jira-data-center", Box::new(jira::Jira::data_center()), at(tracked(jira::TOKEN))),
        ("ntfy", Box::new(ntfy::Ntfy), at(format!("token = \"{}\"\ntopic = \"zentral\"\n", ntfy::TOKEN))),
        ("pagerduty", Box::new(pagerduty::PagerDuty::default()), at(routed.clone())),
        ("pagerduty-change", Box::new(pagerduty::PagerDuty::default()), at(routed)),
        ("pushover", Box::new(pushover::Pushover), {
            at(format!("token = \"{}\"\nuser = \"{}\"\n", pushover::TOKEN, pushover::USERS[0]))
        }),
        ("servicenow", Box::new(servicenow::ServiceNow::default()), at(login.clone())),
        ("servicenow-change", Box::new(servicenow::ServiceNow::default()), at(login)),
        ("slack", Box::new(slack::Slack::default()), hook(slack::HOOK)),
        ("slack-bot", Box::new(slack::Slack::default()), {
            at(format!("token = \"{}\"\nchannel = \"{}\"\n", slack::TOKEN, slack::CHANNEL))
        }),
        ("teams", Box::new(teams::Teams), hook(teams::HOOK)),
        ("trello", Box::new(trello::Trello::default()), {
            let (key, token, list) = (trello::KEY, trello::TOKEN, trello::LIST);
            at(format!("key = \"{key}\"\ntoken = \"{token}\"\nlist = \"{list}\"\n"))
        }),
        ("twilio", Box::new(twilio::Twilio::default()), {
            let (account, token, from) = (twilio::ACCOUNT, twilio::TOKEN, twilio::FROM);
            let login = format!("login = {{ account = \"{account}\", token = \"{token}\" }}");
            at(format!("{login}\nfrom = \"{from}\"\nto = [\"+491700000000\"]\n"))
        }),
        ("zendesk", Box::new(zendesk::Zendesk::default()), {
            at(format!("email = \"{}\"\ntoken = \"{}\"\n", zendesk::EMAIL, zendesk::TOKEN))
        }),
    ]
}

/// User and password of the mail server.
const LOGIN: (&str, &str) = ("hub", "smtp-password");

/// The kinds of action that have one, by name.
pub fn names() -> Vec<&'static str> {
    let mut all: Vec<&str> = all().into_iter().map(|(name, _, _)| name).chain(["email"]).collect();
    all.sort_unstable();
    all
}

/// Runs one on this port (0: a free one); each request is said on stderr. None: there is none of this name.
pub fn start(name: &str, port: u16) -> std::io::Result<Option<Started>> {
    let listen = format!("127.0.0.1:{port}");
    if name == "email" {
        return mail(&listen).map(Some);
    }
    let Some((_, service, keys)) = all().into_iter().find(|(known, _, _)| *known == name) else { return Ok(None) };
    let url = Fake::serve(&listen, service, vec![], true)?.url;
    let toml = format!("[action.{name}]\nkind = \"{name}\"\n{}", keys.replace("{url}", &url));
    Ok(Some(Started { url, toml }))
}

/// It begins TLS with a certificate of its own, which lies beside the temporary files.
fn mail(listen: &str) -> std::io::Result<Started> {
    let rules = Rules { tls: Tls::Start, login: Some(LOGIN), ..Rules::default() };
    let Smtp { url, ca, .. } = Smtp::serve(listen, rules, vec![], true)?;
    let (_, port) = url.rsplit_once(':').unwrap_or_default();
    let file = std::env::temp_dir().join(format!("zentral-fake-smtp-{port}.pem"));
    std::fs::write(&file, ca)?;
    let (user, password) = LOGIN;
    let smtp = format!("{{ url = \"{url}\", user = \"{user}\", password = \"{password}\", ca = {file:?} }}");
    let toml = format!(
        "[action.email]\nkind = \"email\"\nsmtp = {smtp}\nfrom = \"hub@example.com\"\nto = [\"ada@example.com\"]\n"
    );
    Ok(Started { url, toml })
}
