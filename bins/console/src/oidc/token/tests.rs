//! Keys and signatures; what claims must say is in `tests/oidc/misbehaves.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;

fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn keys(all: Value) -> Vec<Jwk> {
    serde_json::from_value(all).unwrap()
}

/// A token that says what it must, with this head.
fn token(head: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({"iss": "i", "aud": "c", "sub": "s", "nonce": "n", "iat": now, "exp": now + 60});
    let message = format!("{}.{}", part(head.to_string()), part(claims.to_string()));
    format!("{message}.{}", part(sign(message.as_bytes())))
}

fn judged(token: &str, keys: &[Jwk]) -> Result<(), Fault> {
    let now = event::Time::now().ms();
    check(token, keys, &Wanted { issuer: "i", client: "c", nonce: "n", began: now, now }).map(|_| ())
}

#[test]
fn each_algorithm_by_its_own_key() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    let p384 = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let point = p384.public_key().as_ref();
    let ec = json!({"kty": "EC", "crv": "P-384", "kid": "a", "x": part(&point[1..49]), "y": part(&point[49..])});
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": part(ed.public_key())});
    let shown = keys(json!([ec, okp]));
    let by_ec = |message: &[u8]| p384.sign(&random, message).unwrap().as_ref().to_vec();
    let by_ed = |message: &[u8]| ed.sign(message).as_ref().to_vec();
    assert_eq!(judged(&token(&json!({"alg": "ES384", "kid": "a"}), by_ec), &shown), Ok(()));
    assert_eq!(judged(&token(&json!({"alg": "EdDSA", "kid": "b"}), by_ed), &shown), Ok(()));
    assert_eq!(judged(&token(&json!({"alg": "EdDSA"}), by_ed), &shown), Ok(()), "the only one that fits");
    // The name of one and the hand of another.
    for (head, signed) in [
        (json!({"alg": "ES384", "kid": "a"}), by_ed(b"x")),
        (json!({"alg": "ES256", "kid": "a"}), by_ec(b"x")),
        (json!({"alg": "ES384", "kid": "a"}), by_ec(b"x")),
    ] {
        let refused = judged(&token(&head, |_| signed.clone()), &shown);
        assert!(matches!(refused, Err(Fault::Wrong(_))), "{head}: {refused:?}");
    }
    for head in
        [json!({"alg": "EdDSA", "kid": "a"}), json!({"alg": "ES384", "kid": "b"}), json!({"alg": "RS256", "kid": "a"})]
    {
        assert_eq!(judged(&token(&head, by_ed), &shown), Err(Fault::NoKey), "{head}");
    }
    // A public key is no secret: what was made with it as one is not taken.
    let refused = judged(&token(&json!({"alg": "HS384", "kid": "a"}), by_ec), &shown);
    assert!(matches!(refused, Err(Fault::Wrong(_))), "{refused:?}");
    let two = keys(json!([okp, okp]));
    assert_eq!(judged(&token(&json!({"alg": "EdDSA"}), by_ed), &two), Err(Fault::NoKey), "which one?");
    for (key, value) in [("use", "enc"), ("alg", "ES256")] {
        let mut odd = okp.clone();
        odd[key] = value.into();
        assert_eq!(
            judged(&token(&json!({"alg": "EdDSA", "kid": "b"}), by_ed), &keys(json!([odd]))),
            Err(Fault::NoKey),
            "{key}"
        );
    }
    for broken in ["", "a", "a.b", "a.b.c", "....", &"a.".repeat(100_000)] {
        assert!(matches!(judged(broken, &shown), Err(Fault::Wrong(_))));
    }
}
