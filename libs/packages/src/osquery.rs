//! osquery: flags, a secret and a certificate.
//!
//! Names of flags and paths: osquery 5, its packages for Linux (`/etc/osquery`, `osqueryd.service`), macOS
//! (`/var/osquery`, `io.osquery.agent`) and Windows (`Program Files\osquery`, the service `osqueryd`); protocols § 1.1.

use crate::contents::{Contents, File, Scripts};
use crate::{Format, Order, fill_all};

/// Seconds between two times that an agent asks for its configuration.
const CONFIG_REFRESH_S: u32 = 300;
/// Seconds between two log POSTs.
const LOGGER_PERIOD_S: u32 = 10;
/// Seconds between two questions for live queries.
const DISTRIBUTED_INTERVAL_S: u32 = 60;

const WHERE: (&str, &str) = ("@WHERE@\n", include_str!("osquery/where.sh"));
const KEEP: (&str, &str) = ("@KEEP@\n", include_str!("osquery/keep.sh"));
const GIVE_BACK: (&str, &str) = ("@GIVE_BACK@\n", include_str!("osquery/give_back.sh"));
const START: (&str, &str) = ("@START@\n", include_str!("osquery/start.sh"));
const PS1: &str = include_str!("osquery/script.ps1");

/// The flags, for files in the folder `dir`, between which and a name stands `slash`.
fn flags(order: &Order, dir: &str, slash: char) -> String {
    let path = &order.address.path;
    let mut flags = vec![
        // The scripts know the file by this line, too: `#` begins a comment.
        "# zentral".to_owned(),
        format!("--tls_hostname={}", order.address.authority()),
        format!("--enroll_secret_path={dir}{slash}zentral.secret"),
    ];
    if order.authorities.is_some() {
        flags.push(format!("--tls_server_certs={dir}{slash}zentral-ca.pem"));
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
    flags.join("\n") + "\n"
}

/// The script for Linux and macOS.
pub fn script(order: &Order) -> String {
    let ca = order.authorities.as_ref().map_or_else(String::new, |authorities| {
        format!("put 644 zentral-ca.pem <<'ZENTRAL_END'\n{}ZENTRAL_END\n\n", authorities.pem())
    });
    let with = [WHERE, KEEP, GIVE_BACK, START, ("@CA@\n", &ca), ("@FLAGS@\n", &flags(order, "@DIR@", '/'))];
    fill_all(include_str!("osquery/script.sh"), order, &with)
}

/// What installers of Linux and macOS lay down. Only the flags are a configuration file: a new package is to bring its own
/// secret and its own authority whatever lies there, and a secret is not to stay when the package goes.
pub fn contents(order: &Order, format: Format) -> Contents {
    // `/var` is a link to it on macOS.
    let (dir, folder) = if format == Format::Pkg { ("/var/osquery", "private/var/osquery") } else { LINUX };
    let mut files = vec![
        File { config: true, ..File::new(format!("{folder}/zentral.flags"), 0o644, flags(order, dir, '/')) },
        File::new(format!("{folder}/zentral.secret"), 0o600, format!("{}\n", order.secret)),
    ];
    if let Some(authorities) = &order.authorities {
        files.push(File::new(format!("{folder}/zentral-ca.pem"), 0o644, authorities.pem()));
    }
    let filled = |template: &str| fill_all(template, order, &[WHERE, KEEP, GIVE_BACK, START]);
    let mut scripts = Scripts { after: filled(include_str!("osquery/after.sh")), ..Scripts::default() };
    if format == Format::Pkg {
        let uninstall = filled(include_str!("osquery/uninstall.sh"));
        files.push(File::new("usr/local/zentral/osquery/uninstall", 0o755, uninstall));
    } else {
        scripts.removal = Some(filled(include_str!("osquery/removal.sh")));
    }
    Contents { files, private: Vec::new(), scripts }
}

const LINUX: (&str, &str) = ("/etc/osquery", "etc/osquery");

/// The script for Windows, all in one.
pub fn windows(order: &Order) -> String {
    let text = |name: &str, text: &str| format!("${name} = @'\n{text}'@\n");
    let authorities = match &order.authorities {
        Some(authorities) => text("authorities", authorities.pem()),
        None => "$authorities = $null\n".to_owned(),
    };
    let flags = text("flags", &flags(order, "@DIR@", '\\'));
    let texts = format!("{flags}{}{authorities}", text("secret", "@SECRET@\n"));
    fill_all(PS1, order, &[("@FILE@", &order.file(Format::Ps1)), ("@TEXTS@\n", &texts)])
}

/// The script for Windows and its files: name and text.
pub fn windows_files(order: &Order) -> Vec<(&'static str, String)> {
    let read = |variable: &str, name: &str| {
        format!("${variable} = [IO.File]::ReadAllText((Join-Path $PSScriptRoot '{name}'))\n")
    };
    let mut texts = read("flags", "osquery.flags") + &read("secret", "zentral.secret");
    match &order.authorities {
        Some(_) => texts.push_str(&read("authorities", "zentral-ca.pem")),
        None => texts.push_str("$authorities = $null\n"),
    }
    let install = fill_all(PS1, order, &[("@FILE@", "install.ps1"), ("@TEXTS@\n", &texts)]);
    let mut files = vec![
        ("README.txt", fill_all(include_str!("osquery/readme.txt"), order, &[])),
        ("install.ps1", install),
        ("uninstall.ps1", "& (Join-Path $PSScriptRoot 'install.ps1') -Uninstall\nexit $LASTEXITCODE\n".to_owned()),
        ("osquery.flags", flags(order, "@DIR@", '\\')),
        ("zentral.secret", format!("{}\n", order.secret)),
    ];
    files.extend(order.authorities.as_ref().map(|authorities| ("zentral-ca.pem", authorities.pem().to_owned())));
    files
}
