//! `kind = "elasticsearch"`: a cluster of Elasticsearch, an index a day.
//!
//! OpenSearch has the same keys and is read here as well.

use pipe::config::Settings;

use super::{Kind, Reading, Store};
use crate::cluster::Flavour;
use crate::cluster::connection::{Login, Target};
use crate::cluster::keeper::Cluster;
use crate::cluster::names::{DEFAULT, DEFAULT_STREAM, Names};
use crate::cluster::setup::Pages;
use crate::cluster::template::Shape;

/// This kind.
pub const KIND: Kind =
    Kind { name: "elasticsearch", open: |settings, reading| open(settings, reading, Flavour::Elasticsearch) };

/// Reads the keys of a store on a cluster.
pub(super) fn open(settings: &mut Settings, reading: &Reading<'_>, flavour: Flavour) -> Option<Box<dyn Store>> {
    let login = login(settings);
    let hosts: Option<Vec<String>> = hosts(settings, matches!(login, Some(Login::Nobody)));
    let pages = pages(settings, matches!(login, Some(Login::Nobody)));
    let (ca, client) = tls(settings);
    let stream = settings.bool("data_stream").unwrap_or(false);
    let pattern = settings.str("index").unwrap_or_else(|| if stream { DEFAULT_STREAM } else { DEFAULT }.to_owned());
    let names = if stream { Names::stream(&pattern) } else { Names::parse(&pattern) };
    let names = names.map_err(|why| settings.fail("index", why)).ok();
    let mut number = |key: &str, least: i64| {
        let n = settings.int(key)?;
        let fits = u32::try_from(n).ok().filter(|n| i64::from(*n) >= least && *n <= 1024);
        if fits.is_none() {
            settings.fail(key, format!("a number from {least} to 1024"));
        }
        fits
    };
    let shape = Shape { shards: number("shards", 1), copies: number("copies", 0) };
    let pages = Pages { at: pages?, hub: reading.config.url.clone() };
    let target = Target { hosts: hosts?, login: login?, ca, client };
    Some(Box::new(Cluster::new(target, flavour, names?, shape, reading.keep).with(pages)))
}

fn hosts(settings: &mut Settings, bare: bool) -> Option<Vec<String>> {
    if !settings.has("hosts") {
        settings.required_str("hosts");
        return None;
    }
    let mut all = Vec::new();
    for host in settings.strings("hosts") {
        match address(&host, bare) {
            Ok(address) => all.push(address),
            Err(why) => settings.fail_word("hosts", &host, why),
        }
    }
    if all.is_empty() {
        settings.fail("hosts", "at least one address, such as https://es-1:9200");
        return None;
    }
    Some(all)
}

/// An address as it is asked. Without a login there is nothing to overhear but events, and many clusters are closed networks
/// of their own.
fn address(text: &str, bare: bool) -> Result<String, String> {
    match bare && text.starts_with("http://") {
        true => remote::address(&text.replacen("http://", "https://", 1)).map(|a| a.replacen("https://", "http://", 1)),
        false => remote::address(text),
    }
}

/// Where Kibana or OpenSearch Dashboards is, if anywhere; none at all if what is said is no address.
fn pages(settings: &mut Settings, bare: bool) -> Option<Option<String>> {
    let Some(text) = settings.str("dashboards") else { return Some(None) };
    address(&text, bare).map(Some).map_err(|why| settings.fail("dashboards", why)).ok()
}

fn login(settings: &mut Settings) -> Option<Login> {
    let Some(mut table) = settings.table("login") else { return Some(Login::Nobody) };
    let (key, token) = (table.secret("api_key"), table.secret("bearer"));
    let (user, password) = (table.str("user"), table.secret("password"));
    let login = match (key, token, user, password) {
        (Some(key), None, None, None) => Some(Login::ApiKey(key)),
        (None, Some(token), None, None) => Some(Login::Bearer(token)),
        (None, None, Some(user), Some(password)) => Some(Login::Basic(user, password)),
        _ => None,
    };
    settings.absorb(table);
    if login.is_none() {
        settings.fail("login", "needs one of: api_key; bearer; user and password");
    }
    login
}

type Files = (Option<std::path::PathBuf>, Option<(std::path::PathBuf, std::path::PathBuf)>);

fn tls(settings: &mut Settings) -> Files {
    let Some(mut table) = settings.table("tls") else { return (None, None) };
    let ca = table.path("ca");
    let client = match (table.path("cert"), table.path("key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            table.fail("cert", "cert and key go together");
            None
        }
    };
    settings.absorb(table);
    (ca, client)
}
