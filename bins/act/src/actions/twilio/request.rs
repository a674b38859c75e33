//! The request as Twilio's crate builds it: path, login and form. Sending it is our own client's work, which has time
//! limits, certificates and an address of our choice.

use twilio_async::{Execute, SendMsg, Twilio, encode_pairs};

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A number, a short code or a name.
    From(String),
    /// A messaging service, which chooses one of its senders.
    Service(String),
}

/// A request, but for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Path of the URL.
    pub path: String,
    /// `Authorization`: a secret.
    pub login: String,
    /// The body, as a form.
    pub form: String,
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_documented() {
        let account = Account::new("AC0", "pass:word").unwrap();
        let from = Sender::From("+4930000000".into());
        let made = account.message(&from, "+491700000000", "a&b=ü\n+", Some("https://h/?x=1&y")).unwrap();
        assert_eq!(made.path, "/2010-04-01/Accounts/AC0/Messages.json");
        assert_eq!(made.login, "Basic QUMwOnBhc3M6d29yZA==");
        let form = "To=%2B491700000000&From=%2B4930000000&Body=a%26b%3D%C3%BC%0A%2B\
                    &StatusCallback=https%3A%2F%2Fh%2F%3Fx%3D1%26y";
        assert_eq!(made.form, form);
        let service = account.message(&Sender::Service("MG1".into()), "+1", "x", None).unwrap();
        assert_eq!(service.form, "To=%2B1&MessagingServiceSid=MG1&Body=x");
    }
}
