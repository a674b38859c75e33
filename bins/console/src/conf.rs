//! `[stage.console]`.

use std::net::SocketAddr;

use hyper::Uri;
use pipe::Proxies;
use pipe::config::{CONSOLE, Config, Finding, Settings};
use pipe::tls::{Clients, Files};

use crate::oidc;

/// With an authority nobody sees as much as the page for signing in who has no certificate of it.
pub const CLIENTS: Clients = Clients::Needed;

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Conf {
    /// Address to listen on; port 0: any free one.
    pub listen: Option<SocketAddr>,
    /// Where people reach it, if a proxy stands before it or it has a name: `https://console.example.com`.
    pub url: Option<Url>,
    /// Certificate, key, and the authority of whoever may come so far.
    pub tls: Option<Files>,
    /// Who may say for whom they speak.
    pub proxies: Proxies,
    /// Links beside a search: name and address, in which `{query}` stands for the query.
    pub links: Vec<(String, String)>,
    /// Whether editors may write the included files.
    pub edit: bool,
    /// Single sign-on.
    pub oidc: Option<oidc::Conf>,
}

/// The address of the console for browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub secure: bool,
    /// Host and, if it is not the usual one, port.
    pub host: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }
}

impl Conf {
    /// Reads the table.
    pub fn read(table: Option<&Settings>) -> Result<Self, Vec<Finding>> {
        let mut conf = Self { listen: Some(CONSOLE), ..Self::default() };
        let Some(mut table) = table.cloned() else { return Ok(conf) };
        if let Some(text) = table.str("listen") {
            match text.parse() {
                Ok(address) => conf.listen = Some(address),
                Err(_) => table.fail("listen", format!("`{text}` is no address such as 127.0.0.1:8080")),
            }
        }
        if let Some(text) = table.str("url") {
            match url(&text) {
                Some(url) => conf.url = Some(url),
                None => table.fail("url", format!("`{text}` is no address such as https://console.example.com")),
            }
        }
        conf.tls = Files::read(&mut table);
        match Proxies::parse(&table.strings("trusted_proxies")) {
            Ok(proxies) => conf.proxies = proxies,
            Err(why) => table.fail("trusted_proxies", why),
        }
        if let Some(mut links) = table.table("links") {
            for name in links.keys() {
                let Some(to) = links.str(&name) else { continue };
                if !to.starts_with("https://") && !to.starts_with("http://") {
                    links.fail(&name, "begins with https:// or http://");
                }
                conf.links.push((name, to));
            }
            table.absorb(links);
        }
        conf.edit = table.bool("edit").unwrap_or(false);
        if let Some(mut oidc) = table.table("oidc") {
            conf.oidc = oidc::Conf::read(&mut oidc);
            table.absorb(oidc);
            if !table.has("url") {
                table.fail("oidc", "needs `url` beside it: the provider sends people back to URL/login/oidc/callback");
            }
        }
        let open = conf.listen.is_some_and(|address| !address.ip().is_loopback());
        let secure = conf.tls.is_some() || conf.url.as_ref().is_some_and(|url| url.secure);
        if open && !secure {
            table.fail(
                "listen",
                "passwords would cross the network in the clear: give `tls`, or the https `url` of a proxy",
            );
        }
        let findings: Vec<Finding> = table.finish();
        if findings.is_empty() { Ok(conf) } else { Err(findings) }
    }

    /// Units of single sign-on that the configuration does not have: who is kept to one sees nothing.
    pub fn unknown_units(&self, config: &Config, table: &Settings) -> Vec<Finding> {
        let units = self.oidc.iter().flat_map(|oidc| oidc.units.keys());
        let unknown = units.filter(|unit| !config.units.contains_key(*unit));
        unknown.filter_map(|unit| table.finding("oidc", format!("`units`: there is no unit `{unit}`"))).collect()
    }

    /// Whether browsers speak TLS, with us or with a proxy: their cookies then never travel in the clear.
    pub fn secure(&self) -> bool {
        self.tls.is_some() || self.url.as_ref().is_some_and(|url| url.secure)
    }
}

fn url(text: &str) -> Option<Url> {
    let uri: Uri = text.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let bare = uri.path() == "/" && uri.query().is_none();
    bare.then(|| Url { secure, host: authority.as_str().to_ascii_lowercase() })
}

/// See [`crate::address`].
pub fn address(config: &Config) -> String {
    config.console().unwrap_or_else(|| format!("http://{CONSOLE}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Conf, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, format!("version = 1\n[stage.console]\n{text}")).unwrap();
        let config = Config::load(&file, None).unwrap().0;
        Conf::read(config.stage("console").map(|stage| &stage.settings))
            .map_err(|all| all.iter().map(|f| format!("{}: {}", f.key, f.text)).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn tables() {
        let conf = read("").unwrap();
        assert_eq!((conf.listen, conf.secure()), (Some(CONSOLE), false));
        let conf = read("listen = \"0.0.0.0:443\"\nurl = \"https://Hub.example.com:8443/\"\n").unwrap();
        assert_eq!(
            (conf.url.as_ref().unwrap().to_string(), conf.secure()),
            ("https://hub.example.com:8443".into(), true)
        );
        let conf = read("listen = \"[::]:443\"\ntls = { cert = \"a.pem\", key = \"b.pem\" }\n").unwrap();
        assert!(conf.secure() && conf.tls.unwrap().key.ends_with("b.pem"));
        let conf = read("links = { Kibana = \"https://k.example.com/?q={query}\" }\n").unwrap();
        assert_eq!(conf.links, [("Kibana".to_owned(), "https://k.example.com/?q={query}".to_owned())]);
        assert!(read("edit = true\n").unwrap().edit && !conf.edit);
        for (text, says) in [
            ("listen = \"0.0.0.0:80\"\n", "in the clear"),
            ("listen = \"0.0.0.0:80\"\nurl = \"http://hub\"\n", "in the clear"),
            ("listen = \"hub\"\n", "no address"),
            ("url = \"https://a@b\"\n", "stage.console.url: `https://a@b` is no address"),
            ("url = \"https://b/path\"\n", "no address"),
            ("tls = { cert = \"a.pem\" }\n", "needs the key `key`"),
            ("links = { a = \"javascript:alert(1)\" }\n", "begins with https"),
            ("oidc = { issuer = \"https://id\" }\n", "needs the key `client`"),
            ("oidc = { issuer = \"https://id\", client = \"z\" }\n", "needs the key `secret`"),
            ("oidc = { issuer = \"https://id\", client = \"z\", secret = \"s\" }\n", "needs `url`"),
            ("oidc = { issuer = \"http://id\", client = \"z\", secret = \"s\" }\n", "must begin with https://"),
            ("oidc = { isuer = \"https://id\" }\n", "did you mean `issuer`"),
            ("oidc = { groups = \"roles\" }\n", "no group comes in"),
            ("oidc = { units.rome = [\"r\"] }\n", "no group comes in"),
            ("lsten = \"x\"\n", "listen"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
