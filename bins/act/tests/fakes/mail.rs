//! A mail as a server gets it: whether it is one (RFC 5322, 2045–2047), and what its reader sees.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One mail as it came.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Over TLS.
    pub secret: bool,
    /// After a login.
    pub known: bool,
    pub eight_bit: bool,
    pub data: String,
}

/// Headers that stand at most once (RFC 5322, § 3.6), and those that must be there.
const ONCE: [&str; 9] =
    ["from", "sender", "reply-to", "to", "date", "message-id", "in-reply-to", "references", "subject"];
const NEEDED: [&str; 2] = ["from", "date"];

/// Whether this is a mail; else why not.
pub fn sound(data: &str, eight_bit: bool) -> Result<(), String> {
    if !eight_bit && !data.is_ascii() {
        return Err("eight bits were not announced".to_owned());
    }
    let (head, _) = data.split_once("\r\n\r\n").ok_or("no end of the header")?;
    let headers = unfolded(head)?;
    let count = |name: &str| headers.iter().filter(|(n, _)| n == name).count();
    if let Some(name) = ONCE.iter().find(|name| count(name) > 1) {
        return Err(format!("{name} more than once"));
    }
    if let Some(name) = NEEDED.iter().find(|name| count(name) == 0) {
        return Err(format!("no {name}"));
    }
    if !head.is_ascii() {
        return Err("a header that is not ASCII".to_owned());
    }
    Ok(())
}

/// Names in lower case, and values in one line.
fn unfolded(head: &str) -> Result<Vec<(String, String)>, String> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        match (line.starts_with([' ', '\t']), all.last_mut()) {
            (true, Some((_, value))) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is no header"))?;
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(format!("`{name}` is no name of a header"));
                }
                all.push((name.to_lowercase(), value.trim().to_owned()));
            }
        }
    }
    Ok(all)
}

impl Mail {
    /// The values of a header, decoded.
    pub fn header(&self, name: &str) -> Vec<String> {
        let (head, _) = self.data.split_once("\r\n\r\n").unwrap();
        let all = unfolded(head).unwrap();
        all.iter().filter(|(n, _)| *n == name.to_lowercase()).map(|(_, value)| words(value)).collect()
    }

    /// The part in plain text.
    pub fn text(&self) -> String {
        self.part("text/plain")
    }

    /// The part in HTML.
    pub fn html(&self) -> String {
        self.part("text/html")
    }

    fn part(&self, kind: &str) -> String {
        let whole = &self.header("content-type")[0];
        let boundary = whole.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
        assert!(self.data.contains(&format!("\r\n--{boundary}--")), "the last part ends");
        let delimiter = format!("--{boundary}\r\n");
        let part = self.data.split(&delimiter).skip(1).find_map(|part| {
            let (head, body) = part.split_once("\r\n\r\n")?;
            let headers = unfolded(head).ok()?;
            let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            value("content-type").filter(|v| v.starts_with(kind))?;
            let body = body.split(&format!("\r\n--{boundary}")).next()?;
            Some(decoded(body, &value("content-transfer-encoding").unwrap_or_default()))
        });
        part.unwrap_or_else(|| panic!("no part in {kind}"))
    }
}

fn decoded(body: &str, encoding: &str) -> String {
    let bytes = match encoding {
        "base64" => STANDARD.decode(body.replace("\r\n", "")).unwrap(),
        "quoted-printable" => quoted_printable(body),
        "7bit" | "8bit" | "" => body.as_bytes().to_vec(),
        other => panic!("encoding {other}"),
    };
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "");
    let (mut out, mut bytes) = (Vec::new(), body.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'=' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            byte => out.push(byte),
        }
    }
    out
}

/// Encoded words decoded (RFC 2047); the space between two of them is not part of the text.
fn words(value: &str) -> String {
    let (mut out, mut after) = (String::new(), false);
    for (n, word) in value.split(' ').enumerate() {
        let decoded = word.strip_prefix("=?utf-8?b?").and_then(|w| w.strip_suffix("?="));
        let decoded = decoded.map(|w| String::from_utf8(STANDARD.decode(w).unwrap()).unwrap());
        if n > 0 && !(after && decoded.is_some()) {
            out.push(' ');
        }
        after = decoded.is_some();
        out.push_str(decoded.as_deref().unwrap_or(word));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mail() {
        let head = "From: a@b\r\nDate: x\r\nTo: c@d\r\n";
        assert_eq!(sound(&format!("{head}\r\nbody\r\n"), false), Ok(()));
        for (data, why) in [
            (format!("{head}To: e@f\r\n\r\nx\r\n"), "to more than once"),
            ("From: a@b\r\n\r\nx\r\n".to_owned(), "no date"),
            (format!("{head}a line\r\n\r\nx\r\n"), "is no header"),
            (format!("{head}\r\né\r\n"), "eight bits"),
            (head.to_owned(), "no end of the header"),
        ] {
            let found = sound(&data, false).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        assert_eq!(words("a =?utf-8?b?w6k=?= =?utf-8?b?w6k=?= b"), "a éé b");
        assert_eq!(quoted_printable("a=3D=\r\nb=C3=A9"), "a=bé".as_bytes());
    }
}
