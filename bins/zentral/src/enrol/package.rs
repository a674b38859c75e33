//! `enrol package --format sh`: a script that makes the agent of a machine speak to this hub.
//!
//! Names of osquery's flags and paths: osquery 5, its packages for Linux (`/etc/osquery`, `osqueryd.service`) and macOS
//! (`/var/osquery`, `io.osquery.agent`); protocols § 1.1.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipe::StageError;
use pipe::config::{Config, StageKind};
use registry::enrolments::Enrolment;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::init;

/// Seconds between two times that an agent asks for its configuration.
const CONFIG_REFRESH_S: u32 = 300;
/// Seconds between two log POSTs.
const LOGGER_PERIOD_S: u32 = 10;
/// Seconds between two questions for live queries.
const DISTRIBUTED_INTERVAL_S: u32 = 60;
/// Letters of a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// The script; the same input gives the same bytes.
pub fn script(config: &Config, enrolment: &Enrolment, secret: &str) -> Result<String, StageError> {
    let url = config.url.as_deref().ok_or_else(|| StageError::usage("the configuration has no `url`"))?;
    let (host, port, path) = init::parse_url(url).map_err(StageError::usage)?;
    let hub = port.map_or(host.clone(), |port| format!("{host}:{port}"));
    let ca = authorities(config)?;
    // What goes into the script is checked letter by letter: a host, numbers, a plain path, base64 and a secret of
    // letters, digits, `.`, `-` and `_`. Nothing in it means anything to a shell, least of all inside <<'…'.
    let text = match enrolment.source.as_str() {
        sources::osquery::NAME => osquery(&hub, &path, ca),
        sources::munki::NAME => munki(&format!("https://{hub}{path}"), ca),
        SANTA => santa(&format!("https://{hub}{path}"), ca, enrolment),
        other => return Err(StageError::usage(format!("there is no package for {other} yet"))),
    };
    Ok(text
        .replace("@ID@", &enrolment.id)
        .replace("@UNIT@", &enrolment.unit)
        .replace("@URL@", url)
        .replace("@SECRET@", secret))
}

/// Scripts of ours between Munki and the hub, and what they need to know.
fn munki(base: &str, ca: Option<String>) -> String {
    let ca = ca.map_or_else(String::new, |pem| format!("put 600 \"$home/ca.pem\" <<'ZENTRAL_END'\n{pem}{END}\n\n"));
    MUNKI
        .replace("@BASE@", base)
        .replace("@CA@\n", &ca)
        .replace("@AGENT@\n", include_str!("munki/agent.sh"))
        .replace("@HOOKS@\n", include_str!("munki/hook.sh"))
}

/// A profile for Santa, of today and of before 2025, and what installs it where that is possible.
fn santa(base: &str, ca: Option<String>, enrolment: &Enrolment) -> String {
    let uuid = |what: &str| {
        let digest = Sha256::digest(format!("{} {} {what}", enrolment.id, enrolment.generation));
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02X}")).collect();
        let (a, b, c, d) = (hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20));
        let parts = [a, b, c, d, hex.get(20..)].map(Option::unwrap_or_default);
        parts.join("-")
    };
    let roots = ca.map_or_else(String::new, |pem| {
        format!("\n\t\t\t<key>ServerAuthRootsData</key>\n\t\t\t<data>{}</data>", STANDARD.encode(pem))
    });
    let payload = |domain: &str| {
        SANTA_PAYLOAD.replace("@DOMAIN@", domain).replace("@UUID@", &uuid(domain)).replace("@ROOTS@", &roots)
    };
    let payloads = SANTA_DOMAINS.map(payload).concat();
    let profile = SANTA_PROFILE.replace("@PAYLOADS@\n", &payloads).replace("@UUID@", &uuid("profile"));
    include_str!("santa.sh").replace("@PROFILE@\n", &profile).replace("@BASE@", base)
}

/// Flags of osqueryd.
fn osquery(hub: &str, path: &str, ca: Option<String>) -> String {
    let mut flags = vec![
        // The agent knows the file by this line, too: `#` begins a comment.
        "# zentral".to_owned(),
        format!("--tls_hostname={hub}"),
        "--enroll_secret_path=@DIR@/zentral.secret".to_owned(),
    ];
    if ca.is_some() {
        flags.push("--tls_server_certs=@DIR@/zentral-ca.pem".to_owned());
    }
    let endpoint = |flag: &str, end: &str| format!("--{flag}={path}/public/osquery/{end}");
    flags.extend([
        "--host_identifier=uuid".to_owned(),
        endpoint("enroll_tls_endpoint", "enroll"),
        "--config_plugin=tls".to_owned(),
        endpoint("config_tls_endpoint", "config"),
        format!("--config_refresh={CONFIG_REFRESH_S}"),
        "--logger_plugin=tls".to_owned(),
        endpoint("logger_tls_endpoint", "log"),
        format!("--logger_tls_period={LOGGER_PERIOD_S}"),
        "--logger_tls_compress=true".to_owned(),
        "--disable_distributed=false".to_owned(),
        "--distributed_plugin=tls".to_owned(),
        endpoint("distributed_tls_read_endpoint", "distributed/read"),
        endpoint("distributed_tls_write_endpoint", "distributed/write"),
        format!("--distributed_interval={DISTRIBUTED_INTERVAL_S}"),
    ]);
    OSQUERY
        .replace("@CA@\n", &ca.map_or_else(String::new, |pem| format!("{CA_BEGIN}{pem}{END}\n\n")))
        .replace("@FLAGS@\n", &format!("{}\n", flags.join("\n")))
}

/// The certificates of `ca.pem` beside the hub's own, written anew; none if there is no such file: then the hub has a
/// certificate that everybody believes.
fn authorities(config: &Config) -> Result<Option<String>, StageError> {
    let receive = config.stages.iter().find(|s| s.runs(StageKind::Receive));
    let tls = receive.and_then(|s| s.settings.clone().table("tls"));
    let Some(cert) = tls.and_then(|mut tls| tls.path("cert")) else { return Ok(None) };
    let path: PathBuf = cert.with_file_name("ca.pem");
    let fail = |what: String| StageError::usage(format!("{}: {what}", path.display()));
    let pem = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("no {}: the package trusts the authorities of each machine", path.display());
            pipe::cli::complain(&text);
            return Ok(None);
        }
        other => other.map_err(|e| fail(e.to_string()))?,
    };
    let mut text = String::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| fail("holds something that is no certificate".into()))?;
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut letters = STANDARD.encode(&certificate);
        while !letters.is_empty() {
            let rest = letters.split_off(letters.len().min(PEM_LINE));
            text.push_str(&letters);
            text.push('\n');
            letters = rest;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    if text.is_empty() { Err(fail("holds no certificate".into())) } else { Ok(Some(text)) }
}

/// The source that Santa's agents speak as.
const SANTA: &str = "santa";
/// The preferences that Santa reads: since 2025, and before.
const SANTA_DOMAINS: [&str; 2] = ["com.northpolesec.santa", "com.google.santa"];
const SANTA_PROFILE: &str = include_str!("santa/profile.xml");
const SANTA_PAYLOAD: &str = include_str!("santa/payload.xml");
const CA_BEGIN: &str = "put 644 zentral-ca.pem <<'ZENTRAL_END'\n";
const END: &str = "ZENTRAL_END";
const OSQUERY: &str = include_str!("package.sh");
const MUNKI: &str = include_str!("munki.sh");
