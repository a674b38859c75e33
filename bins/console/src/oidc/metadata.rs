//! What the provider answers, as far as we read it.

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

/// What the provider says of itself (OpenID Connect Discovery 1.0, § 3).
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: Address,
    pub token_endpoint: Address,
    pub jwks_uri: Address,
    pub userinfo_endpoint: Option<Address>,
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// An address that may be trusted with secrets.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(pub Url);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        remote::trusted(&text).map(Self).map_err(|why| format!("an endpoint {why}"))
    }
}

#[derive(Debug, Deserialize)]
pub struct Tokens {
    pub id_token: String,
    pub access_token: Option<String>,
}

/// Its keys (RFC 7517, § 5), of whatever kinds.
#[derive(Debug, Deserialize)]
pub struct Keys {
    pub keys: Vec<Value>,
}
