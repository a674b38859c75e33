//! Where people find the console: what links in messages begin with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Config, StageKind};

/// Where the console listens if nobody says otherwise.
pub const CONSOLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Config {
    /// Where people reach the console, without a `/` at the end; none: the configuration has none. It is the `url` of its
    /// table, else the address on which it listens; where that is every address, the host of the hub's `url`.
    pub fn console(&self) -> Option<String> {
        let stage = self.stages.iter().find(|stage| stage.runs(StageKind::Console))?;
        if let Some(url) = stage.settings.peek("url") {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let runs = std::fs::read_to_string(self.data.join("run").join(format!("{}.addr", stage.name))).ok();
        let address = |text: &str| text.trim().parse::<SocketAddr>().ok();
        let listen = runs.as_deref().and_then(address).or_else(|| stage.settings.peek("listen").and_then(address));
        let listen = listen.unwrap_or(CONSOLE);
        let host = self.host().filter(|_| listen.ip().is_unspecified());
        let at = host.map_or_else(|| listen.to_string(), |host| format!("{host}:{}", listen.port()));
        Some(format!("{}://{at}", if stage.settings.has("tls") { "https" } else { "http" }))
    }

    /// What links in messages begin with: events, machines and incidents are pages of the console. Without one the hub's
    /// `url`, behind which it may be.
    pub fn links(&self) -> Option<String> {
        self.console().or_else(|| self.url.clone())
    }

    /// The host of the hub's `url`.
    fn host(&self) -> Option<&str> {
        let at = self.url.as_deref()?.strip_prefix("https://")?;
        let at = at.split('/').next().unwrap_or(at);
        match at.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => Some(host),
            _ => Some(at),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_console() {
        let dir = tempfile::tempdir().unwrap();
        let links = |text: &str| {
            let file = dir.path().join("pipeline.toml");
            std::fs::write(&file, format!("version = 1\nurl = \"https://hub.example.com:8443\"\n{text}")).unwrap();
            Config::load(&file, None).unwrap().0.links().unwrap()
        };
        assert_eq!(links(""), "https://hub.example.com:8443");
        assert_eq!(links("[stage.console]\n"), "http://127.0.0.1:8080");
        assert_eq!(links("[stage.console]\nurl = \"https://c.example.com/\"\n"), "https://c.example.com");
        let tls = "tls = { cert = \"a.pem\", key = \"b.pem\" }\n";
        assert_eq!(links(&format!("[stage.console]\nlisten = \"0.0.0.0:444\"\n{tls}")), "https://hub.example.com:444");
        assert_eq!(links(&format!("[stage.console]\nlisten = \"[::1]:444\"\n{tls}")), "https://[::1]:444");
        // Port 0: the one that was free.
        std::fs::create_dir_all(dir.path().join("data/run")).unwrap();
        std::fs::write(dir.path().join("data/run/console.addr"), "127.0.0.1:4711\n").unwrap();
        assert_eq!(links("[stage.console]\nlisten = \"127.0.0.1:0\"\n"), "http://127.0.0.1:4711");
    }
}
