//! Profiles of macOS: what an MDM hands to the preferences of agents.

use sha2::{Digest as _, Sha256};

use crate::{Order, fill, fill_all};

/// A profile around these payloads.
pub fn write(order: &Order, identifier: &str, title: &str, about: &str, payloads: &str) -> String {
    let with = [
        ("@PAYLOADS@\n", payloads),
        ("@IDENTIFIER@", identifier),
        ("@TITLE@", title),
        ("@ABOUT@", about),
        ("@UUID@", &uuid(order, "profile")),
    ];
    fill_all(include_str!("profile.xml"), order, &with)
}

/// A payload: its template, what is in it, its key for certificates.
pub fn payload(order: &Order, template: &str, name: &str, roots: &str) -> String {
    fill(template, &[("@UUID@", &uuid(order, name)), ("@ROOTS@", roots)])
}

/// The same for the same enrolment, so that a profile replaces itself: UUIDv8 (RFC 9562) of a hash.
fn uuid(order: &Order, what: &str) -> String {
    let digest = Sha256::digest(format!("{} {} {what}", order.enrolment, order.generation));
    let mut bytes: Vec<u8> = digest.iter().take(16).copied().collect();
    for (place, mask, bits) in [(6, 0x0f, 0x80), (8, 0x3f, 0x80)] {
        if let Some(byte) = bytes.get_mut(place) {
            *byte = *byte & mask | bits;
        }
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let parts = [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)];
    parts.map(Option::unwrap_or_default).join("-")
}
