//! The configuration of the hub that is driven, piece by piece.
//!
//! A piece is there from the start if the hub's own `check` takes it, so that one word that this version does not know
//! spoils the cases that need it and no others. What a case needs is chosen by the tags and the unit of its enrolment;
//! the pieces that cannot be chosen so take the place of others while a case runs.

use std::collections::{BTreeMap, BTreeSet};

/// A part of the configuration.
pub struct Piece {
    /// Its name.
    pub name: &'static str,
    /// Lines for tables.
    lines: &'static [(&'static str, &'static str)],
    /// Only while a case needs it, then instead of this one.
    instead_of: Option<&'static str>,
}

const fn piece(name: &'static str, lines: &'static [(&'static str, &'static str)]) -> Piece {
    Piece { name, lines, instead_of: None }
}

const fn instead(name: &'static str, of: &'static str, lines: &'static [(&'static str, &'static str)]) -> Piece {
    Piece { name, lines, instead_of: Some(of) }
}

/// All pieces.
pub static PIECES: [Piece; 24] = [
    piece("metrics", &[("metrics", "listen = \"127.0.0.1:0\"\nbearer = { file = \"metrics.secret\" }")]),
    piece("inventory", &[("source.osquery", "inventory = \"1h\"")]),
    piece("carves", &[("source.osquery", "carves = { max = \"1 GiB\", quota = \"2 GiB\" }")]),
    piece("option-disable_carver", &[("source.osquery", "options.disable_carver = \"FaLse\"")]),
    piece(
        "four-packs",
        &[
            (
                "pack.conform-one",
                "file = \"packs/one.conf\"\nscope = { tags = [\"conform-a\"], not_tags = [\"conform-b\"] }",
            ),
            ("pack.conform-two", "file = \"packs/one.conf\""),
            ("pack.conform-three", "file = \"packs/one.conf\"\nscope = { tags = [\"conform-c\"] }"),
            ("pack.conform-four", "file = \"packs/one.conf\"\nscope = { not_tags = [\"conform-a\"] }"),
        ],
    ),
    piece("pack", &[("pack.conform-std", "file = \"packs/std.conf\"\nscope = { tags = [\"conform-std\"] }")]),
    piece(
        "existing-pack",
        &[("pack.existing-pack", "file = \"packs/one.conf\"\nscope = { tags = [\"conform-nobody\"] }")],
    ),
    piece("pack-compliance", &[("pack.conform-cc", "file = \"packs/cc.conf\"\nscope = { tags = [\"conform-cc\"] }")]),
    instead(
        "pack-compliance-now",
        "pack-compliance",
        &[("pack.conform-cc", "file = \"packs/cc-now.conf\"\nscope = { tags = [\"conform-cc\"] }")],
    ),
    piece("pack-tag", &[("pack.conform-tag", "file = \"packs/tag.conf\"\nscope = { tags = [\"conform-tag\"] }")]),
    piece("santa", &[("source.santa", "client_mode = \"MONITOR\"\nfull_sync_interval = \"10m\"")]),
    piece("santa-bundles", &[("source.santa", "enable_bundles = true")]),
    piece(
        "santa-usb",
        &[
            ("source.santa", "units.usb = { block_usb_mount = true, remount_usb_mode = [\"noexec\", \"rdonly\"] }"),
            ("unit.usb", ""),
        ],
    ),
    piece("santa-batch", &[("source.santa", "units.batch = { batch_size = 2 }"), ("unit.batch", "")]),
    piece("client-ca", &[("stage.receive", "tls.client_ca = \"tls/ca.pem\"")]),
    // Many cases bring the same serial number with another machine id, each as if it were the first.
    instead("santa-again", "", &[("source.santa", "reenrol = \"always\"")]),
    piece("munki", &[("source.munki", "")]),
    piece("munki-scripts", &[("source.munki", MUNKI_SCRIPTS)]),
    instead(
        "munki-user",
        "",
        &[(
            "source.munki",
            "principal_user_detection = { sources = [\"company_portal\"], domains = [\"example.com\"] }",
        )],
    ),
    piece("jamf", &[("source.conform-jamf", "kind = \"jamf\"\nwebhook = { secret = { file = \"jamf.secret\" } }")]),
    piece(
        "webhook-hmac",
        &[(
            "source.conform-door",
            "kind = \"webhook\"\ntype = \"door_opened\"\nhmac = { header = \"X-Signature\", secret = { file = \"jamf.secret\" } }",
        )],
    ),
    piece(
        "webhook-bearer",
        &[("source.conform-hook", "kind = \"webhook\"\ntype = \"hook_called\"\nbearer = { file = \"jamf.secret\" }")],
    ),
    piece("legacy", &[("stage.receive", "legacy_paths = true")]),
    piece("probe", &[("probe.existing-probe", "filter = '.type == \"conform_never\"'")]),
];

const MUNKI_SCRIPTS: &str = r#"scripts = [
  { name = "conform-bool", source = "checks/bool.zsh", type = "bool", expect = true, every = "1d", os = ">=14,<15", arch = ["arm64"], scope = { tags = ["conform-check"] } },
  { name = "conform-old", source = "checks/bool.zsh", type = "bool", expect = true, every = "1d", os = "<14.0.1", scope = { tags = ["conform-check"] } },
  { name = "conform-open", source = "checks/bool.zsh", type = "bool", expect = true, every = "1d", scope = { tags = ["conform-incident"] } },
  { name = "conform-closed", source = "checks/bool.zsh", type = "bool", expect = true, every = "1d", scope = { tags = ["conform-incident"] } },
]"#;

/// Files beside the configuration.
pub const FILES: [(&str, &str); 6] = [
    ("packs/one.conf", "{\"queries\": {\"uptime\": {\"query\": \"select * from uptime\", \"interval\": 3600}}}"),
    (
        "packs/std.conf",
        "{\"queries\": {\"ports\": {\"query\": \"select pid, port from listening_ports\", \"interval\": 60}}}",
    ),
    (
        "packs/cc.conf",
        "{\"queries\": {\"filevault\": {\"query\": \"select case encrypted when 1 then 'OK' else 'FAILED' end as ztl_status from disk_encryption\", \"interval\": 3600, \"snapshot\": true, \"compliance_check\": true}}}",
    ),
    (
        "packs/cc-now.conf",
        "{\"queries\": {\"filevault\": {\"query\": \"select 'OK' as ztl_status\", \"interval\": 3600, \"snapshot\": true, \"compliance_check\": true}}}",
    ),
    (
        "packs/tag.conf",
        "{\"queries\": {\"admins\": {\"query\": \"select username from users where gid = 80\", \"interval\": 3600, \"snapshot\": true, \"tag\": \"conform-tagged\"}}}",
    ),
    ("checks/bool.zsh", "#!/bin/zsh\necho true\n"),
];

/// The piece of this name.
pub fn named(name: &str) -> Option<&'static Piece> {
    PIECES.iter().find(|piece| piece.name == name)
}

/// The pieces that are tried from the start.
pub fn lasting() -> impl Iterator<Item = &'static Piece> {
    PIECES.iter().filter(|piece| piece.instead_of.is_none())
}

/// The file, with the lasting pieces that were taken, those that are there for a case, and what a case writes itself.
pub fn text(port: u16, taken: &BTreeSet<&'static str>, now: &BTreeSet<&'static str>, more: &str) -> String {
    let hidden: BTreeSet<&str> = now.iter().filter_map(|name| named(name)?.instead_of).collect();
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    let base = [
        ("topics", "reserve = \"64 MiB\"".to_owned()),
        ("source.osquery", String::new()),
        (
            "stage.receive",
            format!(
                "listen = \"127.0.0.1:{port}\"\ntls.cert = \"tls/hub.pem\"\ntls.key = \"tls/hub.key\"\nto = \"topic:raw\""
            ),
        ),
        (
            "stage.sift",
            "run = \"normalize | filter\"\nfrom = [\"topic:raw\"]\nto = \"topic:events\"\nmatches = \"topic:matches\""
                .to_owned(),
        ),
        ("unit.default", String::new()),
    ];
    tables.extend(base);
    let shown = PIECES.iter().filter(|p| taken.contains(p.name) && !hidden.contains(p.name) || now.contains(p.name));
    for (table, lines) in shown.flat_map(|piece| piece.lines) {
        let text = tables.entry(table).or_default();
        text.push('\n');
        text.push_str(lines);
    }
    let tables: String = tables.iter().map(|(name, lines)| format!("[{name}]\n{}\n", lines.trim())).collect();
    format!("version = 1\nurl = \"https://localhost:{port}\"\ndata = \"data\"\n{tables}{more}")
}
