//! From the configuration to an action that can send: secrets are looked up, headers filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Map, Value};

use super::live::Live;
use super::{Filling, Http, parse_url};
use crate::actions::{Action, Opening, STAND_IN, Spec};
use crate::preset::keys::filled;
use remote::hidden::Hidden;

/// Stands for a URL that is not there in a dry run; nobody has this name (RFC 6761, § 6.4).
const URL_STAND_IN: &str = "https://secret.invalid/";

impl Spec for Http {
    fn targets(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.said.people.iter().map(|(name, _)| name).collect();
        if names.is_empty() { vec![String::new()] } else { names.into_iter().cloned().collect() }
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let mut hidden = Hidden::default();
        let text = opening.secret(&self.url, URL_STAND_IN)?;
        let url = parse_url(text.trim()).map_err(|why| format!("`url` {why}"))?;
        // A webhook's URL is a secret; that of a service, to which each request adds its path, is an address.
        let bare = url.query().is_none() && url.username().is_empty() && url.password().is_none();
        let address_only = bare && (self.steps.address_only() || url.path() == "/");
        if !address_only {
            hidden.add_url(text.trim(), &url);
        }
        let mut found = Vec::new();
        for (name, secret) in &self.said.secret {
            found.push((name.clone(), opening.secret(secret, STAND_IN)?));
        }
        let mut people = BTreeMap::new();
        for (name, secret) in &self.said.people {
            people.insert(name.clone(), opening.secret(secret, STAND_IN)?);
        }
        found.iter().map(|(_, secret)| secret).chain(people.values()).for_each(|secret| hidden.add(secret));
        let plain = |(key, value): (&String, &Value)| {
            Some((key.clone(), value.as_str().map(str::to_owned).or_else(|| Some(value.as_i64()?.to_string()))?))
        };
        let values: BTreeMap<String, String> =
            found.iter().cloned().chain(self.said.set.iter().filter_map(plain)).collect();
        let client = client(self.ca.as_deref())?;
        let mut headers = self.headers(opening, &values, &mut hidden)?;
        if let Some((user, password)) = &self.basic
            && let (Some(user), Some(password)) = (user.text(opening, &values)?, password.text(opening, &values)?)
        {
            headers.insert(AUTHORIZATION, basic(&client, &url, &user, &password, &mut hidden)?);
        }
        let hmac = match &self.hmac {
            Some((name, secret)) => Some((name.clone(), opening.secret(secret, STAND_IN)?.into_bytes())),
            None => None,
        };
        Ok(Arc::new(Live {
            client,
            base: address_only.then(|| url.as_str().trim_end_matches('/').to_owned()),
            url,
            headers,
            steps: self.steps.clone(),
            form: self.form,
            limits: self.limits.clone(),
            hmac,
            hidden,
            set: self.said.set.clone(),
            secret: found.into_iter().map(|(name, text)| (name, text.into())).collect::<Map<_, _>>(),
            people,
            jq: opening.jq.clone(),
        }))
    }
}

impl Http {
    fn headers(
        &self,
        opening: &Opening<'_>,
        values: &BTreeMap<String, String>,
        hidden: &mut Hidden,
    ) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let kind = if self.form { "application/x-www-form-urlencoded" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, filling) in &self.headers {
            let Some(text) = filling.text(opening, values)? else { continue };
            let value =
                HeaderValue::try_from(&text).map_err(|_| format!("header `{name}` holds what no header may"))?;
            let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no name of a header"))?;
            // What a preset says for everybody is no secret.
            if name != CONTENT_TYPE && !matches!(filling, Filling::Template(text) if !text.contains('{')) {
                hidden.add(&text);
            }
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

impl Filling {
    /// The value; none if it needs a key that was not given.
    fn text(&self, opening: &Opening<'_>, values: &BTreeMap<String, String>) -> Result<Option<String>, String> {
        match self {
            Self::Template(text) => Ok(filled(text, values)),
            Self::Secret(secret) => opening.secret(secret, STAND_IN).map(Some),
        }
    }
}

/// The header of a Basic login.
fn basic(client: &Client, url: &Url, user: &str, password: &str, hidden: &mut Hidden) -> Result<HeaderValue, String> {
    let none = || "no header can be made of the login".to_owned();
    let request = client.get(url.clone()).basic_auth(user, Some(password)).build().map_err(|_| none())?;
    let value = request.headers().get(AUTHORIZATION).cloned().ok_or_else(none)?;
    hidden.add(password);
    hidden.add(&format!("{user}:{password}"));
    hidden.add(value.to_str().unwrap_or_default());
    Ok(value)
}

/// A client that follows nobody elsewhere and trusts `ca` besides. How long a try may take is its lane's business.
pub fn client(ca: Option<&std::path::Path>) -> Result<Client, String> {
    remote::http::client(ca)?.build().map_err(|e| format!("no HTTP client: {}", remote::http::plain(e)))
}
