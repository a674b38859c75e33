//! A mail server that is none: it speaks SMTP with STARTTLS and a login (RFC 5321, 3207, 4954), and prints what it got.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::screen::{BLUE, RED, Screen};
use super::slack::{Shared, with};

/// Bytes of one line.
const LINE_MAX: u64 = 64 << 10;
/// Bytes of a mail.
const MAIL_MAX: usize = 16 << 20;
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// What the server needs to know.
#[derive(Clone)]
pub struct Server {
    tls: TlsAcceptor,
    /// `AUTH PLAIN` as it must come.
    login: Arc<str>,
    got: Shared,
    screen: Screen,
}

impl Server {
    /// With this certificate and key (PEM), for this login.
    pub fn new(
        certificate: &str,
        key: &str,
        (user, password): (&str, &str),
        got: Shared,
        screen: Screen,
    ) -> Result<Self, String> {
        let bad = |what: &dyn std::fmt::Display| format!("mail server: {what}");
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad(&e))?;
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|tls| tls.with_no_client_auth().with_single_cert(chain.unwrap_or_default(), key))
            .map_err(|e| bad(&e))?;
        let login = STANDARD.encode(format!("\0{user}\0{password}"));
        Ok(Self { tls: TlsAcceptor::from(Arc::new(tls)), login: login.into(), got, screen })
    }

    /// Listens until the runtime ends.
    pub async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = self.clone();
            tokio::spawn(async move {
                if let Err(why) = server.talk(stream).await {
                    server.complain(&why);
                }
            });
        }
    }

    fn complain(&self, why: &str) {
        self.screen.line(&format!("  {} {why}", self.screen.paint(RED, "mail ")));
        with(&self.got, |got| got.wrong.push(format!("mail: {why}")));
    }

    async fn talk(&self, mut stream: TcpStream) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("the connection broke: {e}");
        say(&mut stream, "220 localhost ESMTP").await?;
        let mut plain = BufReader::new(stream);
        loop {
            let Some(line) = line(&mut plain).await? else { return Ok(()) };
            let answer = match verb(&line).as_str() {
                "EHLO" => "250-localhost\r\n250 STARTTLS",
                "STARTTLS" => break,
                "QUIT" => return say(plain.get_mut(), "221 bye").await,
                "NOOP" | "RSET" => "250 ok",
                _ => "530 say STARTTLS first",
            };
            say(plain.get_mut(), answer).await?;
        }
        if !plain.buffer().is_empty() {
            return Err("commands that were sent before TLS began".into());
        }
        say(plain.get_mut(), "220 go ahead").await?;
        let stream = self.tls.accept(plain.into_inner()).await.map_err(failed)?;
        self.talk_inside(BufReader::new(stream)).await
    }

    async fn talk_inside<S: AsyncRead + AsyncWrite + Unpin>(&self, mut inside: BufReader<S>) -> Result<(), String> {
        let (mut known, mut from, mut to) = (false, false, Vec::new());
        while let Some(line) = line(&mut inside).await? {
            let answer = match verb(&line).as_str() {
                "EHLO" => "250-localhost\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "AUTH" => {
                    known = line.split_ascii_whitespace().skip(1).eq(["PLAIN", &self.login]);
                    if known { "235 welcome" } else { "535 wrong user or password" }
                }
                "NOOP" => "250 ok",
                "QUIT" => return say(inside.get_mut(), "221 bye").await,
                "RSET" => {
                    (from, to) = (false, Vec::new());
                    "250 ok"
                }
                "MAIL" if !known => "530 log in first",
                "MAIL" => {
                    from = true;
                    "250 ok"
                }
                "RCPT" if from && to.len() < 100 => {
                    to.push(line.split(['<', '>']).nth(1).unwrap_or_default().to_owned());
                    "250 ok"
                }
                "DATA" if !to.is_empty() => {
                    say(inside.get_mut(), "354 end with a dot").await?;
                    let mail = mail(&mut inside).await?;
                    self.take(&mail, &to);
                    (from, to) = (false, Vec::new());
                    "250 taken"
                }
                _ => "503 not now",
            };
            say(inside.get_mut(), answer).await?;
        }
        Ok(())
    }

    fn take(&self, mail: &[String], to: &[String]) {
        let header = |name: &str| header(mail, name);
        let (Some(id), Some(subject)) = (header("Message-ID"), header("Subject")) else {
            return self.complain("a mail without Message-ID or Subject");
        };
        if with(&self.got, |got| got.take(&id)) {
            self.screen.line(&format!("  {} to {}: {subject}", self.screen.paint(BLUE, "mail "), to.join(", ")));
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(to: &mut S, text: &str) -> Result<(), String> {
    let sent = async {
        to.write_all(format!("{text}\r\n").as_bytes()).await?;
        to.flush().await
    };
    // A client that has gone hears no farewell, and that is no mistake.
    sent.await.or_else(|e| if text.starts_with("221") { Ok(()) } else { Err(format!("the connection broke: {e}")) })
}

/// One line without its end; none at the end of the connection, which needs no farewell.
async fn line<S: AsyncRead + Unpin>(from: &mut BufReader<S>) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    let mut limited = from.take(LINE_MAX);
    match tokio::time::timeout(IDLE, limited.read_until(b'\n', &mut bytes)).await {
        Err(_) | Ok(Err(_) | Ok(0)) => Ok(None),
        Ok(Ok(_)) if bytes.ends_with(b"\n") => {
            Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
        }
        Ok(Ok(_)) => Err("a line without end".into()),
    }
}

async fn mail<S: AsyncRead + Unpin>(from: &mut BufReader<S>) -> Result<Vec<String>, String> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    loop {
        let line = line(from).await?.ok_or("a mail without end")?;
        if line == "." {
            return Ok(lines);
        }
        bytes += line.len();
        if bytes > MAIL_MAX {
            return Err("a mail without end".into());
        }
        lines.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
    }
}

fn verb(line: &str) -> String {
    line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// A header, unfolded and with its encoded words decoded (RFC 5322 § 2.2.3, RFC 2047).
fn header(mail: &[String], name: &str) -> Option<String> {
    let head = mail.iter().take_while(|line| !line.is_empty());
    let mut lines =
        head.skip_while(|line| !line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)));
    let mut value = lines.next()?.split_once(':')?.1.trim().to_owned();
    for more in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push(' ');
        value.push_str(more.trim());
    }
    let (mut text, mut encoded) = (String::new(), false);
    for word in value.split(' ') {
        let decoded = word
            .strip_prefix("=?utf-8?b?")
            .and_then(|w| w.strip_suffix("?="))
            .and_then(|w| STANDARD.decode(w).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // The space between two encoded words is not part of the text.
        let joined = text.is_empty() || (encoded && decoded.is_some());
        if !joined {
            text.push(' ');
        }
        encoded = decoded.is_some();
        text.push_str(decoded.as_deref().unwrap_or(word));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let mail: Vec<String> = [
            "From: hub@example.com",
            "subject: USB device on",
            " ada-mbp: =?utf-8?b?w6TDtg==?=",
            "\t=?utf-8?b?w7w=?= end",
            "Message-ID: <1@x>",
            "",
            "To: body",
        ]
        .map(str::to_owned)
        .to_vec();
        for (name, want) in
            [("Subject", Some("USB device on ada-mbp: äöü end")), ("message-id", Some("<1@x>")), ("To", None)]
        {
            assert_eq!(header(&mail, name).as_deref(), want, "{name}");
        }
    }
}
