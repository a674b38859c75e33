//! A provider that says what a test wants. Its keys are real: ES256, by ring.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// How it answers.
#[derive(Clone)]
pub enum Manner {
    Well,
    /// With this status and body, wherever the path begins with this.
    Instead(&'static str, u16, Vec<u8>),
    /// Half of an answer, and the end.
    Cut(&'static str),
    /// Nothing, ever.
    Silent(&'static str),
}

/// What it says.
pub struct Says {
    pub manner: Manner,
    pub metadata: Value,
    /// Of the claims of a token; null takes one away.
    pub claims: Value,
    pub userinfo: Value,
    /// Of the token's head.
    pub head: Value,
    /// The last part of the token in place of a signature.
    pub signature: Option<String>,
    /// What came with the person who was sent here last.
    pub nonce: String,
    pub challenge: String,
    /// Each request: the path.
    pub asked: Vec<String>,
    key: Key,
}

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair }
    }

    fn shown(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }
}

pub struct Fake {
    pub issuer: String,
    pub says: Arc<Mutex<Says>>,
}

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let says = Says {
            manner: Manner::Well,
            metadata: json!({}),
            claims: json!({}),
            userinfo: json!({}),
            head: json!({}),
            signature: None,
            nonce: String::new(),
            challenge: String::new(),
            asked: Vec::new(),
            key: Key::new("one"),
        };
        let says = Arc::new(Mutex::new(says));
        let (shared, own) = (says.clone(), issuer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (says, issuer) = (shared.clone(), own.clone());
                std::thread::spawn(move || answer(stream, &issuer, &says));
            }
        });
        Self { issuer, says }
    }

    pub fn set(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    /// As it was at the beginning, but for the keys.
    pub fn behave(&self) {
        self.set(|says| {
            (says.manner, says.signature) = (Manner::Well, None);
            (says.metadata, says.claims, says.userinfo, says.head) = (json!({}), json!({}), json!({}), json!({}));
            says.asked.clear();
        });
    }

    /// A new key in place of the old one.
    pub fn rotate(&self, id: &str) {
        self.set(|says| says.key = Key::new(id));
    }
}

fn answer(mut stream: TcpStream, issuer: &str, says: &Mutex<Says>) {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    let whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        (body.len() >= length.unwrap_or(0)).then_some(())
    };
    while whole(&text).is_none() {
        match stream.read(&mut part) {
            Ok(n) if n > 0 => text.push_str(&String::from_utf8_lossy(&part[..n])),
            _ => return,
        }
    }
    let path = text.split(' ').nth(1).unwrap().to_owned();
    let (status, body, manner) = {
        let mut says = says.lock().unwrap();
        says.asked.push(path.clone());
        let (status, body) = match path.as_str() {
            "/.well-known/openid-configuration" => (200, metadata(issuer, &says.metadata)),
            "/keys" => (200, json!({"keys": [{"kty": "odd"}, {"kty": "oct", "k": "AAAA"}, says.key.shown()]})),
            "/token" => token(&text, issuer, &says),
            "/me" => (200, merged(json!({"sub": "7"}), &says.userinfo)),
            _ => (404, json!({})),
        };
        (status, body.to_string().into_bytes(), says.manner.clone())
    };
    let (status, body, cut) = match manner {
        Manner::Instead(at, status, body) if path.starts_with(at) => (status, body, false),
        Manner::Cut(at) if path.starts_with(at) => (status, body, true),
        Manner::Silent(at) if path.starts_with(at) => {
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        _ => (status, body, false),
    };
    let location = if status == 302 { "Location: /elsewhere\r\n" } else { "" };
    let head = format!("HTTP/1.1 {status} X\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let shown = if cut { &body[..body.len() / 2] } else { &body };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(shown));
}

fn merged(mut base: Value, over: &Value) -> Value {
    let all = base.as_object_mut().unwrap();
    for (key, value) in over.as_object().unwrap() {
        match value {
            Value::Null => _ = all.remove(key),
            value => _ = all.insert(key.clone(), value.clone()),
        }
    }
    base
}

fn metadata(issuer: &str, over: &Value) -> Value {
    let at = |path: &str| format!("{issuer}{path}");
    let base = json!({"issuer": issuer, "authorization_endpoint": at("/auth?tenant=a"), "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"), "userinfo_endpoint": at("/me"), "scopes_supported": ["openid", "groups"]});
    merged(base, over)
}

/// The token endpoint: whoever asks must be the client, and have begun this sign-in.
fn token(text: &str, issuer: &str, says: &Says) -> (u16, Value) {
    let login = text
        .lines()
        .find_map(|line| line.strip_prefix("authorization: Basic ").or(line.strip_prefix("Authorization: Basic ")));
    let login = String::from_utf8(STANDARD.decode(login.expect("a login").trim()).unwrap()).unwrap();
    let (client, secret) = login.split_once(':').unwrap();
    let form = format!("?{}", text.split_once("\r\n\r\n").unwrap().1);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(super::word(&form, "code_verifier")));
    if (client, super::plain(secret).as_str()) != ("zentral", super::SECRET) || challenge != says.challenge {
        return (400, json!({"error": "invalid_grant", "error_description": "<b>not</b> \u{202e}yours"}));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"iss": issuer, "aud": "zentral", "sub": "7", "exp": now + 300, "iat": now, "nonce": says.nonce,
        "email": "ada@example.com", "email_verified": true, "groups": ["staff"]});
    let head = merged(json!({"alg": "ES256", "typ": "JWT", "kid": says.key.id}), &says.head);
    let [head, claims] = [head, merged(claims, &says.claims)].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{head}.{claims}");
    let signature = match &says.signature {
        Some(signature) => signature.clone(),
        None => URL_SAFE_NO_PAD.encode(says.key.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap()),
    };
    (200, json!({"id_token": format!("{message}.{signature}"), "access_token": "a", "token_type": "Bearer"}))
}
