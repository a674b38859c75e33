//! How librdkafka is set up, and what it tells of the connection.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::dates;
use crate::config::{Kafka, Sasl, Secret};
use crate::{Lasting, StageError};

/// That no broker answers, of all clients of this process: they ask the same ones, and many of them only once.
static AWAY: Lasting = Lasting::new();

/// How long a token is good that does not say so itself.
const TOKEN_LIFE_MS: i64 = 5 * 60_000;

/// What all clients have in common.
pub(super) fn common(kafka: &Kafka) -> Result<ClientConfig, StageError> {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "zentral")
        .set("log.connection.close", "false")
        .set("topic.metadata.refresh.interval.ms", "10000")
        // What grows to a minute of its own accord would let a stage sleep long after the brokers are back.
        .set("reconnect.backoff.max.ms", "2000");
    let secret = |secret: &Secret| secret.resolve().map_err(|why| StageError::usage(format!("[kafka]: {why}")));
    if let Some(tls) = &kafka.tls {
        let files =
            [("ssl.ca.location", &tls.ca), ("ssl.certificate.location", &tls.cert), ("ssl.key.location", &tls.key)];
        for (property, path) in files {
            let Some(path) = path else { continue };
            // librdkafka would name the file, but not whose it is.
            if let Err(e) = std::fs::metadata(path) {
                return Err(StageError::usage(format!("[kafka] tls: {}: {e}", path.display())));
            }
            config.set(property, path.display().to_string());
        }
    }
    if let Some(Sasl { mechanism, user, password, .. }) = &kafka.sasl {
        config.set("sasl.mechanism", *mechanism);
        if let (Some(user), Some(password)) = (user, password) {
            config.set("sasl.username", user.as_str()).set("sasl.password", secret(password)?);
        }
    }
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => None,
        (Some(_), None) => Some("SSL"),
        (None, Some(_)) => Some("SASL_PLAINTEXT"),
        (Some(_), Some(_)) => Some("SASL_SSL"),
    };
    if let Some(protocol) = protocol {
        config.set("security.protocol", protocol);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

/// The user's own properties, then those that must not be others.
pub(super) fn finish(
    mut config: ClientConfig,
    kafka: &Kafka,
    own: &[(&str, &str)],
) -> Result<ClientConfig, StageError> {
    for (name, value) in &kafka.properties {
        let value = value.resolve().map_err(|why| StageError::usage(format!("[kafka] properties: {name}: {why}")))?;
        config.set(name, value);
    }
    config.set("bootstrap.servers", kafka.brokers.join(","));
    for (name, value) in own {
        config.set(*name, *value);
    }
    Ok(config)
}

/// What is wrong with `[kafka]`, as far as librdkafka can tell without asking anybody. Never shows a value.
pub(crate) fn check(kafka: &Kafka) -> Result<(), String> {
    let config = common(kafka).and_then(|config| finish(config, kafka, &[])).map_err(|e| e.text)?;
    config.create_native_config().map(drop).map_err(|e| wrong(&e))
}

/// What librdkafka thinks wrong with its configuration; the value may be a secret.
pub(super) fn wrong(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
            format!("[kafka]: librdkafka knows no property `{key}`")
        }
        KafkaError::ClientConfig(_, _, key, _) => format!("[kafka]: librdkafka does not take this value of `{key}`"),
        other => format!("[kafka]: {other}"),
    }
}

/// What is known of a connection; shared by a client and whoever waits for it.
pub(super) struct Link {
    /// For the log: `kafka:raw`.
    name: String,
    token: Option<(Secret, String)>,
    refused: Mutex<Option<String>>,
}

impl Link {
    pub(super) fn new(name: &str, kafka: &Kafka) -> Self {
        let token = kafka.sasl.as_ref().and_then(|sasl| {
            let user = sasl.user.clone().unwrap_or_else(|| "zentral".to_owned());
            sasl.token.clone().map(|token| (token, user))
        });
        Self { name: name.to_owned(), token, refused: Mutex::new(None) }
    }

    /// A broker has answered.
    pub(super) fn up(&self) {
        if AWAY.is_over() {
            tracing::info!("{}: the brokers of Kafka answer again", self.name);
        }
    }

    /// They let us in by now.
    pub(super) fn forgive(&self) {
        self.up();
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the brokers do not let us in, if they do not.
    pub(super) fn refused(&self) -> Option<StageError> {
        let why = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        why.map(|why| StageError::unreachable(format!("{}: {why}", self.name)))
    }

    /// Notes an error of the connection.
    pub(super) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        match code {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                self.refuse(format!("the login was refused: {reason}"));
            }
            RDKafkaErrorCode::SSL if self.refused().is_none() => {
                let why = dates::wrong(reason);
                self.refuse(format!("TLS: {}", why.as_deref().unwrap_or(reason)));
            }
            // That is known; the same again comes with each try to connect.
            RDKafkaErrorCode::SSL => {}
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => self.refuse(format!("not allowed: {reason}")),
            RDKafkaErrorCode::AllBrokersDown => {
                if AWAY.goes_on() {
                    tracing::warn!("{}: no broker of Kafka answers", self.name);
                }
            }
            _ => tracing::debug!("{}: {code}: {reason}", self.name),
        }
    }

    fn refuse(&self, why: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

impl ClientContext for Link {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// What matters comes as an error too, once.
    fn log(&self, _: RDKafkaLogLevel, fac: &str, text: &str) {
        tracing::debug!("{}: librdkafka: {fac} {text}", self.name);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error(self, error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let (secret, user) = self.token.as_ref().ok_or("no token in [kafka] sasl")?;
        let token = secret.resolve()?;
        let now = event::Time::now().ms();
        let lifetime_ms = expiry_ms(&token).filter(|at| *at > now).unwrap_or(now + TOKEN_LIFE_MS);
        Ok(OAuthToken { token, principal_name: user.clone(), lifetime_ms })
    }
}

impl rdkafka::consumer::ConsumerContext for Link {}

/// When a JSON web token ends by its own words (RFC 7519, `exp`), in ms since 1970.
fn expiry_ms(token: &str) -> Option<i64> {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let seconds: f64 = serde_json::from_slice(event::json::get(&claims, "exp")?).ok()?;
    Some((seconds * 1000.0) as i64)
}
