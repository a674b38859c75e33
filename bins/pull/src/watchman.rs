//! The API of Watchman Monitoring: computers page by page, with what the plugins found.

use serde_json::{Value, json};

use crate::conf::Conf;
use crate::paged::{Page, odd};
use remote::http::{Http, TRIES, Trouble};

/// Computers on a page; a shorter one is the last.
const PAGE: usize = 50;

/// An account.
pub struct Watchman {
    http: Http,
    url: String,
    key: String,
}

impl Watchman {
    /// With a key that was looked up.
    pub fn new(conf: &Conf, key: String) -> Result<Self, String> {
        Ok(Self { http: Http::new(conf.ca.as_deref(), TRIES)?, url: conf.url.clone(), key })
    }

    /// A page of computers, the first one if no place is given.
    pub async fn page(&self, place: Option<String>) -> Result<Page, Trouble> {
        let page: usize = place.and_then(|place| place.parse().ok()).unwrap_or(1);
        let ask = |client: &reqwest::Client| {
            let query =
                [("api_key", self.key.as_str()), ("page", &page.to_string()), ("expand[]", "computer.plugin_results")];
            client.get(format!("{}/v2.5/computers", self.url)).query(&query).header("Accept", "application/json")
        };
        let mut told: Value = serde_json::from_slice(&self.http.ask(ask).await?).map_err(|_| odd())?;
        let list = if told.is_array() { told } else { told.get_mut("computers").map(Value::take).unwrap_or_default() };
        let Value::Array(computers) = list else { return Err(odd()) };
        let next = (computers.len() >= PAGE).then(|| (page + 1).to_string());
        let shown = |computer: &Value| computer.get("hidden").and_then(Value::as_bool) != Some(true);
        let records = computers.into_iter().filter(shown).map(|machine| json!({"machine": machine})).collect();
        Ok(Page { records, next })
    }
}
