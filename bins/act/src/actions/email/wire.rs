//! The connection to a mail server: secret where it must be, and with an end to what the server may say.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Security, Server};

/// How much a server may say in one connection, in bytes.
const SAID_MAX: usize = 1 << 20;
/// How long making the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a farewell may take: what was sent is sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a server is reached.
pub struct Wire {
    host: String,
    port: u16,
    secret: Secrecy,
    login: Option<Credentials>,
    hello: ClientId,
}

enum Secrecy {
    First(TlsConnector, ServerName<'static>),
    Start(TlsParameters),
    None,
}

/// Why it did not work.
pub enum Trouble {
    /// There was no connection: nothing was sent.
    Unreached(String),
    /// The server said so, or stopped talking.
    Smtp(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

impl Wire {
    /// `login`: user and password.
    pub fn new(server: &Server, login: Option<(String, String)>) -> Result<Self, String> {
        let host = server.host.clone();
        let secret = match server.security {
            Security::Plain => Secrecy::None,
            Security::Tls => {
                let name = ServerName::try_from(host.clone()).map_err(|_| format!("`{host}` is no name of a host"))?;
                Secrecy::First(TlsConnector::from(Arc::new(trust(server.ca.as_ref())?)), name)
            }
            Security::StartTls => {
                let mut tls = TlsParameters::builder(host.clone());
                for pem in remote::roots::extra(server.ca.as_deref())? {
                    let certificate = Certificate::from_pem(&pem.bytes);
                    let bad = |_| format!("{} holds no certificates", pem.path.display());
                    tls = tls.add_root_certificate(certificate.map_err(bad)?);
                }
                Secrecy::Start(tls.build_rustls().map_err(|e| format!("no TLS for {host}: {e}"))?)
            }
        };
        let login = login.map(|(user, password)| Credentials::new(user, password));
        Ok(Self { host, port: server.port, secret, login, hello: ClientId::default() })
    }

    /// One mail.
    pub async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), Trouble> {
        let mut connection = self.connect().await?;
        connection.send(envelope, mail).await?;
        let _ = tokio::time::timeout(FAREWELL, connection.quit()).await;
        Ok(())
    }

    /// Connects and logs in.
    pub async fn greet(&self) -> Result<(), Trouble> {
        let mut connection = self.connect().await?;
        let _ = tokio::time::timeout(FAREWELL, connection.quit()).await;
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let unreached = |why: String| Trouble::Unreached(format!("no connection to {}: {why}", self.host));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = stream.map_err(|_| unreached(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?;
        let stream = Bounded { stream: stream.map_err(|e| unreached(e.to_string()))?, left: SAID_MAX };
        let stream: Box<dyn AsyncTokioStream> = match &self.secret {
            Secrecy::First(tls, name) => {
                let stream = tls.connect(name.clone(), stream).await.map_err(|e| unreached(e.to_string()))?;
                Box::new(Wrapped(stream))
            }
            _ => Box::new(stream),
        };
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?;
        if let Secrecy::Start(tls) = &self.secret {
            connection.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }
}

/// The well-known authorities, and those of the configuration.
fn trust(ca: Option<&PathBuf>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in remote::roots::extra(ca.map(PathBuf::as_path))? {
        let bad = || format!("{} holds no certificates", pem.path.display());
        for certificate in CertificateDer::pem_slice_iter(&pem.bytes) {
            roots.add(certificate.map_err(|_| bad())?).map_err(|_| bad())?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|e| format!("no TLS: {e}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A stream of which no more than `left` bytes are read.
#[derive(Debug)]
struct Bounded {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other(format!("the server says more than {SAID_MAX} bytes"))));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

/// The same inside TLS.
#[derive(Debug)]
struct Wrapped(tokio_rustls::client::TlsStream<Bounded>);

impl AsyncRead for Wrapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Wrapped {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}
