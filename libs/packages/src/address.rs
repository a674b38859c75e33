//! Where agents find the hub.

use std::net::IpAddr;

/// The `url` of a configuration, as agents can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address (IPv6 in brackets).
    pub host: String,
    /// The port; none: 443.
    pub port: Option<u16>,
    /// What stands in front of the hub's own paths: empty, or `/` and plain letters, without `/` at its end.
    pub path: String,
}

impl Address {
    /// Reads it; the error names the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("`{url}` {why}");
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => return Err(bad("does not begin with https://: agents speak nothing else")),
            None => return Err(bad("is no URL")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let end = authority.rfind(']').map_or(0, |i| i + 1);
        let (host, port) = match authority.get(end..).and_then(|text| text.find(':')) {
            Some(colon) => authority.split_at(end + colon),
            None => (authority, ""),
        };
        if !is_host(host) || host.contains(':') && !host.starts_with('[') {
            return Err(bad("is no URL that names a host"));
        }
        let port = match port.strip_prefix(':') {
            None => None,
            Some(digits) => Some(digits.parse().map_err(|_| bad("names no port"))?),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.bytes().all(plain) {
            return Err(bad("has more than a plain path behind the host"));
        }
        Ok(Self { host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// `HOST` or `HOST:PORT`.
    pub fn authority(&self) -> String {
        self.port.map_or(self.host.clone(), |port| format!("{}:{port}", self.host))
    }

    /// The whole, without `/` at its end.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.authority(), self.path)
    }
}

/// Whether this is an address, or a name as it may stand in a URL and a certificate.
pub fn is_host(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    address || (text.len() <= 253 && text.split('.').all(label))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, want) in [
            ("https://hub.example.com", Some(("hub.example.com", None, ""))),
            ("https://hub.example.com:8443/", Some(("hub.example.com", Some(8443), ""))),
            ("https://[::1]:1/z", Some(("[::1]", Some(1), "/z"))),
            ("https://[::1]", Some(("[::1]", None, ""))),
            ("HTTPS://127.0.0.1:1/a/b/", Some(("127.0.0.1", Some(1), "/a/b"))),
            ("http://hub.example.com", None),
            ("https://", None),
            ("https://::1", None),
            ("https://a:b@hub.example.com", None),
            ("https://a@hub.example.com", None),
            ("https://hub.example.com:99999", None),
            ("https://hub.example.com:", None),
            ("https://hub.example.com/?a=b", None),
            ("https://hub.example.com?a=b", None),
            ("https://hub.example.com/#a", None),
            ("https://hub.example.com/a'b", None),
            ("https://hub.example.com/@SECRET@", None),
            ("hub.example.com", None),
            ("https://hub\".example.com", None),
        ] {
            let found = Address::parse(url).ok();
            let found = found.as_ref().map(|a| (a.host.as_str(), a.port, a.path.as_str()));
            assert_eq!(found, want, "{url}");
        }
        assert_eq!(Address::parse("https://[::1]:1/z/").unwrap().url(), "https://[::1]:1/z");
    }
}
