//! Enrolments: who may enrol machines into which unit. Nothing secret is stored: the secret is computed from the
//! server key, so a package can be built again any time and revoking only raises the generation (design § 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::db::{Db, DbError, Row, Schema, Tx};

/// The tables of `registry.db`.
pub const SCHEMA: Schema = Schema {
    name: "registry",
    migrations: &["CREATE TABLE enrolments (
            id TEXT PRIMARY KEY, unit TEXT NOT NULL, source TEXT NOT NULL, generation BIGINT NOT NULL,
            quota BIGINT, expires BIGINT, tags TEXT NOT NULL, revoked BIGINT NOT NULL, created BIGINT NOT NULL);
        CREATE TABLE orders (
            id TEXT PRIMARY KEY, verb TEXT NOT NULL, target TEXT NOT NULL, created BIGINT NOT NULL);"],
};

/// The enrolments whose machines must show a certificate of theirs, in `registry.db`.
pub const CERTIFICATES: Schema =
    Schema { name: "certificates", migrations: &["CREATE TABLE certified_enrolments (enrolment TEXT PRIMARY KEY);"] };

/// One enrolment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enrolment {
    /// Its name in the secret; `[a-z0-9]+`.
    pub id: String,
    /// The unit that its machines belong to.
    pub unit: String,
    /// The source that may use it.
    pub source: String,
    /// Raised by each revocation.
    pub generation: i64,
    /// How many distinct machines may enrol; none: any number.
    pub quota: Option<u64>,
    /// When it ends, in ms since 1970.
    pub expires: Option<i64>,
    /// Tags that its machines get.
    pub tags: Vec<String>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// When it was made, in ms since 1970.
    pub created: i64,
    /// Whether its machines must show a client certificate.
    pub client_certificate: bool,
}

/// Why a secret is not accepted. The caller's machine hears only that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Not of the form `zs1.ID.GENERATION.HMAC`, or the HMAC is wrong.
    Bad,
    /// No such enrolment any more.
    Unknown,
    /// Revoked, or of an older generation.
    Revoked,
    /// Past its end.
    Expired,
    /// Made for another source.
    WrongSource,
    /// It asks for a client certificate, and none was shown.
    NoCertificate,
}

impl Denied {
    /// The word for logs, events and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bad => "secret_bad",
            Self::Unknown => "secret_unknown",
            Self::Revoked => "secret_revoked",
            Self::Expired => "secret_expired",
            Self::WrongSource => "secret_wrong_source",
            Self::NoCertificate => "no_certificate",
        }
    }
}

/// The server key: 32 random bytes in `data/secret.key`.
pub struct ServerKey(pub [u8; 32]);

impl ServerKey {
    /// The secret of an enrolment, as it goes into packages.
    pub fn secret(&self, id: &str, generation: i64) -> String {
        format!("zs1.{id}.{generation}.{}", URL_SAFE_NO_PAD.encode(self.mac(id, generation).finalize().into_bytes()))
    }

    fn mac(&self, id: &str, generation: i64) -> Hmac<Sha256> {
        // A key of any length is taken by HMAC, so the empty fallback is never used.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(id.as_bytes());
        mac.update(b" ");
        mac.update(generation.to_string().as_bytes());
        mac
    }

    /// A mark that nobody without the key can make: of these words, which hold no NUL.
    pub fn mark(&self, words: &[&str]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        for word in words {
            mac.update(word.as_bytes());
            mac.update(b"\0");
        }
        mac.finalize().into_bytes().into()
    }

    /// The id and generation that a genuine secret names; compared in constant time.
    pub fn open(&self, secret: &str) -> Option<(String, i64)> {
        let mut parts = secret.trim().split('.');
        let (version, id, generation, tag) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "zs1" || parts.next().is_some() || id.len() > 64 {
            return None;
        }
        let generation: i64 = generation.parse().ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        self.mac(id, generation).verify_slice(&tag).ok()?;
        Some((id.to_owned(), generation))
    }
}

/// The enrolment that `secret` opens for `source` at `now` (ms since 1970). Whether there is room in its quota is for
/// the one who counts machines to say, whether a certificate was shown for the one who speaks TLS.
pub fn verify(
    db: &Db,
    key: &ServerKey,
    secret: &str,
    source: &str,
    now: i64,
) -> Result<Result<Enrolment, Denied>, DbError> {
    let Some((id, generation)) = key.open(secret) else { return Ok(Err(Denied::Bad)) };
    let Some(enrolment) = get(db, &id)? else { return Ok(Err(Denied::Unknown)) };
    Ok(if enrolment.revoked || enrolment.generation != generation {
        Err(Denied::Revoked)
    } else if enrolment.expires.is_some_and(|end| end <= now) {
        Err(Denied::Expired)
    } else if enrolment.source != source {
        Err(Denied::WrongSource)
    } else {
        Ok(enrolment)
    })
}

/// A new enrolment under a random id.
pub fn create(
    db: &mut Db,
    unit: &str,
    source: &str,
    quota: Option<u64>,
    expires: Option<i64>,
    tags: &[String],
    now: i64,
) -> Result<Enrolment, DbError> {
    let (unit, source, tags) = (unit.to_owned(), source.to_owned(), tags.to_vec());
    make(db, Enrolment { unit, source, quota, expires, tags, ..Enrolment::default() }, now)
}

/// A new enrolment like `wanted`, under a random id. Where its machines must show certificates, the tables of
/// [`CERTIFICATES`] are needed.
pub fn make(db: &mut Db, wanted: Enrolment, now: i64) -> Result<Enrolment, DbError> {
    let mut tx = db.begin()?;
    let made = make_in(&mut tx, wanted, now)?;
    tx.commit()?;
    Ok(made)
}

/// The same in the caller's transaction.
pub fn make_in(tx: &mut Tx<'_>, wanted: Enrolment, now: i64) -> Result<Enrolment, DbError> {
    let mut random = [0u8; 5];
    getrandom::fill(&mut random).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
    let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
    tx.execute(
        "INSERT INTO enrolments (id, unit, source, generation, quota, expires, tags, revoked, created) \
         VALUES ($1, $2, $3, 1, $4, $5, $6, 0, $7)",
        &[
            id.as_str().into(),
            wanted.unit.as_str().into(),
            wanted.source.as_str().into(),
            wanted.quota.into(),
            wanted.expires.into(),
            wanted.tags.join(",").into(),
            now.into(),
        ],
    )?;
    if wanted.client_certificate {
        tx.execute("INSERT INTO certified_enrolments (enrolment) VALUES ($1)", &[id.as_str().into()])?;
    }
    Ok(Enrolment { id, generation: 1, revoked: false, created: now, ..wanted })
}

/// Revokes it: its generation is raised, so that every copy of its secret is worthless. `false`: no such enrolment.
pub fn revoke(db: &mut Db, id: &str) -> Result<bool, DbError> {
    let mut tx = db.begin()?;
    let found = revoke_in(&mut tx, id)?;
    tx.commit()?;
    Ok(found)
}

/// The same in the caller's transaction.
pub fn revoke_in(tx: &mut Tx<'_>, id: &str) -> Result<bool, DbError> {
    let sql = "UPDATE enrolments SET revoked = 1, generation = generation + 1 WHERE id = $1";
    Ok(tx.execute(sql, &[id.into()])? > 0)
}

const COLUMNS: &str = "SELECT id, unit, source, generation, quota, expires, tags, revoked, created FROM enrolments";

/// One enrolment.
pub fn get(db: &Db, id: &str) -> Result<Option<Enrolment>, DbError> {
    let found = db.query(&format!("{COLUMNS} WHERE id = $1"), &[id.into()])?.first().map(read);
    found.map(|found| certified(db, found)).transpose()
}

/// All enrolments, oldest first.
pub fn list(db: &Db) -> Result<Vec<Enrolment>, DbError> {
    let all = db.query(&format!("{COLUMNS} ORDER BY created, id"), &[])?;
    all.iter().map(|row| certified(db, read(row))).collect()
}

/// A file of an older version knows of no certificates until somebody asks for one.
fn certified(db: &Db, enrolment: Enrolment) -> Result<Enrolment, DbError> {
    let sql = "SELECT 1 FROM certified_enrolments WHERE enrolment = $1";
    let client_certificate =
        crate::db::has_schema(db, &CERTIFICATES)? && !db.query(sql, &[enrolment.id.as_str().into()])?.is_empty();
    Ok(Enrolment { client_certificate, ..enrolment })
}

fn read(row: &Row) -> Enrolment {
    Enrolment {
        id: row.text(0).to_owned(),
        unit: row.text(1).to_owned(),
        source: row.text(2).to_owned(),
        generation: row.int(3),
        quota: row.opt_int(4).and_then(|n| u64::try_from(n).ok()),
        expires: row.opt_int(5),
        tags: row.text(6).split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect(),
        revoked: row.int(7) != 0,
        created: row.int(8),
        client_certificate: false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_what_it_was_made_for() {
        let key = ServerKey([7; 32]);
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let made = create(&mut db, "berlin", "osquery", Some(2), Some(1000), &["vip".into()], 0).unwrap();
        let secret = key.secret(&made.id, made.generation);
        let check = |db: &Db, secret: &str, source: &str, now| verify(db, &key, secret, source, now).unwrap();
        assert_eq!(check(&db, &format!(" {secret}\n"), "osquery", 999), Ok(made.clone()));
        assert_eq!(check(&db, &secret, "osquery", 1000), Err(Denied::Expired));
        assert_eq!(check(&db, &secret, "santa", 1), Err(Denied::WrongSource));
        assert_eq!(check(&db, &key.secret("feedbeef00", 1), "osquery", 1), Err(Denied::Unknown));
        assert_eq!(check(&db, &ServerKey([8; 32]).secret(&made.id, 1), "osquery", 1), Err(Denied::Bad));
        for bad in ["", "zs1", "zs1.a.1.", "zs2.a.1.AAAA", "zs1.a.x.AAAA", &format!("{secret}.x"), "zs1.a.1.!!"] {
            assert_eq!(check(&db, bad, "osquery", 1), Err(Denied::Bad), "{bad}");
        }
        assert!(revoke(&mut db, &made.id).unwrap());
        assert!(!revoke(&mut db, "nobody").unwrap());
        assert_eq!(check(&db, &secret, "osquery", 1), Err(Denied::Revoked));
        assert_eq!(check(&db, &key.secret(&made.id, 2), "osquery", 1), Err(Denied::Revoked));
        assert_eq!(list(&db).unwrap().len(), 1);
    }

    #[test]
    fn a_certificate_is_asked_for_where_somebody_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let mut db = Db::open(&path, &[SCHEMA]).unwrap();
        let old = create(&mut db, "berlin", "santa", None, None, &[], 0).unwrap();
        assert_eq!(get(&db, &old.id).unwrap(), Some(old.clone()), "an older file");
        drop(db);
        db = Db::open(&path, &[SCHEMA, CERTIFICATES]).unwrap();
        let new = make(&mut db, Enrolment { client_certificate: true, ..old.clone() }, 1).unwrap();
        assert!(new.client_certificate && new.id != old.id);
        assert_eq!(list(&db).unwrap(), [old, new.clone()]);
        assert_eq!(get(&db, &new.id).unwrap(), Some(new));
    }
}
