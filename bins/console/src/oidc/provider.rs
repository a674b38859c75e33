//! The provider: where it is asked what, its keys, and the two steps of a sign-in.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use registry::users::Role;
use registry::users::sign_on::Identity;
use reqwest::Client;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::claims::Claims;
use super::conf::Conf;
use super::http::ask;
use super::metadata::{Keys, Metadata, Tokens};
use super::token::{Fault, Wanted, check};
use super::{Begun, Trouble};
use crate::app::held;

/// How long one step of a sign-in may take, with all that the provider is asked for.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Steps at the same time. While the provider is slow, everybody else's pages are not.
const STEPS_MAX: usize = 4;
/// How long metadata and keys are kept.
const KEPT: Duration = Duration::from_secs(3600);
/// Keys are fetched out of turn, for a token that names an unknown one, at most so often.
const KEYS_AGAIN: Duration = Duration::from_secs(10);

/// What was fetched, and when.
#[derive(Debug, Default)]
struct Kept {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Arc<Vec<Jwk>>)>,
    again: Option<Instant>,
}

/// What came back with a person.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The code to be turned into a token.
    pub code: &'a str,
    /// Who the answer says it is from (RFC 9207); empty: it does not.
    pub issuer: &'a str,
    /// Where the person came back to.
    pub back: &'a str,
    /// Now, in ms since 1970.
    pub now: i64,
}

/// The provider of this configuration.
pub struct Provider {
    conf: Conf,
    client: Client,
    kept: Mutex<Kept>,
    steps: Semaphore,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.conf.issuer).finish_non_exhaustive()
    }
}

impl Provider {
    /// Asks nobody yet.
    pub fn new(conf: Conf) -> Result<Self, String> {
        let client = remote::http::client(conf.ca.as_deref())?.build();
        let client = client.map_err(|e| format!("no HTTP client: {}", remote::http::plain(e)))?;
        Ok(Self { conf, client, kept: Mutex::default(), steps: Semaphore::new(STEPS_MAX) })
    }

    /// Its table.
    pub fn conf(&self) -> &Conf {
        &self.conf
    }

    /// Whether it shows metadata and keys that we can do with, asked once and from outside a runtime.
    pub fn look(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| format!("cannot start threads: {e}"))?;
        let _here = runtime.enter();
        let keys = self.step(async {
            let metadata = self.metadata().await?;
            self.keys(&metadata, false).await
        });
        match keys.map_err(|why| why.to_string())?.is_empty() {
            true => Err("keys: there is none that we can do with".to_owned()),
            false => Ok(()),
        }
    }

    /// The first step: where the person is to go. `back` is where the provider sends them then.
    pub fn begin(&self, begun: &Begun, back: &str) -> Result<String, Trouble> {
        self.step(async {
            let metadata = self.metadata().await?;
            let mut to = metadata.authorization_endpoint.0.clone();
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(begun.verifier.as_bytes()));
            let supported = metadata.scopes_supported.as_deref().unwrap_or_default();
            // Not everybody knows this scope, and some refuse what they do not know.
            let groups = self.conf.by_group() && supported.contains(&self.conf.groups);
            let more = if groups { format!(" {}", self.conf.groups) } else { String::new() };
            to.query_pairs_mut().extend_pairs([
                ("response_type", "code"),
                ("client_id", &self.conf.client),
                ("redirect_uri", back),
                ("scope", &format!("openid email profile{more}")),
                ("state", &begun.state),
                ("nonce", &begun.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ]);
            Ok(to.to_string())
        })
    }

    /// The second step: who it is, and what their groups give.
    #[expect(clippy::type_complexity, reason = "said once, here")]
    pub fn finish(&self, begun: &Begun, asked: &Asked<'_>) -> Result<(Identity, Option<(Role, Vec<String>)>), Trouble> {
        self.step(async {
            let metadata = self.metadata().await?;
            let named = asked.issuer == metadata.issuer;
            if !named && (!asked.issuer.is_empty() || metadata.authorization_response_iss_parameter_supported) {
                return Err(Trouble::Odd("the answer names another issuer".into()));
            }
            let tokens = self.tokens(&metadata, begun, asked).await?;
            let token = self.believed(&metadata, &tokens.id_token, begun, asked.now).await?;
            let mut claims = Claims::of(token);
            let silent = !claims.has("email") || self.conf.by_group() && !claims.has(&self.conf.groups);
            if let (true, Some(at), Some(access)) = (silent, &metadata.userinfo_endpoint, &tokens.access_token) {
                let more: Map<String, Value> =
                    ask("userinfo", self.client.get(at.0.clone()).bearer_auth(access)).await?;
                claims.and(more).map_err(|why| Trouble::Odd(why.into()))?;
            }
            let given = self.conf.given(&claims.groups(&self.conf.groups));
            Ok((claims.identity(&self.conf.issuer), given))
        })
    }

    /// One step, bounded: pages are made where a thread may wait.
    fn step<T>(&self, step: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let Ok(_turn) = self.steps.try_acquire() else {
            return Err(Trouble::Away("others wait for it already".into()));
        };
        let bounded = async { tokio::time::timeout(STEP_TIMEOUT, step).await };
        let late = |_| Err(Trouble::Away(format!("no answer within {} seconds", STEP_TIMEOUT.as_secs())));
        tokio::runtime::Handle::current().block_on(bounded).unwrap_or_else(late)
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, Trouble> {
        if let Some((at, metadata)) = &held(&self.kept).metadata
            && at.elapsed() < KEPT
        {
            return Ok(metadata.clone());
        }
        let at = format!("{}/.well-known/openid-configuration", self.conf.issuer.trim_end_matches('/'));
        let metadata: Metadata = ask("metadata", self.client.get(at)).await?;
        // Whoever could answer for another issuer could sign in anybody (Discovery 1.0, § 4.3).
        if metadata.issuer != self.conf.issuer {
            let said = super::http::bounded(&metadata.issuer, 200);
            return Err(Trouble::Odd(format!(
                "metadata: the provider calls itself `{said}`, and `issuer` is `{}`",
                self.conf.issuer
            )));
        }
        let metadata = Arc::new(metadata);
        held(&self.kept).metadata = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    async fn keys(&self, metadata: &Metadata, anew: bool) -> Result<Arc<Vec<Jwk>>, Trouble> {
        if let (false, Some((at, keys))) = (anew, &held(&self.kept).keys)
            && at.elapsed() < KEPT
        {
            return Ok(keys.clone());
        }
        let set: Keys = ask("keys", self.client.get(metadata.jwks_uri.0.clone())).await?;
        // A key of a kind that nobody here knows takes nothing from the others.
        let keys =
            Arc::new(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect::<Vec<Jwk>>());
        held(&self.kept).keys = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    async fn tokens(&self, metadata: &Metadata, begun: &Begun, asked: &Asked<'_>) -> Result<Tokens, Trouble> {
        let secret = self.conf.secret.resolve().map_err(|why| Trouble::Odd(format!("`secret`: {why}")))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", asked.code),
            ("redirect_uri", asked.back),
            ("code_verifier", &begun.verifier),
        ];
        let ways = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let has = |way: &str| ways.iter().any(|one| one == way);
        let request = self.client.post(metadata.token_endpoint.0.clone());
        let request = if has("client_secret_post") && !has("client_secret_basic") {
            form.extend([("client_id", self.conf.client.as_str()), ("client_secret", secret.as_str())]);
            request
        } else {
            // Encoded as in a form before it becomes a header (RFC 6749, § 2.3.1).
            let plain = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request.basic_auth(plain(&self.conf.client), Some(plain(&secret)))
        };
        ask("token", request.form(&form)).await
    }

    async fn believed(
        &self,
        metadata: &Metadata,
        token: &str,
        begun: &Begun,
        now: i64,
    ) -> Result<Map<String, Value>, Trouble> {
        let (issuer, client, nonce) = (&self.conf.issuer, &self.conf.client, &begun.nonce);
        let wanted = Wanted { issuer, client, nonce, began: begun.at, now };
        let no_key = || Trouble::Odd("the ID token is signed by a key that the provider does not show".into());
        let keys = self.keys(metadata, false).await?;
        let checked = match check(token, &keys, &wanted) {
            // The provider may have changed its keys since: once more, and not for ever.
            Err(Fault::NoKey) => {
                {
                    let mut kept = held(&self.kept);
                    if kept.again.is_some_and(|at| at.elapsed() < KEYS_AGAIN) {
                        return Err(no_key());
                    }
                    kept.again = Some(Instant::now());
                }
                check(token, &self.keys(metadata, true).await?, &wanted)
            }
            checked => checked,
        };
        checked.map_err(|fault| match fault {
            Fault::NoKey => no_key(),
            Fault::Wrong(why) => Trouble::Odd(why),
        })
    }
}
