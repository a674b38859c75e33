//! Certificates of people: with `client_ca` the console speaks with nobody who has none, and a reload changes whose are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::hub::{Hub, signal};

/// An authority, written to this file.
fn authority(hub: &Hub, file: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(hub.path(file), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

type Certificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(issuer: &Issuer<'static, KeyPair>) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["ada".to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    (vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// The status of the page for signing in; none: the connection ended before.
fn asked(hub: &Hub, port: u16, certificate: Option<&Certificate>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    CertificateDer::pem_slice_iter(&hub.ca()).for_each(|one| roots.add(one.unwrap()).unwrap());
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let client = match certificate {
        Some((chain, key)) => client.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => client.with_no_client_auth(),
    };
    let tls = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = StreamOwned::new(tls, tcp);
    stream.write_all(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().map(str::to_owned)
}

#[test]
fn nobody_without_a_certificate() {
    let tls = "tls = { cert = \"tls/hub.pem\", key = \"tls/hub.key\", client_ca = \"people.pem\" }\n";
    let (hub, port) = browser::hub("", tls);
    let missing = hub.run(&["check"]);
    let said = String::from_utf8_lossy(&missing.stdout).into_owned() + &String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && said.contains("people.pem"), "{said}");

    let (people, strangers) = (authority(&hub, "people.pem"), authority(&hub, "strangers.pem"));
    let (ada, eve) = (certificate(&people), certificate(&strangers));
    let log = std::fs::File::create(hub.path("up.log")).unwrap();
    let mut alone = hub.command(&["run", "console"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
    hub.wait("the console", 30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let ok = || Some("HTTP/1.1 200 OK".to_owned());
    assert_eq!(asked(&hub, port, Some(&ada)), ok(), "{}", hub.log());
    assert_eq!(asked(&hub, port, None), None, "without one not even the page for signing in");
    assert_eq!(asked(&hub, port, Some(&eve)), None, "of another authority");

    // Another authority, from the reload on.
    std::fs::copy(hub.path("strangers.pem"), hub.path("people.pem")).unwrap();
    signal(i32::try_from(alone.id()).unwrap(), Signal::HUP);
    hub.wait("the reload", 30, || asked(&hub, port, Some(&eve)) == ok());
    assert_eq!(asked(&hub, port, Some(&ada)), None);
    // A file that cannot be read changes nothing.
    std::fs::write(hub.path("people.pem"), "nothing").unwrap();
    signal(i32::try_from(alone.id()).unwrap(), Signal::HUP);
    hub.wait("the reload", 30, || hub.log().contains("people.pem: holds no certificate"));
    assert_eq!(asked(&hub, port, Some(&eve)), ok());
    alone.kill().unwrap();
    alone.wait().unwrap();
}
