//! `[source.NAME]` with `kind = "jamf"` or `"webhook"`: who calls, and what lets them in.

use std::collections::BTreeMap;
use std::time::Duration;

use pipe::config::{Finding, Secret, Settings};
use sources::jamf::Caller;
use sources::secret::Word;
use sources::webhook::{ALGORITHMS, Algorithm, Hook, Lock, Signature, Signs};

/// A shorter secret is found by trying.
const SECRET_MIN: usize = 8;
/// The longest name of an event's type.
const TYPE_MAX: usize = 63;
/// How far the moment of signing may lie from ours, if nothing else is said.
const WINDOW: Duration = Duration::from_secs(300);
/// The most that may be said.
const WINDOW_MAX: Duration = Duration::from_secs(86_400);
/// Accounts of the hub on one server.
const OWN_USERS_MAX: usize = 100;

/// What the tables say; no secret is looked up yet.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Vec<Said>);

/// One table.
#[derive(Debug, Clone)]
struct Said {
    secret: Secret,
    who: Who,
    /// Where the secret stands, for what is wrong with it.
    key: &'static str,
    table: Settings,
}

#[derive(Debug, Clone)]
enum Who {
    Jamf { header: String, own_users: Vec<String> },
    Bearer { type_: String },
    Signed { type_: String, header: String, algorithm: Algorithm, signs: Signs, moment: Option<(String, Duration)> },
}

/// Who may call, with their secrets.
#[derive(Debug, Default)]
pub struct Callers {
    /// Jamf servers.
    pub jamf: Vec<Caller>,
    /// Webhooks by name.
    pub webhooks: BTreeMap<String, Hook>,
}

impl Hooks {
    /// Takes in a Jamf server.
    pub fn jamf(&mut self, table: &mut Settings) {
        // `pull` reads these, and says what is wrong with them.
        let _ = (table.str("url"), table.table("client"), table.str("every"), table.table("units"), table.str("ca"));
        let place = table.clone();
        let Some(mut webhook) = table.table("webhook") else {
            if !table.has("webhook") && !table.has("client") {
                table.fail(
                    "",
                    "needs the key `webhook` = { secret = … }, or `client` = { id, secret } to be asked with",
                );
            }
            return;
        };
        let header = header(&mut webhook, "header").unwrap_or_else(|| "authorization".to_owned());
        let own_users = webhook.strings("own_users");
        if own_users.len() > OWN_USERS_MAX {
            webhook.fail("own_users", format!("more than {OWN_USERS_MAX} names"));
        }
        let secret = secret(&mut webhook);
        table.absorb(webhook);
        self.0.extend(secret.map(|secret| Said {
            secret,
            who: Who::Jamf { header, own_users },
            key: "webhook",
            table: place,
        }));
    }

    /// Takes in a webhook.
    pub fn webhook(&mut self, table: &mut Settings) {
        let place = table.clone();
        let type_ = table.required_str("type").unwrap_or_default();
        let first = type_.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if table.has("type") && !(first && type_.len() <= TYPE_MAX && type_.bytes().all(plain)) {
            table.fail("type", format!("`{type_}` is no type of events such as door_opened ([a-z][a-z0-9_]{{0,62}})"));
        }
        // `normalize` runs these.
        for key in ["machine", "payload", "time"] {
            let _ = table.str(key);
        }
        let (secret, who, key) = match (table.has("bearer"), table.has("hmac")) {
            (true, false) => (table.secret("bearer"), Who::Bearer { type_ }, "bearer"),
            (false, true) => {
                let Some(mut hmac) = table.table("hmac") else { return };
                let secret = secret(&mut hmac);
                let signed = signed(&mut hmac, type_);
                table.absorb(hmac);
                let Some(signed) = signed else { return };
                (secret, signed, "hmac")
            }
            (both, _) => {
                let which = if both {
                    "both `bearer` and `hmac`: one of them lets a request in"
                } else {
                    "needs the key `hmac` = { header = …, secret = … } or `bearer`: anybody could call"
                };
                table.fail("", which);
                let _ = (table.secret("bearer"), table.table("hmac"));
                return;
            }
        };
        self.0.extend(secret.map(|secret| Said { secret, who, key, table: place }));
    }

    /// Looks the secrets up. The error names a variable, a file or a table, never a value.
    pub fn open(&self) -> Result<Callers, Vec<Finding>> {
        let (mut callers, mut findings) = (Callers::default(), Vec::new());
        for said in &self.0 {
            if let Err(why) = said.open(&mut callers) {
                let mut table = said.table.clone();
                table.fail(said.key, why);
                findings.extend(table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
            }
        }
        if findings.is_empty() { Ok(callers) } else { Err(findings) }
    }
}

impl Said {
    fn open(&self, callers: &mut Callers) -> Result<(), String> {
        let secret = self.secret.resolve()?;
        if secret.len() < SECRET_MIN {
            return Err(format!("the secret is shorter than {SECRET_MIN} bytes"));
        }
        let name = self.table.name().to_owned();
        let lock = match self.who.clone() {
            Who::Jamf { header, own_users } => {
                if let Some(other) = callers.jamf.iter().find(|other| other.secret.is(secret.as_bytes())) {
                    return Err(format!("`{}` has the same secret: it says which server calls", other.name));
                }
                callers.jamf.push(Caller { name, secret: Word::new(&secret), header, own_users });
                return Ok(());
            }
            Who::Bearer { type_ } => Hook { name, type_, lock: Lock::Bearer(Word::new(&secret)) },
            Who::Signed { type_, header, algorithm, signs, moment } => {
                let signature = Signature { header, algorithm, key: secret.into_bytes(), signs, moment };
                Hook { name, type_, lock: Lock::Signed(signature) }
            }
        };
        callers.webhooks.insert(lock.name.clone(), lock);
        Ok(())
    }
}

fn signed(hmac: &mut Settings, type_: String) -> Option<Who> {
    if !hmac.has("header") {
        let _ = hmac.required_str("header");
    }
    let header = header(hmac, "header");
    let algorithm = hmac.word("algorithm", &ALGORITHMS.map(|(word, _)| word));
    let algorithm = ALGORITHMS.into_iter().find(|(word, _)| algorithm.is_none_or(|said| said == *word))?.1;
    let window = hmac.duration("window");
    let moment = self::header(hmac, "timestamp").map(|header| (header, window.unwrap_or(WINDOW)));
    if window.is_some() && moment.is_none() {
        hmac.fail("window", "needs the key `timestamp`, the header that says when a request was signed");
    }
    if window.is_some_and(|window| window.is_zero() || window > WINDOW_MAX) {
        hmac.fail("window", "a time up to 1d");
    }
    let default = if moment.is_some() { "{timestamp}.{body}" } else { "{body}" };
    let signs = Signs::parse(&hmac.str("signs").unwrap_or_else(|| default.to_owned()), moment.is_some());
    let signs = signs.map_err(|why| hmac.fail("signs", why)).ok()?;
    Some(Who::Signed { type_, header: header?, algorithm, signs, moment })
}

fn secret(table: &mut Settings) -> Option<Secret> {
    if table.has("secret") {
        table.secret("secret")
    } else {
        let _ = table.required_str("secret");
        None
    }
}

/// The name of a header, in small letters.
fn header(table: &mut Settings, key: &str) -> Option<String> {
    let name = table.str(key)?;
    match hyper::header::HeaderName::try_from(name.as_str()) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            table.fail(key, format!("`{name}` is no name of a header"));
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use pipe::config::Config;

    fn read(text: &str) -> Result<Callers, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        let config = Config::load(&path, None).unwrap().0;
        let say = |found: Vec<Finding>| found.iter().map(|f| format!("{}: {}", f.key, f.text)).collect();
        Conf::read(&config, None).and_then(|conf| conf.hooks.open()).map_err(say)
    }

    #[test]
    fn callers_are_what_the_tables_say() {
        let callers = read(
            "[source.jamf-prod]\nkind = \"jamf\"\nwebhook = { secret = \"12345678\", own_users = [\"hub\"] }\n\
             [source.door]\nkind = \"webhook\"\ntype = \"door_opened\"\nmachine = \".host\"\npayload = \".\"\ntime = \".at\"\n\
             hmac = { header = \"X-Signature\", secret = \"12345678\", algorithm = \"sha512\", timestamp = \"X-Time\", window = \"1m\" }\n\
             [source.ci]\nkind = \"webhook\"\ntype = \"ci\"\nbearer = \"12345678\"\n",
        )
        .unwrap();
        assert_eq!((callers.jamf.len(), callers.webhooks.len()), (1, 2));
        let jamf = callers.jamf.first().unwrap();
        assert_eq!((jamf.name.as_str(), jamf.header.as_str()), ("jamf-prod", "authorization"));
        assert!(jamf.secret.is(b"12345678") && jamf.own_users == ["hub"]);
        let Lock::Signed(signature) = &callers.webhooks.get("door").unwrap().lock else { unreachable!("it is signed") };
        assert_eq!((signature.header.as_str(), signature.algorithm), ("x-signature", Algorithm::Sha512));
        assert_eq!(signature.moment, Some(("x-time".to_owned(), Duration::from_secs(60))));
        assert_eq!(signature.signs, Signs::parse("{timestamp}.{body}", true).unwrap());
        assert!(!format!("{callers:?}").contains("12345678"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let webhook = "[source.d]\nkind = \"webhook\"\ntype = \"d\"\n";
        let hmac = |more: &str| format!("{webhook}hmac = {{ secret = \"12345678\", header = \"X-S\"{more} }}\n");
        let jamf = |name: &str| format!("[source.{name}]\nkind = \"jamf\"\nwebhook = {{ secret = \"12345678\" }}\n");
        for (text, says) in [
            ("[source.j]\nkind = \"jamf\"\n".to_owned(), "source.j: needs the key `webhook`"),
            ("[source.j]\nkind = \"jamf\"\nwebhook = {}\n".into(), "needs the key `secret`"),
            ("[source.j]\nkind = \"jamf\"\nwebhook = { secret = \"short\" }\n".into(), "shorter than 8"),
            (
                "[source.j]\nkind = \"jamf\"\nwebhook = { secret = { env = \"NOT_THERE_9\" } }\n".into(),
                "NOT_THERE_9 is not set",
            ),
            (jamf("a") + &jamf("b"), "source.b.webhook: `a` has the same secret"),
            (webhook.to_owned(), "anybody could call"),
            (format!("{}bearer = \"12345678\"\n", hmac("")), "one of them"),
            (hmac(", windo = \"1m\""), "did you mean `window`"),
            (hmac(", window = \"1m\""), "needs the key `timestamp`"),
            (hmac(", timestamp = \"a b\""), "no name of a header"),
            (hmac(", algorithm = \"md5\""), "none of sha256"),
            (hmac(", signs = \"x\""), "holds {body} once"),
            (hmac(", timestamp = \"T\", signs = \"{body}\""), "can be made up"),
            (webhook.replace("\"d\"", "\"Door opened\"") + "bearer = \"12345678\"\n", "no type of events"),
            (jamf("osquery"), "another kind of source"),
            (jamf("j") + "colour = 1\n", "unknown key"),
        ] {
            let found = read(&text).map(|_| ()).unwrap_err();
            assert!(found.iter().any(|f| f.contains(says)), "{text}\n{found:?}");
            assert!(!found.iter().any(|f| f.contains("12345678")), "{found:?}");
        }
    }
}
