//! A PostgreSQL server as its URL names it, and how it is spoken to.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors::{reason, told};
use super::{DbError, block};

/// How long a connection to one host may take to be there, login and the question whether it takes writes included: one
/// that takes connections and says nothing must not keep us from the next.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Hosts in one URL.
const HOSTS_MAX: usize = 8;
/// A connection on which nothing moved for so long is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// What was sent and not acknowledged for so long ends the connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A server, a database and who logs in. Its `Debug` and `Display` hold no password.
#[derive(Clone)]
pub struct Server(Arc<Known>);

struct Known {
    /// Or why nobody can connect.
    way: Result<Way, String>,
    /// `HOST:PORT/DATABASE`.
    label: String,
}

struct Way {
    /// One for each host of the URL, asked in their order.
    hosts: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(&self.0.label).finish()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "postgres {}", self.0.label)
    }
}

impl Server {
    /// Reads the URL. `sslmode` is `disable` or `require`, and where it is not said a server on this machine is spoken to
    /// in the clear, any other with TLS. With TLS the certificate and the name in it are always verified, against the
    /// authorities in the file `sslrootcert` or, without it, those that everybody trusts. The error is a lower-case
    /// fragment without the URL, which holds a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err("no URL that begins with postgres://".into());
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        if place.matches('@').count() > 1 || query.contains('@') {
            // What comes after the first would be taken for a host, and told.
            return Err("more than one `@`: in a name or a password it is written %40, and `?` %3F".into());
        }
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(unescaped(value)?),
                _ => rest.push(pair),
            }
        }
        let read =
            |text: &str| Config::from_str(text).map_err(|e| format!("no URL of a PostgreSQL database: {}", reason(&e)));
        let config = read(&format!("{place}?{}", rest.join("&")))?;
        if config.get_hosts().is_empty() {
            return Err("the URL of the database names no host".into());
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err("the URL names no database".into());
        }
        if config.get_hosts().len() > HOSTS_MAX || !config.get_hostaddrs().is_empty() {
            return Err(format!("a URL names up to {HOSTS_MAX} hosts, and no hostaddr"));
        }
        let secure = match mode {
            None => roots.is_some() || !config.get_hosts().iter().all(is_here),
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(_) => return Err("sslmode must be disable, require or verify-full".into()),
        };
        // All but where it is, to which each host is added.
        let scheme = place.find("://").map_or(0, |at| at + 3);
        let login = place.find('@').map_or(scheme, |at| at + 1);
        let path = place.get(login..).and_then(|rest| rest.find('/')).map_or(place.len(), |at| login + at);
        rest.retain(|pair| !matches!(pair.split_once('='), Some(("host" | "port", _))));
        let parts = [place.get(..login), place.get(path..)].map(Option::unwrap_or_default).concat();
        let mut login = read(&format!("{parts}?{}", rest.join("&")))?;
        login
            .ssl_mode(if secure { SslMode::Require } else { SslMode::Disable })
            .application_name("zentral")
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(SILENCE_MAX);
        let tls = if secure { Some(MakeRustlsConnect::new(tls(roots.as_deref())?)) } else { None };
        let label = label(&config);
        let hosts = config.get_hosts().iter().enumerate().map(|(i, host)| {
            let mut one = login.clone();
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(folder) => one.host_path(folder),
            };
            one.port(port(&config, i));
            one
        });
        let hosts = hosts.collect();
        Ok(Self(Arc::new(Known { way: Ok(Way { hosts, tls }), label })))
    }

    /// A server of which it is not known where it is: whoever needs it is told why.
    pub fn unknown(why: String) -> Self {
        Self(Arc::new(Known { way: Err(why), label: "database".into() }))
    }

    /// A new connection, which lives until the client is dropped.
    pub(super) fn connect(&self) -> Result<Client, DbError> {
        let way = self.0.way.as_ref().map_err(|why| DbError::Other(why.clone()))?;
        let mut failed = DbError::Other("the URL of the database names no host".into());
        for config in &way.hosts {
            match block::wait(CONNECT_LIMIT, connect(config, way.tls.clone())) {
                Ok(client) => return Ok(client),
                // What may pass is told, where one host is away and the other lets nobody in.
                Err(why) if matches!(failed, DbError::Unreachable(_)) && !matches!(why, DbError::Unreachable(_)) => {}
                Err(why) => failed = why,
            }
        }
        Err(match failed {
            DbError::Unreachable(text) => DbError::Unreachable(format!("{self}: {text}")),
            DbError::Other(text) => DbError::Other(format!("{self}: {text}")),
            other => other,
        })
    }

    /// Connects and asks nothing but whether the server answers.
    ///
    /// # Errors
    /// It does not answer, or lets nobody in.
    pub fn try_out(&self) -> Result<(), DbError> {
        let client = self.connect()?;
        block::wait(CONNECT_LIMIT, async { client.batch_execute("SELECT 1").await.map_err(|e| told(&e)) })
    }
}

/// The port of a host, by its place in the URL.
fn port(config: &Config, i: usize) -> u16 {
    config.get_ports().get(i).or_else(|| config.get_ports().first()).copied().unwrap_or(5432)
}

async fn connect(config: &Config, tls: Option<MakeRustlsConnect>) -> Result<Client, DbError> {
    let connected = match tls {
        None => config.connect(tokio_postgres::NoTls).await.map(|(client, connection)| {
            tokio::spawn(connection);
            client
        }),
        Some(tls) => config.connect(tls).await.map(|(client, connection)| {
            tokio::spawn(connection);
            client
        }),
    };
    connected.map_err(|e| told(&e))
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

fn label(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let port = port(config, i);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

fn tls(roots: Option<&str>) -> Result<ClientConfig, String> {
    let mut store = RootCertStore::empty();
    match roots {
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let fail = |what: String| format!("sslrootcert {file}: {what}");
            let certificates = CertificateDer::pem_file_iter(Path::new(file)).map_err(|e| fail(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| fail(e.to_string()))?;
                store.add(certificate).map_err(|e| fail(e.to_string()))?;
            }
            if store.is_empty() {
                return Err(fail("no certificate in it".into()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(config)
}

/// `%2F` and its like.
fn unescaped(value: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(b) = rest.next() {
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let digit = |d: Option<u8>| char::from(d?).to_digit(16);
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err("sslrootcert: `%` without two hex digits".into());
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| "sslrootcert is not UTF-8".into())
}
