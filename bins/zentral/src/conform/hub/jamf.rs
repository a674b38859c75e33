//! Words of Jamf and of webhooks: their secrets stand in the configuration.

use super::{Fixture, Wish};

pub fn wish(name: &str) -> Option<Wish> {
    let pieces: &'static [&'static str] = match name {
        "jamf_instance" => &["jamf"],
        "webhook_bearer" => &["webhook-bearer"],
        "webhook_hmac" => &["webhook-hmac"],
        _ => return None,
    };
    Some(Wish { pieces, ..Wish::default() })
}

/// Does what a word says; whether it is known.
pub fn word(f: &mut Fixture<'_>, name: &str) -> Result<bool, String> {
    let placeholder = match name {
        "jamf_instance" => "JAMF_SECRET",
        "webhook_bearer" | "webhook_hmac" => "WEBHOOK_SECRET",
        _ => return Ok(false),
    };
    let secret = f.hub.secret.clone();
    f.set(placeholder, &secret);
    Ok(true)
}
