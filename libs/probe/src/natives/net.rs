//! Addresses, networks, hosts.

use std::net::{IpAddr, Ipv6Addr};

use jaq_core::box_iter::box_once;
use jaq_core::native::{bome, v};

use super::{Run, any_of, f, fail, string};
use crate::budget;
use crate::value::{Error, Val, ValR};

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("is_ip", v(0), |cv| bome(Ok(Val::Bool(cv.1.as_str().is_some_and(|s| parse(s).is_some()))))),
        ("is_private_ip", v(0), |cv| bome(address(&cv.1).map(|ip| Val::Bool(is_private(ip))))),
        ("is_loopback_ip", v(0), |cv| bome(address(&cv.1).map(|ip| Val::Bool(ip.is_loopback())))),
        ("in_cidr", f(), |cv| box_once(any_of(cv, |ip, net| Ok(Net::parse(net)?.has(address(ip)?))))),
        ("url_host", v(0), |cv| bome(url_host(&cv.1))),
        ("in_domain", f(), |cv| box_once(any_of(cv, |host, domain| in_domain(string(host)?.as_str(), domain)))),
    ]
}

/// An address without its zone (`fe80::1%en0`); an IPv4 address in IPv6 clothes is the IPv4 address.
fn parse(text: &str) -> Option<IpAddr> {
    budget::work_bytes(text.len());
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn address(value: &Val) -> Result<IpAddr, Error> {
    match parse(string(value)?.as_str()) {
        Some(ip) => Ok(ip),
        None => fail(format_args!("{value} is no IP address")),
    }
}

/// Not reachable over the internet: private, loopback, link-local, shared (RFC 6598) or none at all.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = matches!(ip.octets(), [100, 64..=127, ..]);
            // The whole of 0.0.0.0/8 means "this network".
            let this = matches!(ip.octets(), [0, ..]);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared || this
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The first address of a network, as a number, and how many of its bits count.
struct Net {
    first: u128,
    bits: u32,
    v4: bool,
}

impl Net {
    fn parse(value: &Val) -> Result<Self, Error> {
        let Some(net) = Self::read(string(value)?.as_str()) else {
            return fail(format_args!("{value} is no network such as \"10.0.0.0/8\""));
        };
        Ok(net)
    }

    fn read(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        budget::work_bytes(ip.len());
        let ip: IpAddr = ip.parse().ok()?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if (1..=3).contains(&bits.len()) && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= width)?
            }
            Some(_) => return None,
            None => width,
        };
        let mapped = ip.to_canonical().is_ipv4() && ip.is_ipv6() && bits >= 96;
        let bits = if ip.is_ipv4() { bits + 96 } else { bits };
        Some(Self { first: number(ip), bits, v4: ip.is_ipv4() || mapped })
    }

    fn has(&self, ip: IpAddr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        self.v4 == ip.is_ipv4() && (number(ip) ^ self.first) & mask == 0
    }
}

/// Whether this may be a network.
pub(super) fn judge_net(value: &Val) -> Result<(), Error> {
    Net::parse(value).map(drop)
}

/// IPv4 as it is mapped into IPv6.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The host of a URL in lower case; null if it names none. As browsers read it: a backslash is a slash, and what
/// stands before the last `@` is a user.
fn url_host(value: &Val) -> ValR {
    let url = string(value)?.as_str();
    budget::work_bytes(url.len());
    let Some((_, rest)) = url.split_once("://") else { return Ok(Val::Null) };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, _)) if host.parse::<Ipv6Addr>().is_ok() => host,
        _ => host.split_once(':').map_or(host, |(host, _)| host),
    };
    let host = host.trim_end_matches('.').to_lowercase();
    Ok(if host.is_empty() { Val::Null } else { Val::from(host) })
}

/// The domain itself or a name below it.
fn in_domain(host: &str, domain: &Val) -> Result<bool, Error> {
    budget::work_bytes(host.len());
    let (host, name) = (plain(host), plain(string(domain)?.as_str()));
    if name.is_empty() {
        return fail(format_args!("{domain} is no domain"));
    }
    Ok(host == name || host.strip_suffix(&name).is_some_and(|front| front.ends_with('.')))
}

/// Whether this may be a domain.
pub(super) fn judge_domain(value: &Val) -> Result<(), Error> {
    in_domain("", value).map(drop)
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}
