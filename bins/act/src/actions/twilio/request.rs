//! The request as Twilio's crate builds it: path, login and form. Sending it is our own client's work, which has time
//! limits, certificates and an address of our choice.

#[cfg_attr(feature = "twilio-async", path = "request/by_crate.rs")]
#[cfg_attr(not(feature = "twilio-async"), path = "request/by_hand.rs")]
mod builder;

pub use builder::Account;

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// The same with and without the crate.
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
