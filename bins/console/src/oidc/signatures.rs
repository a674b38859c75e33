//! What checks signatures: ring, as for TLS. `jsonwebtoken` is told so once a process; it signs nothing here.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature as checks;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// The algorithms that are taken: those with a key of two parts, of which we only ever see the public one.
pub const TAKEN: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// To be called before a token is looked at.
pub fn install() {
    static ONCE: Once = Once::new();
    // Nobody else in the process installs one; if so, theirs checks.
    ONCE.call_once(|| _ = RING.install_default());
}

struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() || !TAKEN.contains(algorithm) {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Key { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Key {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Key {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let rsa = match self.algorithm {
            Algorithm::RS256 => Some(&checks::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Some(&checks::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Some(&checks::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Some(&checks::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Some(&checks::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Some(&checks::RSA_PSS_2048_8192_SHA512),
            _ => None,
        };
        let done = match (rsa, self.key.kind()) {
            (Some(check), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                // Some write a zero before the modulus, which a number in ring must not have.
                let n = n.iter().position(|byte| *byte != 0).and_then(|at| n.get(at..)).unwrap_or_default();
                RsaPublicKeyComponents { n, e: e.as_slice() }.verify(check, message, signature)
            }
            (None, DecodingKeyKind::SecretOrDer(key)) => {
                let check: &dyn VerificationAlgorithm = match self.algorithm {
                    Algorithm::ES256 => &checks::ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &checks::ECDSA_P384_SHA384_FIXED,
                    Algorithm::EdDSA => &checks::ED25519,
                    _ => return Err(Error::new()),
                };
                UnparsedPublicKey::new(check, key).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        done.map_err(|_| Error::new())
    }
}
