//! The scratch folder of the demo: the pipeline that ships, with free ports, certificates, probes, and actions that go
//! to the demo itself.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use event::Time;
use pipe::config::Config;
use registry::users::{self, By, Role};
use shipped::probes::{PROBES, Probe};

use super::promises;
use crate::{ca, enrol, template, user};

/// The units of the demo's machines; `default` comes with the pipeline.
pub const UNITS: [&str; 2] = ["default", "workshop"];
/// Variable that holds the address of the Slack that is none.
pub const SLACK_URL: &str = "ZENTRAL_DEMO_SLACK_URL";
/// Variable that holds the password of the mail server that is none.
pub const SMTP_PASSWORD: &str = "ZENTRAL_DEMO_SMTP_PASSWORD";
/// Who logs in to the mail server.
pub const SMTP_USER: &str = "hub";
/// Whom mails go to.
pub const MAIL_TO: &str = "ada@example.com";

/// Everything in one folder that goes when this goes.
pub struct Scratch {
    dir: tempfile::TempDir,
    /// The configuration.
    pub config: Config,
    /// Certificate of the authority, PEM.
    pub ca: String,
    /// Of the hub; the mail server shows the same one.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Where the metrics are.
    pub metrics: SocketAddr,
}

impl Scratch {
    /// Writes it. `smtp` is the port of the mail server; the secrets come from the environment of `up`.
    pub fn make(smtp: u16, made: ca::Made) -> Result<Self, String> {
        let dir = tempfile::Builder::new()
            .prefix("zentral-demo-")
            .tempdir()
            .map_err(|e| format!("no scratch folder: {e}"))?;
        let (hub, metrics) = free_addresses().map_err(|e| format!("no free port: {e}"))?;
        let url = format!("url     = \"https://localhost:{}\"", hub.port());
        let mut text = template::with(&[
            (template::URL, &url),
            (template::LISTEN, &format!("listen = \"{hub}\"")),
            (template::METRICS, &format!("listen = \"{metrics}\"")),
            (template::CONSOLE, "edit   = true\nlisten = \"127.0.0.1:0\""),
        ])?;
        text.push_str(&addition(smtp));
        text.push_str(promises::ACTIONS);
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            let fail = |e: io::Error| format!("{}: {e}", path.display());
            let folder = path.parent().unwrap_or(dir.path());
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
            fs::write(&path, text).map_err(fail)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)
        };
        put("pipeline.toml", &text)?;
        put("tls/ca.pem", &made.ca)?;
        put("tls/hub.pem", &made.hub)?;
        put("tls/hub.key", &made.hub_key)?;
        PROBES
            .iter()
            .flat_map(Probe::files)
            .try_for_each(|(name, text)| put(&format!("filters/{name}"), &promises::acting(&name, text)))?;
        promises::files().iter().try_for_each(|(name, text)| put(name, text))?;
        let (config, _) = Config::load(&dir.path().join("pipeline.toml"), None)
            .map_err(|findings| format!("the demo's pipeline is wrong:\n{}", pipe::config::render(&findings)))?;
        Ok(Self { dir, config, ca: made.ca, certificate: made.hub, key: made.hub_key, metrics })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration's file.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("pipeline.toml")
    }

    /// Where `up` writes what it has to say.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("up.log")
    }

    /// The link by which whoever watches chooses a password for the console, once it listens.
    pub fn link(&self) -> Result<String, String> {
        let (by, name) = (By::command_line(), "demo");
        let secret = user::change(&self.config, name, |tx, now| {
            users::add(tx, name, Role::Admin, &[], &by, now)?;
            users::links::make(tx, name, &by, now)
        });
        Ok(user::link(&self.config, &secret.map_err(|e| e.text)?))
    }

    /// A secret for machines of each unit.
    pub fn secrets(&self) -> Result<Vec<(&'static str, String)>, String> {
        let new = |unit: &'static str| {
            let args = enrol::NewArgs {
                unit: Some(unit.to_owned()),
                source: sources::osquery::NAME.to_owned(),
                quota: None,
                expires: Some("7d".to_owned()),
                tags: vec!["demo".to_owned()],
                client_certificate: false,
                json: true,
            };
            enrol::create(&self.config, &args).map(|(_, secret)| (unit, secret)).map_err(|e| e.text)
        };
        UNITS.into_iter().map(new).collect()
    }
}

/// Two addresses that nobody listens on; both are held until both are known.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?, two.local_addr()?))
}

/// What stands behind the pipeline that ships: whom its probes tell.
fn addition(smtp: u16) -> String {
    let unit = UNITS.get(1).copied().unwrap_or_default();
    format!(
        r#"
# --- added by the demo -----------------------------------------------------------------------------------------------
[unit.{unit}]
title = "The workshop"

[probes]
act = ["slack-demo", "mail-demo"]

[contact.ada]
email  = "{MAIL_TO}"
groups = ["secops"]

[action.slack-demo]
kind = "slack"
url  = {{ env = "{SLACK_URL}" }}

[action.mail-demo]
kind = "email"
from = "hub@example.com"
to   = ["group:secops"]
smtp.url      = "smtp://localhost:{smtp}"
smtp.user     = "{SMTP_USER}"
smtp.password = {{ env = "{SMTP_PASSWORD}" }}
smtp.ca       = "tls/ca.pem"
"#
    )
}

/// A certificate for the loopback.
pub fn certificates() -> Result<ca::Made, String> {
    ca::make(&ca::names("localhost"), Time::now())
}
