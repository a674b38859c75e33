//! Asking the provider: bounded in time (by the caller) and bytes. An address stands in no error.

use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Trouble;

/// Bytes of one answer at most. Metadata, keys and tokens have a few thousand.
const ANSWER_MAX: usize = 256 << 10;
/// Characters of what the provider says that stand in the log.
const SAID_MAX: usize = 200;

/// The JSON that is answered; `what` names it in errors.
pub async fn ask<T: DeserializeOwned>(what: &str, request: RequestBuilder) -> Result<T, Trouble> {
    let lost = |e| Trouble::Away(format!("{what}: {}", remote::http::plain(e)));
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(Trouble::Odd(format!("{what}: the answer is longer than {ANSWER_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    match status {
        200..=299 => serde_json::from_slice(&body).map_err(|e| {
            Trouble::Odd(format!("{what}: the answer is not what it should be: {}", bounded(&e.to_string(), SAID_MAX)))
        }),
        429 | 500..=599 => Err(Trouble::Away(format!("{what}: it answers {status}"))),
        _ => Err(Trouble::Odd(format!("{what}: it answers {status}{}", said(&body)))),
    }
}

/// `: invalid_client: …` of an error (RFC 6749, § 5.2). Nothing of ours is repeated in it but by a hostile provider, which
/// has the secret anyhow.
fn said(body: &[u8]) -> String {
    let Ok(Value::Object(all)) = serde_json::from_slice(body) else { return String::new() };
    let words = ["error", "error_description"].into_iter().filter_map(|key| all.get(key)?.as_str());
    words.map(|word| format!(": {}", bounded(word, SAID_MAX))).collect()
}

/// At most so many characters of what somebody else says, on one line.
pub fn bounded(text: &str, max: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(max).collect();
    event::printable(&plain)
}
