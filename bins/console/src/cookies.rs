//! Cookies: the session's, that of a visit before anybody has signed in, and the theme's.

use hyper::HeaderMap;
use hyper::header::COOKIE;

/// What the cookies are called where the browser speaks TLS: `__Host-` keeps other hosts of a domain from setting them.
const SECURE: &str = "__Host-";
/// Characters of a secret: 256 bits in base64.
const SECRET: usize = 43;

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in.
    Session,
    /// What the forms before signing in are bound to.
    Visit,
    /// `dark` or `light`.
    Theme,
}

impl Cookie {
    fn name(self, secure: bool) -> String {
        let name = match self {
            Self::Session => "zentral_session",
            Self::Visit => "zentral_visit",
            Self::Theme => "zentral_theme",
        };
        format!("{}{name}", if secure { SECURE } else { "" })
    }

    /// Its value in a request; of several of that name the first.
    pub fn of(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let name = self.name(secure);
        let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// The header that sets it, or with an empty value takes it away. No script sees it, no other site's form sends it.
    pub fn set(self, value: &str, secure: bool) -> String {
        let age = match (self, value) {
            (_, "") => "; Max-Age=0",
            (Self::Theme, _) => "; Max-Age=31536000",
            _ => "", // gone with the browser; how long a session holds is for the registry to say
        };
        let only = if secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{age}{only}", self.name(secure))
    }
}

/// Whether a cookie can be one of ours.
pub fn is_secret(text: &str) -> bool {
    text.len() == SECRET && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn set_and_read() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; zentral_session=one;zentral_visit=v".parse().unwrap());
        headers.append(COOKIE, "zentral_session=two; __Host-zentral_session=three".parse().unwrap());
        assert_eq!(Cookie::Session.of(&headers, false).as_deref(), Some("one"));
        assert_eq!(Cookie::Session.of(&headers, true).as_deref(), Some("three"));
        assert_eq!(Cookie::Theme.of(&headers, false), None);
        assert_eq!(Cookie::Session.set("x", false), "zentral_session=x; Path=/; HttpOnly; SameSite=Lax");
        let secure = "__Host-zentral_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure";
        assert_eq!(Cookie::Session.set("", true), secure);
        assert!(is_secret(&registry::users::random().unwrap()) && !is_secret("x") && !is_secret(&"é".repeat(43)));
    }
}
