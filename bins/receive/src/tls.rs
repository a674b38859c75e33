//! Certificate, key and the authority of the clients, read at the start and again at each reload.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::conf::TlsFiles;

/// What connections are accepted with.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Versions, certificate and key.
    pub config: Arc<ServerConfig>,
    /// A digest of the authority that clients' certificates are of.
    pub authority: Authority,
}

/// SHA-256 of the certificates of an authority; of nothing where there is none.
pub type Authority = [u8; 32];

/// TLS 1.2 and 1.3, HTTP/1.1 only. With an authority clients are asked for a certificate; one that shows none is let on,
/// for whether it must is for its enrolment to say. The error names the file.
pub fn config(files: &TlsFiles, tickets: Option<Arc<dyn ProducesTickets>>) -> Result<Tls, String> {
    // The provider is named, so that no other crate's choice of a default can change it.
    let provider = Arc::new(ring::default_provider());
    let wrong = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, &e))?;
    let versions = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| e.to_string())?;
    let mut mark = Sha256::new();
    let builder = match &files.client_ca {
        None => versions.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                mark.update(&root);
                roots.add(root).map_err(|e| wrong(path, &e))?;
            }
            let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).allow_unauthenticated();
            versions.with_client_cert_verifier(clients.build().map_err(|e| wrong(path, &e))?)
        }
    };
    let mut config = builder.with_single_cert(certificates(&files.cert)?, key).map_err(|e| wrong(&files.cert, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let authority = mark.finalize().into();
    if let Some(tickets) = tickets {
        config.ticketer = Arc::new(Marked { tickets, mark: authority });
    }
    Ok(Tls { config: Arc::new(config), authority })
}

/// Tickets that only open under the authority that they were made under: a session that is resumed shows no certificate,
/// it has the one that it was begun with.
#[derive(Debug)]
struct Marked {
    tickets: Arc<dyn ProducesTickets>,
    mark: Authority,
}

impl ProducesTickets for Marked {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&[&self.mark, plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        Some(self.tickets.decrypt(ticket)?.strip_prefix(&self.mark)?.to_vec())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    if all.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(all) }
}
