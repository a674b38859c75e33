//! Munki: a preflight and a postflight, the script of ours between them and the hub, and what it needs to know.

use crate::contents::{Contents, File, Scripts};
use crate::{Order, fill_all, profile};

/// Where it all lies; only root may look.
const HOME: &str = "usr/local/zentral/munki";

const AGENT: &str = include_str!("munki/agent.sh");
const PARTS: [(&str, &str); 5] = [
    ("@WHERE@\n", include_str!("munki/where.sh")),
    ("@UNINSTALL@\n", include_str!("munki/uninstall.sh")),
    ("@PUT@\n", include_str!("munki/put.sh")),
    ("@START@\n", include_str!("munki/start.sh")),
    ("@HOOKS@\n", include_str!("munki/hook.sh")),
];

/// The script for macOS.
pub fn script(order: &Order) -> String {
    let ca = order.authorities.as_ref().map_or_else(String::new, |authorities| {
        format!("put 600 \"$home/ca.pem\" <<'ZENTRAL_END'\n{}ZENTRAL_END\n\n", authorities.pem())
    });
    let with = [&PARTS[..], &[("@CA@\n", ca.as_str()), ("@AGENT@\n", AGENT)]].concat();
    fill_all(include_str!("munki/script.sh"), order, &with)
}

/// What the installer lays down.
pub fn contents(order: &Order) -> Contents {
    let filled = |template: &str| fill_all(template, order, &PARTS);
    let mut files = vec![
        File::new(format!("{HOME}/hub"), 0o600, format!("{}\n", order.address.url())),
        File::new(format!("{HOME}/secret"), 0o600, format!("{}\n", order.secret)),
        File::new(format!("{HOME}/agent"), 0o700, AGENT),
        File::new(format!("{HOME}/uninstall"), 0o700, filled(include_str!("remove.sh"))),
    ];
    if let Some(authorities) = &order.authorities {
        files.push(File::new(format!("{HOME}/ca.pem"), 0o600, authorities.pem()));
    }
    let before = Some(filled(include_str!("munki/before.sh")));
    let after = filled(include_str!("munki/after.sh"));
    Contents { files, private: vec![HOME.into()], scripts: Scripts { before, after, removal: None } }
}

/// The preferences of our scripts. Munki's own know nothing of a hub.
pub fn profile(order: &Order) -> String {
    let roots = order.authorities.as_ref().map_or_else(String::new, |authorities| {
        format!("\n\t\t\t<key>Authorities</key>\n\t\t\t<string>{}</string>", authorities.pem())
    });
    let payload = profile::payload(order, include_str!("munki/payload.xml"), "io.zentral.munki", &roots);
    let about = "Tells zentral's scripts for Munki which hub they speak with; they come with the package.";
    profile::write(order, "io.zentral.munki", "Munki: the hub", about, &payload)
}
