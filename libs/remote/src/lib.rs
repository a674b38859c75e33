//! How another server is asked: bounded HTTP, whom to trust, secrets cut from what is said, and the API of Jamf. `pull`
//! reads with it, `act` changes things, `store` sends events on; none knows the other. What is *not* here: when to ask, and
//! what to make of the answer.

pub mod hidden;
pub mod http;
pub mod jamf;
pub mod roots;

use std::fmt::Write as _;

use reqwest::Url;

/// What an address is that is more than one.
const ALONE: &str = "an address alone, such as https://jss.example.com";

/// An address to which secrets go: only over TLS, or not further than this machine. Without a slash at its end.
pub fn address(text: &str) -> Result<String, String> {
    match trusted(text)?.query() {
        Some(_) => Err(ALONE.into()),
        None => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// The same, which may have a query.
pub fn trusted(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is no URL: {e}"))?;
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(ALONE.into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err("must begin with https://".into()),
    }
}

/// As a part of a path, or a value of a form.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
