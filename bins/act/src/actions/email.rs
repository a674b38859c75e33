//! Mail over SMTP: one mail to each address, so that nobody sees who else was told.
//!
//! TLS always: `smtps://` from the first byte (465), `smtp://` with STARTTLS, which must succeed (587). Plain text goes
//! only to this machine, and only if asked for. 4yz is later, 5yz is never (RFC 5321, § 4.2.1).

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::address::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use pipe::config::{Secret, Settings};
use reqwest::Url;
use serde_json::json;

use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec};
use crate::call::{Call, one_line};

/// The kind.
pub const KIND: Kind =
    Kind { name: "email", repeatable: true, timeout: Duration::from_secs(60), changes_machines: false, read };

/// How long the server may take for one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

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
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let server = &self.server;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.as_str())
            .port(server.port)
            .timeout(Some(COMMAND_TIMEOUT));
        if server.security != Security::Plain {
            let mut tls = TlsParameters::builder(server.host.clone());
            for pem in crate::roots::extra(server.ca.as_deref())? {
                let certificate = Certificate::from_pem(&pem.bytes);
                let bad = |_| format!("{} holds no certificates", pem.path.display());
                tls = tls.add_root_certificate(certificate.map_err(bad)?);
            }
            let tls = tls.build_rustls().map_err(|e| format!("no TLS for {}: {e}", server.host))?;
            builder = builder.tls(match server.security {
                Security::Tls => Tls::Wrapper(tls),
                _ => Tls::Required(tls),
            });
        }
        if let Some((user, password)) = &server.login {
            builder = builder.credentials(Credentials::new(user.clone(), opening.secret(password, STAND_IN)?));
        }
        Ok(Arc::new(Live { transport: builder.build(), from: self.from.clone(), to: self.to.clone() }))
    }
}

struct Live {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<String>,
}

impl Live {
    fn message(&self, call: &Call) -> Result<Message, String> {
        let to: Address = call.target.parse().map_err(|_| format!("`{}` is no mail address", call.target))?;
        let auto = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(call.title())
            .message_id(Some(format!("<{}@{}>", call.key, self.from.email.domain())))
            .raw_header(auto)
            .header(ContentType::TEXT_PLAIN)
            .body(call.text())
            .map_err(|e| format!("no mail can be made of it: {e}"))
    }
}

impl Action for Live {
    fn targets(&self) -> Vec<String> {
        self.to.clone()
    }

    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let message = match self.message(call) {
                Ok(message) => message,
                Err(why) => return Answer::never(None, why),
            };
            let error = match self.transport.send(message).await {
                Ok(_) => return Answer::done(Some(250)),
                Err(error) => error,
            };
            let status = error.status().map(|code| i64::from(u16::from(code)));
            let text = plain(&error);
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
            let (from, id) = (self.from.to_string(), &call.key);
            Ok(json!({"from": from, "to": call.target, "subject": call.title(), "message_id": id, "body": call.text()}))
        })
    }
}

fn plain(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(&format!(": {inner_text}"));
        }
        cause = inner.source();
    }
    one_line(&text, 200)
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
