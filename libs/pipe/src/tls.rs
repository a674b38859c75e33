//! What a listener speaks TLS with: certificate, key and the authority of its clients, read at the start and again at each
//! reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::config::{Finding, Settings};

/// `tls = { cert, key, client_ca }` of a stage.
#[derive(Debug, Clone)]
pub struct Files {
    /// Chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities that certificates of clients are of, PEM; none: clients are not asked for any.
    pub client_ca: Option<PathBuf>,
}

/// What becomes of a client without a certificate, where there is an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// It is let on: whether it must have one is for somebody else to say.
    Asked,
    /// The handshake ends.
    Needed,
}

/// SHA-256 of the certificates of an authority; of nothing where there is none.
pub type Authority = [u8; 32];

impl Files {
    /// Reads the key `tls` of a table; what is wrong is said there.
    pub fn read(table: &mut Settings) -> Option<Self> {
        let mut tls = table.table("tls")?;
        let client_ca = tls.path("client_ca");
        let (cert, key) = (tls.required_str("cert"), tls.required_str("key"));
        let base = tls.base();
        table.absorb(tls);
        Some(Self { cert: base.join(cert?), key: base.join(key?), client_ca })
    }
}

/// TLS 1.2 and 1.3, HTTP/1.1 only. The error names the file.
pub fn config(files: &Files, clients: Clients) -> Result<(ServerConfig, Authority), String> {
    // The provider is named, so that no other crate's choice of a default can change it.
    let provider = Arc::new(ring::default_provider());
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
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = match clients {
                Clients::Asked => verifier.allow_unauthenticated(),
                Clients::Needed => verifier,
            };
            versions.with_client_cert_verifier(verifier.build().map_err(|e| wrong(path, &e))?)
        }
    };
    let mut config = builder.with_single_cert(certificates(&files.cert)?, key).map_err(|e| wrong(&files.cert, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, mark.finalize().into()))
}

/// Whether the files can be read and belong together, said at the file's name in the table. They are no part of the
/// configuration: this is for `check`, on the machine that they lie on.
pub fn check(table: &Settings, files: &Files, clients: Clients) -> Vec<Finding> {
    let Err(why) = config(files, clients) else { return Vec::new() };
    let mut table = table.clone();
    let named = table.table("tls").and_then(|mut tls| {
        let mut words = ["cert", "key", "client_ca"].into_iter().filter_map(|key| tls.str(key)).collect::<Vec<_>>();
        words.retain(|word| why.starts_with(&format!("{}:", table.base().join(word).display())));
        words.pop()
    });
    table.fail_word("tls", &named.unwrap_or_default(), why);
    table.finish().into_iter().filter(|found| !found.text.starts_with("unknown key")).collect()
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(path, &e))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(path, &e))?;
    if all.is_empty() { Err(wrong(path, &"holds no certificate")) } else { Ok(all) }
}
