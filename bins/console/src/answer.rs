//! What is answered: a page and the same as JSON, a file, a way on, a refusal.

use askama::Template;
use axum::body::Body;
use event::printable;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use registry::db::DbError;
use registry::known::Unread;
use registry::users::Refused;
use serde::Serialize;
use serde_json::json;

use crate::ask::Asked;
use crate::cookies::Cookie;
use crate::pages::Head;

const HTML: &str = "text/html; charset=utf-8";
/// The type of JSON.
pub const JSON: &str = "application/json";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    headers: Vec<(HeaderName, String)>,
}

impl Answer {
    /// A page, or what it shows as JSON.
    pub fn page<P: Template + Serialize>(asked: &Asked, page: &P) -> Result<Self, Wrong> {
        if asked.json {
            let body = serde_json::to_vec(page).map_err(|e| Wrong::broken(&e))?;
            return Ok(Self::file(JSON, body));
        }
        let html = page.render().map_err(|e| Wrong::broken(&e))?;
        // What steers a terminal or turns a line round has no place on a page, wherever it came from.
        let mut body = String::with_capacity(html.len());
        for line in html.lines() {
            body.push_str(&printable(line));
            body.push('\n');
        }
        let answer = Self::file(HTML, body.into_bytes());
        Ok(match &asked.new_visit {
            Some(visit) if asked.who.is_none() => answer.cookie(Cookie::Visit, visit, asked.secure),
            _ => answer,
        })
    }

    /// A file.
    pub fn file(kind: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, kind, body, headers: Vec::new() }
    }

    /// JSON for a program.
    pub fn json(what: &impl Serialize) -> Result<Self, Wrong> {
        let mut body = serde_json::to_vec(what).map_err(|e| Wrong::broken(&e))?;
        body.push(b'\n');
        Ok(Self::file(JSON, body))
    }

    /// On to another page of ours.
    pub fn to(path: &str) -> Self {
        Self { status: 303, kind: "text/plain", body: Vec::new(), headers: vec![(LOCATION, path.to_owned())] }
    }

    /// It is done: on to a page of ours; a program hears that it is.
    pub fn done(asked: &Asked, path: &str) -> Self {
        if asked.json { Self::file(JSON, b"{\"done\":true}\n".to_vec()) } else { Self::to(path) }
    }

    /// With this status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With this header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With this cookie.
    pub fn cookie(self, cookie: Cookie, value: &str, secure: bool) -> Self {
        self.header(SET_COOKIE, &cookie.set(value, secure))
    }

    /// As it goes out.
    pub fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Wrong {
    pub status: u16,
    /// For people, and for the log of a program.
    pub text: String,
    /// What to do about it.
    pub advice: String,
    /// A page of ours where to look instead, and what it is.
    link: Option<(String, &'static str)>,
}

#[derive(Template, Serialize)]
#[template(path = "wrong.html")]
struct WrongPage {
    #[serde(skip)]
    head: Head,
    error: String,
    #[serde(skip)]
    advice: String,
    #[serde(skip)]
    link: Option<(String, &'static str)>,
}

impl Wrong {
    pub fn new(status: u16, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status, text: text.into(), advice: advice.into(), link: None }
    }

    /// With a page of ours where to look instead, and what that is.
    pub fn or_look(mut self, path: String, what: &'static str) -> Self {
        self.link = Some((path, what));
        self
    }

    /// Nothing is there.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, format!("There is no such {what}."), "It may have been forgotten, or the address is mistyped.")
    }

    fn broken(why: &dyn std::fmt::Display) -> Self {
        tracing::error!("a page could not be made: {why}");
        Self::new(500, "The page could not be made.", "The log of the console says why.")
    }

    /// As it goes out.
    pub fn answer(self, asked: &Asked) -> Answer {
        let title = if self.status == 403 { "Not allowed" } else { "Not possible" };
        let page = WrongPage { head: Head::new(asked, title), error: self.text, advice: self.advice, link: self.link };
        let plain = |_| Answer::file(JSON, json!({"error": page.error}).to_string().into_bytes());
        let answer = Answer::page(asked, &page).unwrap_or_else(plain).status(self.status);
        if self.status == 401 && asked.bearer.is_some() { answer.header(WWW_AUTHENTICATE, "Bearer") } else { answer }
    }
}

impl From<DbError> for Wrong {
    fn from(error: DbError) -> Self {
        tracing::warn!("registry: {error}");
        Self::new(
            503,
            "The registry does not answer.",
            "`zentral status` and the log of the console say more. Try again soon.",
        )
    }
}

impl From<enrol::Refused> for Wrong {
    fn from(why: enrol::Refused) -> Self {
        use enrol::Refused;
        match why {
            Refused::Db(error) => error.into(),
            Refused::Asked(..) => Self::new(400, why.to_string(), ""),
            Refused::Unknown(_) => Self::new(404, why.to_string(), ""),
            Refused::Revoked(_) => Self::new(409, why.to_string(), "Make another one."),
            Refused::Config(_) => Self::new(409, why.to_string(), "Mend `pipeline.toml` on the machine of the hub."),
            Refused::Key(why) => {
                tracing::error!("{why}");
                Self::new(503, "The key of the hub cannot be read.", "The log of the console says why.")
            }
        }
    }
}

impl From<Unread> for Wrong {
    fn from(why: Unread) -> Self {
        tracing::warn!("{why}");
        Self::new(
            503,
            "What is known of machines cannot be read.",
            "`zentral status` and the log of the console say more.",
        )
    }
}

impl From<Refused> for Wrong {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Db(error) => error.into(),
            Refused::Unknown => Self::new(404, why.to_string(), ""),
            Refused::Taken | Refused::LastAdmin | Refused::AddressTaken => Self::new(409, why.to_string(), ""),
            Refused::RestrictedAdmin | Refused::NoAddress => Self::new(400, why.to_string(), ""),
        }
    }
}
