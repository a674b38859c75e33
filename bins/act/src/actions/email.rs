//! Mail over SMTP: one mail to each address, so that nobody sees who else was told.
//!
//! TLS always: `smtps://` from the first byte (465), `smtp://` with STARTTLS, which must succeed (587). Plain text goes
//! only to this machine, and only if asked for. 4yz is later, 5yz is never (RFC 5321, § 4.2.1).

mod draft;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Address;
use lettre::message::{Mailbox, Message};
use pipe::config::{Secret, Settings};
use reqwest::Url;

use self::draft::Draft;
use self::wire::{Trouble, Wire};
use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec, Trying};
use crate::call::{Call, one_line};
use remote::hidden::Hidden;

/// The kind.
pub const KIND: Kind =
    Kind { name: "email", repeatable: true, timeout: Duration::from_secs(60), changes_machines: false, read };

/// Stands for the domain of a sender that has none (RFC 2919, § 2).
const NO_DOMAIN: &str = "localhost";

struct Email {
    server: Server,
    from: Mailbox,
    to: Vec<String>,
}

#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    security: Security,
    login: Option<(String, Secret)>,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    Tls,
    StartTls,
    Plain,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if !settings.has("smtp") {
        settings.fail("", "needs the key `smtp`");
    }
    let server = settings.table("smtp").and_then(|mut table| {
        let server = Server::read(&mut table);
        settings.absorb(table);
        server
    });
    let from = settings.required_str("from").and_then(|text| match text.parse::<Mailbox>() {
        Ok(from) => Some(from),
        Err(_) => {
            settings.fail("from", format!("`{text}` is no mail address"));
            None
        }
    });
    let people = reading.config.people(settings, &pipe::config::EMAIL);
    let to: Vec<String> = people.into_iter().map(|person| person.at).collect();
    if let Some(odd) = to.iter().find(|a| a.parse::<Address>().is_err()) {
        settings.fail("to", format!("`{odd}` is no mail address"));
    }
    Some(Box::new(Email { server: server?, from: from?, to }))
}

impl Server {
    fn read(table: &mut Settings) -> Option<Self> {
        let url = table.required_str("url");
        let (user, password) = (table.str("user"), table.secret("password"));
        let (ca, plain) = (table.path("ca"), table.bool("plain").unwrap_or(false));
        if user.is_some() != password.is_some() {
            table.fail("", "`user` and `password` go together");
        }
        let parsed = url.and_then(|text| match parse_url(&text) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                table.fail("url", why);
                None
            }
        });
        let (host, port, mut security) = parsed?;
        if plain {
            if security == Security::Tls || !is_loopback(&host) {
                table.fail("plain", "plain text goes to this machine only (smtp://127.0.0.1, smtp://localhost)");
            }
            security = Security::Plain;
        }
        Some(Self { host, port, security, login: user.zip(password), ca })
    }
}

fn parse_url(text: &str) -> Result<(String, u16, Security), String> {
    let bad = || format!("`{text}` is neither smtps://HOST[:PORT] nor smtp://HOST[:PORT]");
    let url = Url::parse(text).map_err(|_| bad())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a login: use `user` and `password`".into());
    }
    let (security, port) = match url.scheme() {
        "smtps" => (Security::Tls, 465),
        "smtp" => (Security::StartTls, 587),
        _ => return Err(bad()),
    };
    let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(bad)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(bad());
    }
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(port), security))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Spec for Email {
    fn targets(&self) -> Vec<String> {
        self.to.clone()
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let server = &self.server;
        let mut hidden = Hidden::default();
        let login = match &server.login {
            Some((user, password)) => Some((user.clone(), opening.secret(password, STAND_IN)?)),
            None => None,
        };
        if let Some((user, password)) = &login {
            // In every form in which it is said to the server, which might repeat it.
            for said in [password.clone(), STANDARD.encode(password), STANDARD.encode(format!("\0{user}\0{password}"))]
            {
                hidden.add(&said);
            }
        }
        let scheme = if server.security == Security::Tls { "smtps" } else { "smtp" };
        Ok(Arc::new(Live {
            wire: Wire::new(server, login)?,
            hidden,
            server: format!("{scheme}://{}:{}", server.host, server.port),
            domain: domain(&self.from),
            from: self.from.clone(),
        }))
    }
}

struct Live {
    wire: Wire,
    hidden: Hidden,
    server: String,
    /// The sender's, in ASCII.
    domain: String,
    from: Mailbox,
}

/// Of an address the domain, in the form that headers take.
fn domain(of: &Mailbox) -> String {
    let url = Url::parse(&format!("http://{}/", of.email.domain())).ok();
    let host = url.as_ref().and_then(Url::domain).filter(|host| host.is_ascii());
    host.unwrap_or(NO_DOMAIN).to_owned()
}

impl Live {
    fn draft(&self, call: &Call) -> Draft {
        Draft::of(call, &self.domain)
    }

    fn message(&self, call: &Call) -> Result<Message, String> {
        let to: Address = call.target.parse().map_err(|_| format!("`{}` is no mail address", call.target))?;
        self.draft(call).message(&self.from, Mailbox::new(None, to))
    }

    /// The words of an error and its causes.
    fn plain(&self, error: &lettre::transport::smtp::Error) -> String {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text.push_str(&format!(": {inner_text}"));
            }
            cause = inner.source();
        }
        one_line(&self.hidden.cut(text), 200)
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let message = match self.message(call) {
                Ok(message) => message,
                Err(why) => return Answer::never(None, why),
            };
            let error = match self.wire.send(message.envelope(), &message.formatted()).await {
                Ok(()) => return Answer::done(Some(250)),
                Err(Trouble::Unreached(why)) => return Answer::later(None, why),
                Err(Trouble::Smtp(error)) => error,
            };
            let status = error.status().map(|code| i64::from(u16::from(code)));
            let text = self.plain(&error);
            if error.is_permanent() {
                Answer::never(status, text)
            } else if error.is_transient() {
                Answer::later(status, text)
            } else if error.is_client() {
                // The server cannot do what is asked of it (no STARTTLS, no common login): that may be mended.
                Answer::later(None, text)
            } else {
                Answer::unsure(text)
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            self.message(call)?;
            let mut shown = self.draft(call).show(&self.from.to_string(), &call.target);
            if let Some(map) = shown.as_object_mut() {
                map.insert("server".into(), self.server.clone().into());
            }
            Ok(shown)
        })
    }

    /// Connects and logs in; no mail is begun.
    fn online(&self) -> Option<Trying<'_>> {
        Some(Box::pin(async move {
            self.wire.greet().await.map_err(|trouble| match trouble {
                Trouble::Unreached(why) => why,
                Trouble::Smtp(error) => self.plain(&error),
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_mail_goes() {
        for (url, want) in [
            ("smtps://mail.example.com", Some(("mail.example.com", 465, true))),
            ("smtp://mail.example.com:25", Some(("mail.example.com", 25, false))),
            ("smtp://[::1]:2525", Some(("::1", 2525, false))),
            ("smtp://u:p@mail.example.com", None),
            ("http://mail.example.com", None),
            ("smtp://mail.example.com/?tls=none", None),
        ] {
            let found = parse_url(url).ok();
            let found = found.as_ref().map(|(h, p, s)| (h.as_str(), *p, *s == Security::Tls));
            assert_eq!(found, want, "{url}");
        }
        assert!(is_loopback("127.0.0.1") && is_loopback("localhost") && !is_loopback("mail.example.com"));
    }
}
