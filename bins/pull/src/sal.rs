//! The API of a Sal server: machines page by page, and the names of their groups and business units.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::conf::Conf;
use crate::paged::{PAGES_MAX, Page, endless, number, odd};
use remote::http::{Http, TRIES, Trouble};

const MACHINES: &str = "/api/v2/machines/";

/// A server.
pub struct Sal {
    http: Http,
    url: String,
    keys: (String, String),
}

/// Machine groups and business units by their numbers.
#[derive(Default)]
pub struct Names {
    groups: HashMap<u64, Value>,
    units: HashMap<u64, Value>,
}

impl Sal {
    /// With keys that were looked up.
    pub fn new(conf: &Conf, public: String, private: String) -> Result<Self, String> {
        Ok(Self { http: Http::new(conf.ca.as_deref(), TRIES)?, url: conf.url.clone(), keys: (public, private) })
    }

    /// The names that a record only has numbers of.
    pub async fn names(&self) -> Result<Names, Trouble> {
        Ok(Names {
            groups: self.list("/api/v2/machine_groups/").await?,
            units: self.list("/api/v2/business_units/").await?,
        })
    }

    async fn list(&self, path: &str) -> Result<HashMap<u64, Value>, Trouble> {
        let (mut all, mut place) = (HashMap::new(), format!("{}{path}", self.url));
        for _ in 0..PAGES_MAX {
            let (results, next) = self.get(&place).await?;
            all.extend(results.into_iter().filter_map(|one| Some((number(one.get("id")?)?, one))));
            match next {
                None => return Ok(all),
                Some(next) => place = next,
            }
        }
        Err(endless())
    }

    /// A page of machines, the first one if no place is given.
    pub async fn page(&self, place: Option<String>, names: &Names) -> Result<Page, Trouble> {
        let place = place.unwrap_or_else(|| format!("{}{MACHINES}", self.url));
        let (results, next) = self.get(&place).await?;
        let whole = |machine: Value| {
            let group = machine.get("machine_group").and_then(number).and_then(|id| names.groups.get(&id));
            let unit = group.and_then(|group| number(group.get("business_unit")?)).and_then(|id| names.units.get(&id));
            json!({"machine_group": group, "business_unit": unit, "machine": machine})
        };
        Ok(Page { records: results.into_iter().map(whole).collect(), next })
    }

    /// The results at this place, and where the next are. It names whole addresses; the keys go to our server only.
    async fn get(&self, place: &str) -> Result<(Vec<Value>, Option<String>), Trouble> {
        let ask = |client: &reqwest::Client| {
            let request = client.get(place).header("Accept", "application/json");
            request.header("publickey", &self.keys.0).header("privatekey", &self.keys.1)
        };
        let mut told: Value = serde_json::from_slice(&self.http.ask(ask).await?).map_err(|_| odd())?;
        let next = match told.get("next").and_then(Value::as_str) {
            Some(next) if next.strip_prefix(&self.url).is_some_and(|rest| rest.starts_with('/')) => {
                Some(next.to_owned())
            }
            Some(_) => return Err(Trouble::Other("the next page is said to lie on another server".into())),
            None => None,
        };
        match told.get_mut("results").map(Value::take) {
            Some(Value::Array(results)) => Ok((results, next)),
            _ => Err(odd()),
        }
    }
}
