//! Without Twilio's crate, for builds that must not link OpenSSL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Built, Sender};
use crate::call::quoted;

/// An account, ready to build requests.
pub struct Account {
    account: String,
    login: String,
}

impl Account {
    /// Nothing can be wrong here; with Twilio's crate it can.
    pub fn new(account: &str, token: &str) -> Result<Self, String> {
        let login = format!("Basic {}", STANDARD.encode(format!("{account}:{token}")));
        Ok(Self { account: account.to_owned(), login })
    }

    /// `POST …/Messages.json`.
    pub fn message(&self, sender: &Sender, to: &str, body: &str, callback: Option<&str>) -> Result<Built, String> {
        let sender = match sender {
            Sender::From(from) => ("From", from.as_str()),
            Sender::Service(service) => ("MessagingServiceSid", service.as_str()),
        };
        let pairs = [("To", to), sender, ("Body", body)].into_iter().chain(callback.map(|url| ("StatusCallback", url)));
        let form = pairs.map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join("&");
        let path = format!("/2010-04-01/Accounts/{}/Messages.json", quoted(&self.account));
        Ok(Built { path, login: self.login.clone(), form })
    }
}
