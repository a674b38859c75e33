//! Santa: a profile, which is all that it believes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::contents::{Contents, File, Scripts};
use crate::{Order, fill, fill_all, profile};

/// The preferences that Santa reads: since 2025, and before.
const DOMAINS: [&str; 2] = ["com.northpolesec.santa", "com.google.santa"];
/// Where the profile lies; only root may look.
const HOME: &str = "usr/local/zentral/santa";
/// Its name there.
const FILE: &str = "zentral-santa.mobileconfig";
/// Its name for macOS.
const IDENTIFIER: &str = "io.zentral.santa";

const PARTS: [(&str, &str); 6] = [
    ("@WHERE@\n", include_str!("santa/where.sh")),
    ("@UNINSTALL@\n", include_str!("santa/uninstall.sh")),
    ("@CHECK@\n", include_str!("santa/check.sh")),
    ("@START@\n", include_str!("santa/start.sh")),
    ("@PROFILE_IDENTIFIER@", IDENTIFIER),
    ("@FILE@", FILE),
];

/// The profile: where to sync, of today and of before 2025.
pub fn profile(order: &Order) -> String {
    let roots = order.authorities.as_ref().map_or_else(String::new, |authorities| {
        format!("\n\t\t\t<key>ServerAuthRootsData</key>\n\t\t\t<data>{}</data>", STANDARD.encode(authorities.pem()))
    });
    let payload = |domain: &str| {
        let template = fill(include_str!("santa/payload.xml"), &[("@DOMAIN@", domain)]);
        profile::payload(order, &template, domain, &roots)
    };
    let about = "Tells Santa which hub it syncs with.";
    profile::write(order, IDENTIFIER, "Santa: sync with the hub", about, &DOMAINS.map(payload).concat())
}

/// The script for macOS.
pub fn script(order: &Order) -> String {
    let profile = profile(order);
    let with = [&PARTS[..], &[("@PROFILE@\n", profile.as_str())]].concat();
    fill_all(include_str!("santa/script.sh"), order, &with)
}

/// What the installer lays down.
pub fn contents(order: &Order) -> Contents {
    let filled = |template: &str| fill_all(template, order, &PARTS);
    let files = vec![
        File::new(format!("{HOME}/{FILE}"), 0o600, profile(order)),
        File::new(format!("{HOME}/uninstall"), 0o700, filled(include_str!("remove.sh"))),
    ];
    let before = Some(filled(include_str!("santa/before.sh")));
    let after = filled(include_str!("santa/after.sh"));
    Contents { files, private: vec![HOME.into()], scripts: Scripts { before, after, removal: None } }
}
