//! Who signs installers: a certificate, those that vouch for it, and its key.
//!
//! RSA with SHA-1 (RFC 8017 § 8.2), as `productsign` signs to this day: it is the one form that every macOS reads. No clock
//! and no time authority is asked, so the same archive gets the same signature.

use jiff::Timestamp;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, PrivateKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::ext::pkix::ExtendedKeyUsage;

/// Bytes of a file of certificates.
const PEM_MAX: usize = 256 * 1024;
/// Certificates of a chain: Apple's have three.
const CHAIN_MAX: usize = 10;
/// Bits of a key.
const BITS_MIN: u32 = 2048;
/// DER in front of a SHA-1 that is signed (RFC 8017 § 9.2, note 1).
const SHA1_PREFIX: [u8; 15] = *b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
/// Purposes (RFC 5280 § 4.2.1.12) with which a certificate may sign an installer: any, code, and Apple's two own (Developer
/// ID Installer, Mac Installer Distribution).
const PURPOSES: [&str; 4] = ["2.5.29.37.0", "1.3.6.1.5.5.7.3.3", "1.2.840.113635.100.4.13", "1.2.840.113635.100.4.9"];

/// A key with its certificate.
pub struct Identity {
    /// The signer's first, DER.
    chain: Vec<Vec<u8>>,
    /// The common name of the signer, else the whole name.
    name: String,
    /// Seconds since 1970, the first and the last.
    valid: (i64, i64),
    doubts: Vec<&'static str>,
    key: PrivateKey,
}

/// Which of the two files does not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The file of certificates.
    Certificate(String),
    /// The key.
    Key(String),
}

impl Identity {
    /// From PEM: the signer's certificate and then those that vouch for it, each by the next; and the key, PKCS#8 or PKCS#1,
    /// not encrypted.
    ///
    /// # Errors
    /// What is wrong, in words that hold nothing of the key.
    pub fn read(certificates: &[u8], key: &[u8]) -> Result<Self, Unfit> {
        let chain = chain(certificates).map_err(Unfit::Certificate)?;
        let parsed: Result<Vec<Certificate>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
        let parsed = parsed.map_err(|e| Unfit::Certificate(format!("holds what is no certificate: {e}")))?;
        let Some(own) = parsed.first() else { return Err(Unfit::Certificate("holds no certificate".into())) };
        let broken = parsed.windows(2).position(|pair| match pair {
            [below, above] => below.tbs_certificate().issuer() != above.tbs_certificate().subject(),
            _ => false,
        });
        if let Some(at) = broken {
            let text = format!("certificate {} is not issued by the one after it: put each before its issuer", at + 1);
            return Err(Unfit::Certificate(text));
        }
        let key = private_key(key).map_err(Unfit::Key)?;
        let bits = u32::try_from(key.size() * 8).unwrap_or(u32::MAX);
        if bits < BITS_MIN {
            return Err(Unfit::Key(format!("has {bits} bits; it takes {BITS_MIN} to sign an installer")));
        }
        let public = key.to_public_key().to_pkcs1_der().map_err(|_| Unfit::Key("has no public key".into()))?;
        let tbs = own.tbs_certificate();
        if tbs.subject_public_key_info().subject_public_key.as_bytes() != Some(public.as_bytes()) {
            return Err(Unfit::Key("is not the key of the certificate".into()));
        }
        let seconds =
            |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        let valid = (seconds(tbs.validity().not_before), seconds(tbs.validity().not_after));
        Ok(Self { name: name(own), valid, doubts: doubts(&parsed), chain, key })
    }

    /// Who signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last second of the certificate, since 1970.
    pub fn ends(&self) -> i64 {
        self.valid.1
    }

    /// Whether the certificate is valid at that second since 1970; else the words for it.
    ///
    /// # Errors
    /// It is not.
    pub fn valid_at(&self, now: i64) -> Result<(), String> {
        let day =
            |at: i64| Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.strftime("%F").to_string());
        match self.valid {
            (first, _) if now < first => Err(format!("the certificate is valid from {} on only", day(first))),
            (_, last) if now > last => Err(format!("the certificate expired on {}", day(last))),
            _ => Ok(()),
        }
    }

    /// What is most likely not meant: macOS may refuse what it signs.
    pub fn doubts(&self) -> &[&'static str] {
        &self.doubts
    }

    /// The certificates, DER, the signer's first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(Vec::as_slice)
    }

    /// Bytes of a signature.
    pub fn signature_len(&self) -> usize {
        self.key.size()
    }

    /// The signature of a SHA-1: always the same for the same one. (Blinding, which hides the key from whoever measures the
    /// time, leaves no trace in it.)
    pub fn sign(&self, sha1: &[u8; 20]) -> Result<Vec<u8>, rsa::Error> {
        self.key.sign(Pkcs1v15Sign { hash_len: Some(sha1.len()), prefix: SHA1_PREFIX.into() }, sha1)
    }
}

fn chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if pem.len() > PEM_MAX {
        return Err(format!("has more than {} KiB", PEM_MAX / 1024));
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(CHAIN_MAX + 1).collect();
    let all = all.map_err(|_| "holds something that is no certificate")?;
    if all.len() > CHAIN_MAX {
        return Err(format!("holds more than {CHAIN_MAX} certificates"));
    }
    Ok(all.iter().map(|one| one.to_vec()).collect())
}

fn private_key(pem: &[u8]) -> Result<PrivateKey, String> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM, or an encrypted one")?;
    let wrong = "is no RSA key; installers are signed with RSA";
    match &der {
        PrivateKeyDer::Pkcs8(der) => PrivateKey::from_pkcs8_der(der.secret_pkcs8_der()).map_err(|_| wrong.to_owned()),
        PrivateKeyDer::Pkcs1(der) => PrivateKey::from_pkcs1_der(der.secret_pkcs1_der()).map_err(|_| wrong.to_owned()),
        _ => Err(wrong.to_owned()),
    }
}

fn name(of: &Certificate) -> String {
    let subject = of.tbs_certificate().subject();
    let parts = subject.iter().filter(|part| part.oid == CN);
    let common = parts.filter_map(|part| std::str::from_utf8(part.value.value()).ok()).next();
    common.map_or_else(|| subject.to_string(), str::to_owned)
}

fn doubts(chain: &[Certificate]) -> Vec<&'static str> {
    let mut found = Vec::new();
    if let [own] = chain
        && own.tbs_certificate().issuer() != own.tbs_certificate().subject()
    {
        found.push(
            "the certificate stands alone: unless a root that every Mac believes issued it, put those between it and the \
             root after it",
        );
    }
    let purposes =
        chain.first().and_then(|own| own.tbs_certificate().get_extension::<ExtendedKeyUsage>().ok().flatten());
    let fits = |oid: &ObjectIdentifier| PURPOSES.iter().any(|known| oid.to_string() == *known);
    if purposes.is_some_and(|(_, ExtendedKeyUsage(all))| !all.iter().any(fits)) {
        found.push("the certificate is not for installers (its purposes name neither code nor Apple's installer)");
    }
    found
}
