//! Certificate and key, read at the start and again at each reload.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;

use crate::conf::TlsFiles;

/// TLS 1.2 and 1.3, HTTP/1.1 only. The error names the file.
pub fn config(files: &TlsFiles, tickets: Option<Arc<dyn ProducesTickets>>) -> Result<Arc<ServerConfig>, String> {
    // The provider is named, so that no other crate's choice of a default can change it.
    let provider = Arc::new(ring::default_provider());
    let wrong = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, &e))?;
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|e| e.to_string())?.with_no_client_auth();
    let mut config = builder.with_single_cert(certificates(&files.cert)?, key).map_err(|e| wrong(&files.cert, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Some(tickets) = tickets {
        config.ticketer = tickets;
    }
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    if all.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(all) }
}
