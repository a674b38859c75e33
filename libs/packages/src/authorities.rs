//! Who vouches for the hub's certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Letters of a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;
/// Bytes of PEM that a package carries: dozens of certificates. Agents read all of it at each start.
const PEM_MAX: usize = 256 * 1024;

/// Certificates, written anew: PEM and nothing beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities(String);

impl Authorities {
    /// The certificates of a PEM file, at least one.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        if pem.len() > PEM_MAX {
            return Err(format!("has more than {} KiB", PEM_MAX / 1024));
        }
        let mut text = String::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "holds something that is no certificate")?;
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut letters = STANDARD.encode(&certificate);
            while !letters.is_empty() {
                let rest = letters.split_off(letters.len().min(PEM_LINE));
                text.push_str(&letters);
                text.push('\n');
                letters = rest;
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        if text.is_empty() { Err("holds no certificate".into()) } else { Ok(Self(text)) }
    }

    /// PEM, with a line end at its end.
    pub fn pem(&self) -> &str {
        &self.0
    }
}
