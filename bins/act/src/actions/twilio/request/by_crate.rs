//! By Twilio's crate.

use twilio_async::{Execute, SendMsg, Twilio, encode_pairs};

use super::{Built, Sender};

/// An account, ready to build requests.
pub struct Account {
    twilio: Twilio,
}

impl Account {
    /// The error says nothing of the token.
    pub fn new(account: &str, token: &str) -> Result<Self, String> {
        let twilio = Twilio::new(account, token).map_err(|_| "no login can be made of account and token")?;
        Ok(Self { twilio })
    }

    /// `POST …/Messages.json`.
    pub fn message(&self, sender: &Sender, to: &str, body: &str, callback: Option<&str>) -> Result<Built, String> {
        let (message, mut form) = match sender {
            Sender::From(from) => {
                let message = self.twilio.send_msg(from, to, body);
                let form = message.msg.to_string();
                (message, form)
            }
            Sender::Service(service) => {
                let form = encode_pairs([("To", to), ("MessagingServiceSid", service), ("Body", body)]);
                (self.twilio.send_msg("", to, body), form.unwrap_or_default())
            }
        };
        if let Some(more) = callback.and_then(|url| encode_pairs([("StatusCallback", url)])) {
            form.push_str(&format!("&{more}"));
        }
        built(&message, form)
    }
}

fn built(message: &SendMsg<'_>, form: String) -> Result<Built, String> {
    let method = "POST".parse().map_err(|_| "no method")?;
    let request = message.request(method, "Messages.json", Some(form.clone())).map_err(|_| "no request can be made")?;
    let login = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    Ok(Built { path: request.uri().path().to_owned(), login: login.ok_or("no login")?.to_owned(), form })
}
