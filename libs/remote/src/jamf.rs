//! The API of a Jamf server: tokens, the list of all computers, the record of one; and what may be changed ([`changes`]).
//!
//! The list comes by the Pro API, page by page; a server that has none gives it by the Classic API at once. Records come by
//! the Classic API, which has all there is in one.

pub mod changes;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::http::{Http, Trouble};
use crate::quoted;

/// Where tokens are given, on servers of today and before.
const TOKENS: [&str; 2] = ["/api/v1/oauth/token", "/api/oauth/token"];
/// Where computers are listed, newest version first.
const LISTS: [&str; 4] = [
    "/api/v4/computers-inventory",
    "/api/v3/computers-inventory",
    "/api/v2/computers-inventory",
    "/api/v1/computers-inventory",
];
/// Computers on a page.
const PAGE: usize = 100;
/// Pages of a list, at most: a server that never ends must not hold us for ever.
const PAGES_MAX: usize = 5_000;
/// A token is renewed so long before it ends.
const BEFORE_END: Duration = Duration::from_secs(10);
/// The life of a token that does not say how long it lives.
const LIFE: Duration = Duration::from_secs(60);

/// A server.
pub struct Jamf {
    http: Http,
    url: String,
    client: (String, String),
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    until: Instant,
}

/// Which computer.
pub enum Which {
    /// By the server's number.
    Id(u64),
    /// By serial number.
    Serial(String),
    /// By hardware UUID.
    Udid(String),
}

impl Jamf {
    /// The one at this address, and who asks it: an API client and its secret.
    pub fn new(http: Http, url: &str, id: String, secret: String) -> Self {
        Self { http, url: url.to_owned(), client: (id, secret), token: Mutex::default() }
    }

    /// The numbers of all computers.
    pub async fn computers(&self) -> Result<Vec<u64>, Trouble> {
        for list in LISTS {
            match self.pages(list).await {
                Err(Trouble::Missing) => {}
                told => return told,
            }
        }
        let all = self.get("/JSSResource/computers").await?;
        let all = all.get("computers").and_then(Value::as_array).ok_or_else(|| odd("the list of computers"))?;
        Ok(all.iter().filter_map(number_of).collect())
    }

    async fn pages(&self, list: &str) -> Result<Vec<u64>, Trouble> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for page in 0..PAGES_MAX {
            let path = format!("{list}?page={page}&page-size={PAGE}&section=GENERAL&sort=id");
            let told = self.get(&path).await?;
            let results = told.get("results").and_then(Value::as_array).ok_or_else(|| odd("a page of computers"))?;
            let total = told.get("totalCount").and_then(Value::as_u64);
            let fresh: Vec<u64> = results.iter().filter_map(number_of).filter(|id| seen.insert(*id)).collect();
            // Computers come and go while we read; a page that says nothing new is the end, or a server that repeats itself.
            let nothing_new = fresh.is_empty();
            all.extend(fresh);
            let complete = total.is_some_and(|total| all.len() as u64 >= total);
            if results.len() < PAGE || complete {
                return Ok(all);
            }
            if nothing_new {
                return Err(Trouble::Other(format!("page {page} of the computers is one that was there before")));
            }
        }
        Err(Trouble::Other(format!("the computers do not end after {PAGES_MAX} pages")))
    }

    /// All that the server knows of one.
    pub async fn computer(&self, which: &Which) -> Result<Value, Trouble> {
        let mut told = self.get(&place(which)).await?;
        match told.get_mut("computer").map(Value::take) {
            Some(computer @ Value::Object(_)) => Ok(computer),
            _ => Err(odd("the record of a computer")),
        }
    }

    /// What is at this path.
    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let ask = |client: &Client, token: &str| {
            client.get(format!("{}{path}", self.url)).bearer_auth(token).header("Accept", "application/json")
        };
        serde_json::from_slice(&self.ask(ask).await?).map_err(|_| odd("an answer"))
    }

    /// Changes what is at this path of the Classic API, which takes XML.
    pub async fn write(&self, method: Method, path: &str, xml: Option<&str>) -> Result<(), Trouble> {
        let ask = |client: &Client, token: &str| {
            let request = client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(token);
            match xml {
                Some(xml) => request.header("Content-Type", "text/xml").body(xml.to_owned()),
                None => request,
            }
        };
        self.ask(ask).await.map(|_| ())
    }

    /// Posts JSON to this path of the Pro API.
    pub async fn post(&self, path: &str, json: &Value) -> Result<Value, Trouble> {
        let body = json.to_string();
        let ask = |client: &Client, token: &str| {
            let request = client.post(format!("{}{path}", self.url)).bearer_auth(token).body(body.clone());
            request.header("Content-Type", "application/json").header("Accept", "application/json")
        };
        // Whatever it says, it has done it.
        Ok(serde_json::from_slice(&self.ask(ask).await?).unwrap_or(Value::Null))
    }

    /// Whether it takes us.
    pub async fn greet(&self) -> Result<(), Trouble> {
        self.token(None).await.map(|_| ())
    }

    /// With a token; one that the server does not take any more is renewed once.
    async fn ask(&self, ask: impl Fn(&Client, &str) -> RequestBuilder) -> Result<Vec<u8>, Trouble> {
        let mut refused = None;
        loop {
            let token = self.token(refused.as_deref()).await?;
            match self.http.ask(|client| ask(client, &token)).await {
                Err(Trouble::Denied(401)) if refused.is_none() => refused = Some(token),
                told => return told,
            }
        }
    }

    /// A token that holds, and is not the one that was refused. One request at a time renews it for all.
    async fn token(&self, refused: Option<&str>) -> Result<String, Trouble> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|t| t.until > Instant::now() && Some(t.text.as_str()) != refused) {
            return Ok(token.text.clone());
        }
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            quoted(&self.client.0),
            quoted(&self.client.1)
        );
        let mut told = Err(Trouble::Missing);
        for path in TOKENS {
            let ask = |client: &Client| {
                let request = client.post(format!("{}{path}", self.url)).body(form.clone());
                request.header("Content-Type", "application/x-www-form-urlencoded").header("Accept", "application/json")
            };
            told = self.http.ask(ask).await;
            if told != Err(Trouble::Missing) {
                break;
            }
        }
        let told: Value = serde_json::from_slice(&told?).map_err(|_| odd("a token"))?;
        let text = told.get("access_token").and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| odd("a token"))?.to_owned();
        let life = told.get("expires_in").and_then(Value::as_u64).map_or(LIFE, Duration::from_secs);
        *held = Some(Token { text: text.clone(), until: Instant::now() + life.saturating_sub(BEFORE_END).min(life) });
        Ok(text)
    }
}

/// Where the Classic API has a computer.
pub fn place(which: &Which) -> String {
    match which {
        Which::Id(id) => format!("/JSSResource/computers/id/{id}"),
        Which::Serial(serial) => format!("/JSSResource/computers/serialnumber/{}", quoted(serial)),
        Which::Udid(udid) => format!("/JSSResource/computers/udid/{}", quoted(udid)),
    }
}

/// Numbers are text in the Pro API.
pub fn number_of(of: &Value) -> Option<u64> {
    let id = of.get("id")?;
    id.as_u64().or_else(|| id.as_str()?.parse().ok())
}

pub(crate) fn odd(what: &str) -> Trouble {
    Trouble::Other(format!("{what} is not what a Jamf server says"))
}
