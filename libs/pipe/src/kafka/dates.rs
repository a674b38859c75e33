//! The dates of a broker's certificate. librdkafka says of one that has expired what it says of any that it does not
//! believe, and sends people to look at their authorities.

use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::Time;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

/// How long a broker may take to show its certificate; whoever asked has been refused already.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a handshake that are read at once.
const STEP: u64 = 16 << 10;

/// What the dates of its certificate say against a broker that librdkafka does not believe, by what librdkafka says of it.
/// None: nothing, or it does not show one.
pub(super) fn wrong(reason: &str) -> Option<String> {
    let place = place(reason)?;
    let at = |time: UnixTime| Time::from_ms(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000));
    match shown(place)? {
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(format!("the certificate of {place} has expired: it was good until {}", at(not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("the certificate of {place} is not valid yet: it is good from {} on", at(not_before)))
        }
        _ => None,
    }
}

/// HOST:PORT of `ssl://HOST:PORT/ID: SSL …`, and of `GroupCoordinator: HOST:PORT: SSL …`.
fn place(reason: &str) -> Option<&str> {
    let (broker, _) = reason.split_once(": SSL ")?;
    broker.rsplit([' ', '/']).find(|part| part.contains(':'))
}

/// What is wrong with the certificate at HOST:PORT. Nobody is trusted here, so there is always something; dates are looked
/// at before signatures.
fn shown(place: &str) -> Option<CertificateError> {
    let begun = Instant::now();
    let (host, _) = place.rsplit_once(':')?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut stream = place.to_socket_addrs().ok()?.find_map(|at| TcpStream::connect_timeout(&at, PATIENCE).ok())?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    while begun.elapsed() < PATIENCE {
        while session.wants_write() {
            session.write_tls(&mut stream).ok()?;
        }
        if session.read_tls(&mut stream.by_ref().take(STEP)).ok()? == 0 {
            return None;
        }
        if let Err(rustls::Error::InvalidCertificate(why)) = session.process_new_packets() {
            return Some(why);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn where_a_broker_is_that_librdkafka_speaks_of() {
        let check = |broker: &str, want| assert_eq!(place(&format!("{broker}: SSL handshake failed: no")), want);
        check("ssl://127.0.0.1:9093/bootstrap", Some("127.0.0.1:9093"));
        check("sasl_ssl://[::1]:9093/2", Some("[::1]:9093"));
        check("GroupCoordinator: kafka-1.example.com:9093", Some("kafka-1.example.com:9093"));
        check("GroupCoordinator", None);
        assert_eq!(place("of a message"), None);
    }
}
