//! TLS and logins, on a broker that asks for both (`ZENTRAL_TEST_KAFKA_TLS` and what stands beside it).

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use pipe::Exit;

use crate::hub::{Hub, wait_for};

struct Broker {
    at: String,
    ca: String,
    user: String,
    password_file: String,
}

fn broker() -> Option<Broker> {
    let get = |name: &str| std::env::var(format!("ZENTRAL_TEST_KAFKA_TLS{name}")).ok();
    let Some(at) = get("") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_KAFKA_TLS is not set");
        eprintln!("skipped: no Kafka with TLS (scripts/services start kafka-tls)");
        return None;
    };
    let must = |name: &str| get(name).unwrap();
    Some(Broker { at, ca: must("_CA"), user: must("_USER"), password_file: must("_PASSWORD_FILE") })
}

impl Broker {
    fn tls(&self) -> String {
        format!("tls = {{ ca = \"{}\" }}\n", self.ca)
    }

    fn hub(&self, name: &str, sasl: &str) -> Hub {
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

    fn user(&self, mechanism: &str) -> String {
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
    assert!(error.text.contains("TLS"), "{error}");
}

/// A certificate of its own authority for 127.0.0.1, good for so many days from now on, in `cert.pem` and `key.pem`.
fn certify(dir: &std::path::Path, days: &str) {
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n").unwrap();
    for words in [
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=zentral-test -keyout key.pem -out asked.pem"
            .to_owned(),
        format!("x509 -req -in asked.pem -signkey key.pem -days {days} -extfile ext -out cert.pem"),
    ] {
        let out = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

/// A server with that certificate: whoever takes it gets on to ask for Kafka, which it is not.
fn server(dir: &std::path::Path) -> (Child, String) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let child = Command::new("openssl")
        .args(["s_server", "-accept", &free, "-cert", "cert.pem", "-key", "key.pem", "-quiet", "-rev"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the server", 20, || TcpStream::connect(&free).is_ok());
    (child, free)
}

#[test]
fn a_certificate_that_has_expired_is_said() {
    for (days, expired) in [("-1", true), ("1", false)] {
        let dir = tempfile::tempdir().unwrap();
        certify(dir.path(), days);
        let (mut child, at) = server(dir.path());
        let ca = dir.path().join("cert.pem");
        let hub = Hub::new(&at, "expired", &format!("tls = {{ ca = \"{}\" }}", ca.display()));
        let error = pipe::kafka::look(&hub.config, "in").unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        assert_eq!(error.text.contains("certificate"), expired, "{error}");
        assert_eq!(hub.once("in"), Exit::Unreachable);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
