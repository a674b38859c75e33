//! TLS and logins, on a broker that asks for both (`ZENTRAL_TEST_KAFKA_TLS` and what stands beside it).

use base64::Engine as _;
use pipe::Exit;

use crate::hub::Hub;

pub struct Broker {
    pub at: String,
    pub ca: String,
    pub user: String,
    pub password_file: String,
}

pub fn broker() -> Option<Broker> {
    let found = Broker::of(|name| std::env::var(format!("ZENTRAL_TEST_KAFKA_TLS{name}")).ok());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_KAFKA_TLS is not set");
        eprintln!("skipped: no Kafka with TLS (scripts/services start kafka-tls)");
    }
    found
}

impl Broker {
    /// By the variables of `scripts/services env`, of whose names these are the ends.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let at = get("")?;
        let must = |name: &str| get(name).unwrap();
        Some(Self { at, ca: must("_CA"), user: must("_USER"), password_file: must("_PASSWORD_FILE") })
    }

    fn tls(&self) -> String {
        format!("tls = {{ ca = \"{}\" }}\n", self.ca)
    }

    pub fn hub(&self, name: &str, sasl: &str) -> Hub {
        let mut hub = Hub::new(&self.at, name, &format!("{}sasl = {{ {sasl} }}", self.tls()));
        let password = std::fs::read_to_string(&self.password_file).unwrap().trim().to_owned();
        hub.login = vec![
            ("security.protocol", "SASL_SSL".into()),
            ("ssl.ca.location", self.ca.clone()),
            ("sasl.mechanism", "PLAIN".into()),
            ("sasl.username", self.user.clone()),
            ("sasl.password", password),
        ];
        hub
    }

    pub fn user(&self, mechanism: &str) -> String {
        let Self { user, password_file, .. } = self;
        format!("mechanism = \"{mechanism}\", user = \"{user}\", password = {{ file = \"{password_file}\" }}")
    }
}

fn goes_through(hub: &Hub) {
    hub.make("in", "5242880");
    hub.make("out", "5242880");
    hub.write("in", (0..20).map(|n| (format!("k{n}"), format!("line {n}").into_bytes())));
    assert_eq!(hub.once("in"), Exit::Done);
    hub.assert_exact(20);
    assert_eq!(hub.read("out").len(), 20);
}

#[test]
fn each_login_is_taken() {
    let Some(broker) = broker() else { return };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        goes_through(&broker.hub(&mechanism.to_lowercase(), &broker.user(mechanism)));
    }
}

#[test]
fn a_token_is_taken() {
    let Some(broker) = broker() else { return };
    let dir = tempfile::tempdir().unwrap();
    let now = event::Time::now().ms() / 1000;
    let part = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = format!("{{\"sub\":\"{}\",\"iat\":{now},\"exp\":{}}}", broker.user, now + 600);
    let token = format!("{}.{}.", part("{\"alg\":\"none\"}".into()), part(claims));
    std::fs::write(dir.path().join("token"), token).unwrap();
    let file = dir.path().join("token").display().to_string();
    goes_through(&broker.hub("token", &format!("mechanism = \"OAUTHBEARER\", token = {{ file = \"{file}\" }}")));
}

#[test]
fn a_login_or_an_authority_that_is_wrong_is_said_and_no_secret_is() {
    let Some(broker) = broker() else { return };
    let wrong = "not-the-password-7731";
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let sasl = format!("mechanism = \"{mechanism}\", user = \"{}\", password = \"{wrong}\"", broker.user);
        let hub = broker.hub("wrong", &sasl);
        let error = pipe::kafka::look(&hub.config, "in").unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        assert!(error.text.contains("the login was refused") && !error.text.contains(wrong), "{error}");
        assert_eq!(hub.once("in"), Exit::Unreachable);
        assert!(!format!("{:?}", hub.config.kafka).contains(wrong));
    }
    // An authority that knows nothing of this broker: what the system believes.
    let hub = Hub::new(&broker.at, "ca", "tls = {}");
    let error = pipe::kafka::look(&hub.config, "in").unwrap_err();
    let said =
        error.text.contains(&format!("TLS: ssl://{}/", broker.at)) && error.text.contains("could not be verified");
    assert!(said && !error.text.contains("expired"), "{error}");
    assert_eq!(hub.once("in"), Exit::Unreachable);
}
