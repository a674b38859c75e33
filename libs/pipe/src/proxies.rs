//! Who speaks for others: a proxy that is trusted may name its client in `X-Forwarded-For`, nobody else may.

use std::net::IpAddr;

/// Networks of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(IpAddr, u8)>);

impl Proxies {
    /// Addresses and networks: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let wrong = |text: &str| format!("`{text}` is no address and no network such as 10.0.0.0/8");
        let mut all = Vec::new();
        for text in texts {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text.as_str(), None),
            };
            let address: IpAddr = address.trim().parse().map_err(|_| wrong(text))?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits: u8 = bits.map_or(Ok(most), |b| b.trim().parse()).map_err(|_| wrong(text))?;
            if bits > most {
                return Err(wrong(text));
            }
            all.push((address, bits));
        }
        Ok(Self(all))
    }

    /// Whether this address is a trusted proxy's.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, bits)| within(address, *network, *bits))
    }

    /// The client of a request that came from `peer`: itself, unless it is trusted; then the last address of
    /// `X-Forwarded-For` that is none of ours. What stands before it could have been written by anyone.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer;
        let mut said = forwarded.rev().flat_map(|line| line.rsplit(','));
        while self.trust(client) {
            match said.next().and_then(address) {
                Some(before) => client = before,
                None => break,
            }
        }
        client
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    parsed.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_the_trusted_speak_for_others() {
        let proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.7", "0.0.0.0/0"].map(str::to_owned);
        let (some, all) = (Proxies::parse(proxies.get(..3).unwrap()).unwrap(), Proxies::parse(&proxies).unwrap());
        let check = |proxies: &Proxies, peer: &str, said: &[&str], want: &str| {
            let client = proxies.client(peer.parse().unwrap(), said.iter().copied());
            assert_eq!(client, want.parse::<IpAddr>().unwrap(), "{peer} {said:?}");
        };
        check(&some, "203.0.113.9", &["1.2.3.4"], "203.0.113.9");
        check(&some, "10.1.2.3", &["1.2.3.4"], "1.2.3.4");
        check(&some, "10.1.2.3", &["6.6.6.6, 1.2.3.4"], "1.2.3.4");
        check(&some, "10.1.2.3", &["6.6.6.6", "1.2.3.4, 10.9.9.9"], "1.2.3.4");
        check(&some, "10.1.2.3", &["1.2.3.4, 192.0.2.7"], "1.2.3.4");
        check(&some, "10.1.2.3", &["1.2.3.4, 192.0.2.8"], "192.0.2.8");
        check(&some, "10.1.2.3", &["1.2.3.4, nobody"], "10.1.2.3");
        check(&some, "10.1.2.3", &[], "10.1.2.3");
        check(&some, "10.1.2.3", &["10.0.0.1"], "10.0.0.1");
        check(&some, "fd12::1", &["[2001:db8::5]:443"], "2001:db8::5");
        check(&some, "fe80::1", &["1.2.3.4"], "fe80::1");
        check(&some, "10.1.2.3", &["::ffff:1.2.3.4"], "1.2.3.4");
        check(&all, "8.8.8.8", &["1.1.1.1:99"], "1.1.1.1");
        for bad in ["10.0.0.0/33", "::/129", "10/8", "hub", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(Proxies::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
