//! What an agent is told.

use std::sync::Arc;

/// `Content-Type` of JSON.
pub const JSON: &str = "application/json";
/// `Content-Type` of text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// A reply. Its body is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON, unless `content_type` says something else.
    pub body: ReplyBody,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Headers besides `Content-Type` and `Content-Length`.
    pub headers: Vec<(&'static str, &'static str)>,
    /// A word for the metrics: `ok`, `busy`, `node_invalid`, `not_json`, …
    pub reason: &'static str,
    /// How many records of the agent were taken.
    pub records: usize,
}

/// The bytes of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyBody {
    /// A constant.
    Fixed(&'static str),
    /// Made for this request.
    Own(Vec<u8>),
    /// The same for many.
    Shared(Arc<[u8]>),
}

impl ReplyBody {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Fixed(text) => text.as_bytes(),
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Reply {
    /// 200 with this JSON.
    pub fn ok(body: ReplyBody) -> Self {
        Self { status: 200, body, content_type: JSON, headers: Vec::new(), reason: "ok", records: 0 }
    }

    /// `{"error": text}`; `reason` is the word for the metrics.
    pub fn error(status: u16, reason: &'static str, text: &str) -> Self {
        let mut body = b"{\"error\":".to_vec();
        event::json::write_str(text, &mut body);
        body.push(b'}');
        Self { status, body: ReplyBody::Own(body), content_type: JSON, headers: Vec::new(), reason, records: 0 }
    }

    /// The same as plain text, for whoever reads no JSON.
    pub fn text(status: u16, reason: &'static str, text: &str) -> Self {
        let body = ReplyBody::Own(text.as_bytes().to_vec());
        Self { status, body, content_type: TEXT, headers: Vec::new(), reason, records: 0 }
    }

    /// No room, or the registry can't be read: the agent keeps what it has and comes again.
    pub fn busy() -> Self {
        Self::error(503, "busy", "busy")
    }

    /// The machine is known, and must show a client certificate: its agent keeps what it has, for it may be that the hub
    /// no longer asks for one.
    pub fn no_certificate() -> Self {
        Self::error(403, "no_certificate", "a client certificate is needed")
    }

    /// The same reply with one more header.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same reply as another `Content-Type`.
    pub fn of_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }
}
