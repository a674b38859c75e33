//! Certificates for a hub that has none: an authority of its own and, signed by it, the hub's certificate.

use event::Time;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use packages::is_host;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// How long agents may trust the authority, in days.
const CA_DAYS: i64 = 3650;
/// How long the hub's certificate holds, in days: Apple's TLS refuses longer ones.
const HUB_DAYS: i64 = 825;
/// Both hold from yesterday on: the clocks of machines differ.
const BEFORE_DAYS: i64 = 1;
/// Bytes of the text of a distinguished name (X.520 upper bound of a common name, in characters).
const COMMON_NAME_MAX: usize = 64;

/// A fresh authority and what it signed, in PEM form.
pub struct Made {
    /// Certificate of the authority: goes to the agents.
    pub ca: String,
    /// Certificate of the hub.
    pub hub: String,
    /// Its key.
    pub hub_key: String,
}

/// Makes an authority and a certificate for these names and addresses (ECDSA P-256).
///
/// The authority's key is used once and forgotten: what lies on no disk cannot be stolen to make certificates that the
/// agents believe. Before the hub's certificate ends, a new authority is made, `tls/ca.pem` holds both while packages
/// are built and rolled out anew, and then the new certificate takes its place.
pub fn make(names: &[String], now: Time) -> Result<Made, String> {
    let plain = |e: rcgen::Error| format!("cannot make certificates: {e}");
    let first = names.first().ok_or("cannot make certificates: no name to make them for")?;
    let ca_key = KeyPair::generate().map_err(plain)?;
    let mut ca = CertificateParams::default();
    // Distinct from the hub's own name, and from that of the authority before: a client that finds two equal names
    // may pick the wrong key.
    let mark: String = ca_key.public_key_raw().iter().rev().take(4).map(|b| format!("{b:02x}")).collect();
    ca.distinguished_name.push(DnType::CommonName, format!("zentral authority {mark}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut ca, now, CA_DAYS)?;

    let hub_key = KeyPair::generate().map_err(plain)?;
    let mut hub = CertificateParams::new(names).map_err(plain)?;
    hub.distinguished_name.push(DnType::CommonName, first.chars().take(COMMON_NAME_MAX).collect::<String>());
    hub.is_ca = IsCa::ExplicitNoCa;
    hub.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    hub.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    hub.use_authority_key_identifier_extension = true;
    validity(&mut hub, now, HUB_DAYS)?;

    let ca_certificate = ca.self_signed(&ca_key).map_err(plain)?;
    let hub_certificate = hub.signed_by(&hub_key, &Issuer::from_params(&ca, &ca_key)).map_err(plain)?;
    Ok(Made { ca: ca_certificate.pem(), hub: hub_certificate.pem(), hub_key: hub_key.serialize_pem() })
}

fn validity(params: &mut CertificateParams, now: Time, days: i64) -> Result<(), String> {
    let at = |days: i64| {
        let now = Timestamp::from_millisecond(now.ms()).map_err(|e| e.to_string())?;
        let day = now.to_zoned(TimeZone::UTC).checked_add(days.days()).map_err(|e| e.to_string())?.date();
        let (month, date) = (u8::try_from(day.month()).unwrap_or(1), u8::try_from(day.day()).unwrap_or(1));
        Ok::<_, String>(rcgen::date_time_ymd(day.year().into(), month, date))
    };
    (params.not_before, params.not_after) = (at(-BEFORE_DAYS)?, at(days - BEFORE_DAYS)?);
    Ok(())
}

/// The names that a hub's certificate bears: the host of its URL, this machine's own, and those of the loopback.
pub fn names(host: &str) -> Vec<String> {
    let own = std::process::Command::new("uname").arg("-n").output().ok();
    let own = own.and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    let mut names = vec![host.trim_matches(['[', ']']).to_ascii_lowercase()];
    for name in [own.trim().to_ascii_lowercase().as_str(), "localhost", "127.0.0.1", "::1"] {
        if is_host(name) && !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use std::sync::Arc;

    /// Whether a client that trusts `ca` only takes this certificate for `name`.
    fn accepted(made: &Made, ca: &str, name: &str) -> bool {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(ring.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(made.hub.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(made.hub_key.as_bytes()).unwrap(),
            )
            .unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        true
    }

    #[test]
    fn the_hub_is_believed_by_its_names_and_by_nobody_elses() {
        let names = names("Hub.Example.com");
        assert_eq!(names.first().unwrap(), "hub.example.com");
        let made = make(&names, Time::now()).unwrap();
        let other = make(&names, Time::now()).unwrap();
        for (ca, name, want) in [
            (&made.ca, "hub.example.com", true),
            (&made.ca, "localhost", true),
            (&made.ca, "127.0.0.1", true),
            (&made.ca, "::1", true),
            (&made.ca, "example.com", false),
            (&made.ca, "192.0.2.1", false),
            (&other.ca, "localhost", false),
        ] {
            assert_eq!(accepted(&made, ca, name), want, "{name}");
        }
    }

    #[test]
    fn it_ends_in_time() {
        const DAY: i64 = 86_400_000;
        let now = Time::now();
        for (made_ago, want) in [(0, true), (800, true), (900, false)] {
            let made = make(&["localhost".into()], Time::from_ms(now.ms() - made_ago * DAY)).unwrap();
            assert_eq!(accepted(&made, &made.ca, "localhost"), want, "{made_ago} days later");
        }
    }

    #[test]
    fn hosts() {
        for (text, want) in [
            ("hub.example.com", true),
            ("localhost", true),
            ("192.0.2.1", true),
            ("[2001:db8::1]", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a b", false),
            ("hub\"; rm", false),
            ("h_b", false),
        ] {
            assert_eq!(is_host(text), want, "{text}");
        }
    }
}
