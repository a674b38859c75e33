//! Asking over HTTP: bounded in time, bytes, requests at a time and tries; a redirect is followed nowhere, for it would
//! take the token along. URLs stand in no error: they may hold a key.

use std::path::Path;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use tokio::sync::Semaphore;

use crate::roots;

/// How long making the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one answer. The record of a computer with thousands of fonts and services has a few.
const ANSWER_MAX: usize = 32 << 20;
/// Requests at a time, as Jamf asks of whoever uses its API.
const AT_A_TIME: usize = 5;
/// Tries of one request, for whoever has no queue of his own.
pub const TRIES: u32 = 5;
/// The longest pause between two tries, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const USER_AGENT: &str = concat!("zentral/", env!("CARGO_PKG_VERSION"));

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The server did not take who asks, with this status.
    Denied(u16),
    /// There is no such thing.
    Missing,
    /// The server refuses what is asked, with this status.
    Refused(u16),
    /// Not now: it was not reached, or it says that it is busy.
    Busy {
        /// With this status.
        status: Option<u16>,
        /// How long it asks us to wait.
        after: Option<Duration>,
        /// A fragment for people.
        why: String,
    },
    /// It was asked and the answer did not arrive: nobody knows what became of it.
    Unsure(String),
    /// Anything else, a fragment for people: the server says what nobody understands.
    Other(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(status) => {
                write!(f, "the server answers {status}: it does not take this client, or not for that")
            }
            Self::Missing => f.write_str("there is no such thing"),
            Self::Refused(status) => write!(f, "the server answers {status}"),
            Self::Busy { why, .. } | Self::Unsure(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

/// A client that follows nobody elsewhere; it trusts the well-known authorities, those of `SSL_CERT_FILE`, and those of `ca`.
pub fn client(ca: Option<&Path>) -> Result<ClientBuilder, String> {
    let mut client = Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    for pem in roots::extra(ca)? {
        let all = reqwest::Certificate::from_pem_bundle(&pem.bytes);
        for certificate in all.map_err(|_| format!("{} holds no certificates", pem.path.display()))? {
            client = client.add_root_certificate(certificate);
        }
    }
    Ok(client)
}

/// A client for one server.
pub struct Http {
    client: Client,
    turns: Semaphore,
    tries: u32,
}

impl Http {
    /// Trusts the well-known authorities, those of `SSL_CERT_FILE`, and those of `ca`. Each request is tried so often.
    pub fn new(ca: Option<&Path>, tries: u32) -> Result<Self, String> {
        let client = client(ca)?.timeout(TIMEOUT).build();
        let client = client.map_err(|e| format!("no HTTP client: {}", plain(e)))?;
        Ok(Self { client, turns: Semaphore::new(AT_A_TIME), tries })
    }

    /// The body of the answer to what `ask` makes of the client. What may pass is tried again with growing pauses, or
    /// those that the server asks for.
    pub async fn ask(&self, ask: impl Fn(&Client) -> RequestBuilder) -> Result<Vec<u8>, Trouble> {
        let (mut pause, mut tries) = (PAUSE_MIN, 0);
        loop {
            tries += 1;
            let once = {
                // Not held during a pause: others may have better luck.
                let _turn = self.turns.acquire().await.map_err(|e| Trouble::Other(e.to_string()))?;
                once(ask(&self.client)).await
            };
            let after = match &once {
                Err(Trouble::Busy { after, .. }) => *after,
                Err(Trouble::Unsure(_)) => None,
                _ => return once,
            };
            if tries >= self.tries {
                return once;
            }
            tokio::time::sleep(after.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause = pause.saturating_mul(2);
        }
    }
}

async fn once(request: RequestBuilder) -> Result<Vec<u8>, Trouble> {
    let lost = |e: reqwest::Error| match e.is_connect() {
        true => Trouble::Busy { status: None, after: None, why: plain(e) },
        false => Trouble::Unsure(plain(e)),
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    match status {
        200..=299 => {}
        401 | 403 => return Err(Trouble::Denied(status)),
        404 => return Err(Trouble::Missing),
        408 | 425 | 429 | 500..=599 => {
            let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let why = format!("the server answers {status}");
            return Err(Trouble::Busy { status: Some(status), after: after.map(Duration::from_secs), why });
        }
        _ => return Err(Trouble::Refused(status)),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(Trouble::Other(format!("an answer is longer than {ANSWER_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What went wrong, to its root, without the URL.
pub fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
