//! TLS session tickets under keys that outlive the process: after a restart a fleet resumes its sessions instead of
//! shaking hands anew (a full handshake costs as much as thirty log POSTs).

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use registry::db::{Db, DbError};
use registry::machines::{self, TicketKey};
use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, Iv, OutboundPlainMessage, Tls13AeadAlgorithm};
use rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
use rustls::server::ProducesTickets;
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite};

/// How long a key seals tickets.
const SEAL: Duration = Duration::from_secs(6 * 3600);
/// How long it opens them; then it is erased, so that what was recorded before stays closed for ever.
const OPEN: Duration = Duration::from_secs(12 * 3600);
/// A longer ticket is none of ours; TLS has room for no more in a record.
const TICKET_MAX: usize = 16 << 10;
const ID: usize = 16;
const NONCE: usize = 12;

/// Seals and opens tickets. A ticket is the key's id, a random nonce and a TLS 1.3 record of the library's own AEAD.
pub struct Tickets {
    aead: &'static dyn Tls13AeadAlgorithm,
    /// Newest first.
    keys: RwLock<Vec<TicketKey>>,
    turning: Mutex<()>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// With the keys of the state, and a fresh one if they are old. `None`: this build has no AEAD for them.
    pub fn load(db: &mut Db, now: i64) -> Result<Option<Self>, DbError> {
        let SupportedCipherSuite::Tls13(suite) = TLS13_CHACHA20_POLY1305_SHA256 else { return Ok(None) };
        let tickets = Self { aead: suite.aead_alg, keys: RwLock::default(), turning: Mutex::new(()) };
        tickets.turn(db, now)?;
        Ok(Some(tickets))
    }

    /// To be called now and then: makes a fresh key in time and forgets the old ones.
    pub fn turn(&self, db: &mut Db, now: i64) -> Result<(), DbError> {
        let _one = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let fresh = |key: &TicketKey| (now - ms(SEAL)..=now).contains(&key.made);
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).first().is_some_and(fresh) {
            return Ok(());
        }
        let mut keys = machines::ticket_keys(db, now - ms(OPEN))?;
        if !keys.first().is_some_and(fresh) {
            let mut key = TicketKey { id: [0; ID], secret: [0; 32], made: now };
            for bytes in [&mut key.id[..], &mut key.secret[..]] {
                getrandom::fill(bytes).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
            }
            let mut tx = db.begin()?;
            machines::add_ticket_key(&mut tx, &key, now - ms(OPEN))?;
            tx.commit()?;
            keys.insert(0, key);
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(SEAL.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.first()?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_3,
            payload: plain.into(),
        };
        let sealed = self.aead.encrypter(AeadKey::from(key.secret), Iv::from(nonce)).encrypt(message, 0).ok()?;
        Some([&key.id, &nonce[..], sealed.payload.as_ref()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(ID).filter(|_| ticket.len() <= TICKET_MAX)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.id == id)?;
        let mut sealed = sealed.to_vec();
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut sealed);
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let opened = self.aead.decrypter(AeadKey::from(key.secret), Iv::from(nonce)).decrypt(message, 0).ok()?;
        Some(opened.payload.to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn tickets_outlive_the_process_and_not_their_keys() {
        let mut db = Db::memory(&[machines::SCHEMA]).unwrap();
        let hour = 3_600_000;
        let first = Tickets::load(&mut db, 0).unwrap().unwrap();
        let plain: Vec<u8> = (0..300u16).map(|n| n.to_le_bytes()[0]).chain([0, 0]).collect();
        let ticket = first.encrypt(&plain).unwrap();
        assert_ne!(ticket, first.encrypt(&plain).unwrap());
        for (now, keys, opens) in [(hour, 1, true), (7 * hour, 2, true), (14 * hour, 2, false)] {
            let later = Tickets::load(&mut db, now).unwrap().unwrap();
            assert_eq!(later.keys.read().unwrap().len(), keys);
            assert_eq!(later.decrypt(&ticket), opens.then(|| plain.clone()), "{now}");
        }
        first.turn(&mut db, 14 * hour).unwrap();
        assert_eq!(first.decrypt(&ticket), None);

        let ticket = first.encrypt(&plain).unwrap();
        for at in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[at] ^= 1;
            assert_eq!(first.decrypt(&bad), None, "{at}");
            assert_eq!(first.decrypt(&ticket[..at]), None, "{at}");
        }
    }
}
