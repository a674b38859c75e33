//! Single sign-on by OpenID Connect (Core 1.0): the authorization code flow with PKCE (RFC 7636), a `state` that is bound
//! to the browser and a `nonce`. The provider is asked when somebody signs in and never else; it decides who it is, and the
//! registry (`users::sign_on`) whether they come in.

mod begun;
mod claims;
mod conf;
mod http;
mod metadata;
mod provider;
mod signatures;
mod token;

pub use begun::{Begun, HOLDS, Waiting};
pub use conf::Conf;
pub use http::bounded;
pub use provider::{Asked, Provider};

/// What goes wrong between us and the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It was not reached, is busy or slow: a fragment for people, without an address.
    Away(String),
    /// It says what must not be believed, or refuses us: a fragment for the log.
    Odd(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) | Self::Odd(why) => f.write_str(why),
        }
    }
}
