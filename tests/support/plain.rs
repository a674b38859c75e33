//! HTTP without TLS: servers, and what a hub tells at the address of its metrics.

use std::io::{Error, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take: a database that is away is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// Asks HOST:PORT, with or without `http://`; status and body.
pub fn ask(place: &str, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(place.trim_start_matches("http://").trim_end_matches('/'))?;
    stream.set_read_timeout(Some(WITHIN))?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let broken = || Error::other(format!("no whole answer: {}", String::from_utf8_lossy(&all)));
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    let body = &all[end + 4..];
    let chunked = head.contains("transfer-encoding: chunked");
    Ok((status, if chunked { joined(body).ok_or_else(broken)? } else { body.to_vec() }))
}

/// A body that came in pieces, each after its length: so Elasticsearch answers searches, even to HTTP/1.0.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let at = rest.windows(2).position(|w| w == b"\r\n")?;
        let n = usize::from_str_radix(std::str::from_utf8(&rest[..at]).ok()?, 16).ok()?;
        if n == 0 {
            return Some(all);
        }
        all.extend_from_slice(rest.get(at + 2..at + 2 + n)?);
        rest = rest.get(at + 4 + n..)?;
    }
}

/// The body of an answer that must be good.
pub fn good(place: &str, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let (status, told) = ask(place, method, path, body).unwrap();
    let shown = || (String::from_utf8_lossy(body).into_owned(), String::from_utf8_lossy(&told).into_owned());
    assert_eq!(status, 200, "{method} {path}: {:?}", shown());
    told
}
