//! A mail server that refuses what RFC 5321 (with 1870, 3207, 4954, 6152) and 5322 refuse: commands out of order (503),
//! lines that do not end in CRLF or are too long (500), wrong arguments (501), parameters that were not offered (555),
//! logging in wrongly (535) or before TLS where it is offered (538), sending without a login (530), addresses that do
//! not exist (550), mails that are too large (552) or are no mails (554).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::mail::{Mail, sound};

/// The longest command and the longest line of a mail, with their ends (RFC 5321, § 4.5.3.1).
const COMMAND_MAX: usize = 512;
const LINE_MAX: usize = 1_000;
/// The largest mail, in bytes; said in EHLO.
const SIZE_MAX: usize = 4 << 20;
/// How long nobody may say anything.
const IDLE: Duration = Duration::from_secs(60);

/// How a connection is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Not at all.
    #[default]
    None,
    /// After STARTTLS.
    Start,
    /// From the first byte.
    First,
}

/// What kind of server it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    pub tls: Tls,
    /// User and password, if it asks for them.
    pub login: Option<(&'static str, &'static str)>,
    /// An address that does not exist.
    pub unknown: Option<&'static str>,
}

/// What goes wrong on purpose, once a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The answer to RCPT TO.
    Rcpt(&'static str),
    /// After the mail nothing is said.
    Hang,
    /// The connection breaks before the greeting.
    Reset,
    /// The mail is taken, then the connection breaks.
    Lost,
    /// A greeting without end.
    Flood,
    /// Nothing goes wrong.
    None,
}

#[derive(Default)]
struct State {
    got: Vec<Mail>,
    troubles: Vec<Trouble>,
    /// Commands that were refused, with the answers.
    refused: Vec<(String, String)>,
    connections: usize,
}

/// A mail server on a port of this machine.
#[derive(Clone)]
pub struct Smtp {
    pub url: String,
    /// The certificate to trust, in PEM.
    pub ca: String,
    rules: Rules,
    tls: Arc<ServerConfig>,
    state: Arc<Mutex<State>>,
    loud: bool,
}

impl Smtp {
    /// On a free port.
    pub fn start(rules: Rules, troubles: Vec<Trouble>) -> Self {
        Self::serve("127.0.0.1:0", rules, troubles, false).unwrap()
    }

    /// On this address; `loud`: mails are said on stderr.
    pub fn serve(listen: &str, rules: Rules, troubles: Vec<Trouble>, loud: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let scheme = if rules.tls == Tls::First { "smtps" } else { "smtp" };
        let smtp = Self {
            url: format!("{scheme}://localhost:{}", listener.local_addr()?.port()),
            ca: made.cert.pem(),
            rules,
            tls: Arc::new(tls),
            state: Arc::new(Mutex::new(State { troubles, ..State::default() })),
            loud,
        };
        let server = smtp.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.connection(stream));
            }
        });
        Ok(smtp)
    }

    /// The mails that were taken.
    pub fn got(&self) -> Vec<Mail> {
        self.state().got.clone()
    }

    /// Commands that were refused, with the answers.
    pub fn refused(&self) -> Vec<(String, String)> {
        self.state().refused.clone()
    }

    /// How often somebody came.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits for that many mails, at most 20 s.
    pub fn wait_for(&self, n: usize) {
        let begun = Instant::now();
        while self.state().got.len() < n {
            assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {n} mails");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, mut stream: TcpStream) -> Option<()> {
        let trouble = {
            let mut state = self.state();
            state.connections += 1;
            if state.troubles.is_empty() { Trouble::None } else { state.troubles.remove(0) }
        };
        stream.set_read_timeout(Some(IDLE)).ok()?;
        match trouble {
            Trouble::Reset => return None,
            Trouble::Flood => loop {
                stream.write_all(&[b'x'; 64 << 10]).ok()?;
            },
            _ => {}
        }
        let wire: Box<dyn Wire> = if self.rules.tls == Tls::First { self.secret(stream)? } else { Box::new(stream) };
        let first = self.rules.tls == Tls::First;
        Session { smtp: self.clone(), trouble, secret: first, hello: false, known: false, mail: None }.talk(wire)
    }

    fn secret(&self, stream: TcpStream) -> Option<Box<dyn Wire>> {
        let mut stream = StreamOwned::new(ServerConnection::new(self.tls.clone()).ok()?, stream);
        // Here, so that a client that does not trust us is gone before anything is said.
        stream.conn.complete_io(&mut stream.sock).ok()?;
        Some(Box::new(stream))
    }
}

/// Both ways.
trait Wire: Read + Write {
    /// The stream below, if there is no TLS yet.
    fn bare(&self) -> Option<TcpStream>;
}

impl Wire for TcpStream {
    fn bare(&self) -> Option<TcpStream> {
        self.try_clone().ok()
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn bare(&self) -> Option<TcpStream> {
        None
    }
}

struct Session {
    smtp: Smtp,
    trouble: Trouble,
    secret: bool,
    hello: bool,
    known: bool,
    mail: Option<Mail>,
}

/// What is said to a command.
enum Turn {
    Say(String),
    Tls,
    Data,
    Bye,
}

fn no(text: &str) -> Turn {
    Turn::Say(text.to_owned())
}

impl Session {
    fn talk(mut self, wire: Box<dyn Wire>) -> Option<()> {
        let mut wire = BufReader::new(wire);
        say(&mut wire, "220 localhost ESMTP")?;
        loop {
            let line = match line(&mut wire, COMMAND_MAX)? {
                Ok(line) => line,
                Err(why) => {
                    self.refuse("?", why);
                    say(&mut wire, why)?;
                    continue;
                }
            };
            match self.turn(&line) {
                Turn::Say(answer) => {
                    if answer.starts_with(['4', '5']) {
                        self.refuse(&line, &answer);
                    }
                    say(&mut wire, &answer)?;
                }
                Turn::Bye => return say(&mut wire, "221 bye"),
                Turn::Tls if !wire.buffer().is_empty() => {
                    self.refuse(&line, "commands before TLS began");
                    return None;
                }
                Turn::Tls => {
                    say(&mut wire, "220 go ahead")?;
                    let bare = wire.get_ref().bare()?;
                    wire = BufReader::new(self.smtp.secret(bare)?);
                    // RFC 3207, § 4.2: what was known before is forgotten.
                    (self.secret, self.hello, self.mail) = (true, false, None);
                }
                Turn::Data => {
                    say(&mut wire, "354 end with a dot")?;
                    let answer = self.take(&mut wire)?;
                    match self.trouble {
                        Trouble::Hang => std::thread::sleep(IDLE),
                        Trouble::Lost if answer.starts_with('2') => return None,
                        _ => {}
                    }
                    if !answer.starts_with('2') {
                        self.refuse("DATA", &answer);
                    }
                    say(&mut wire, &answer)?;
                }
            }
        }
    }

    fn refuse(&self, line: &str, answer: &str) {
        if self.smtp.loud {
            eprintln!("refused: {answer}");
        }
        self.smtp.state().refused.push((line.to_owned(), answer.to_owned()));
    }

    fn turn(&mut self, line: &str) -> Turn {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rules = self.smtp.rules;
        let offered = rules.tls == Tls::Start && !self.secret;
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if rest.trim().is_empty() => no("501 who are you?"),
            "HELO" => {
                (self.hello, self.mail) = (true, None);
                no("250 localhost")
            }
            "EHLO" => {
                (self.hello, self.mail) = (true, None);
                let mut answer = format!("250-localhost\r\n250-8BITMIME\r\n250-SIZE {SIZE_MAX}\r\n");
                if offered {
                    answer.push_str("250-STARTTLS\r\n");
                } else if rules.login.is_some() {
                    answer.push_str("250-AUTH PLAIN\r\n");
                }
                Turn::Say(answer + "250 ENHANCEDSTATUSCODES")
            }
            "NOOP" => no("250 ok"),
            "QUIT" => Turn::Bye,
            "RSET" => {
                self.mail = None;
                no("250 ok")
            }
            "VRFY" => no("252 send it, then we know"),
            "EXPN" | "HELP" | "ETRN" => no("502 not here"),
            "STARTTLS" if !offered => no("502 not offered"),
            "STARTTLS" if !rest.is_empty() => no("501 no parameters"),
            "STARTTLS" => Turn::Tls,
            "AUTH" | "MAIL" | "RCPT" | "DATA" if !self.hello => no("503 say EHLO first"),
            "AUTH" if rules.login.is_none() => no("502 not offered"),
            "AUTH" if offered => no("538 5.7.11 encryption needed"),
            "AUTH" if self.known || self.mail.is_some() => no("503 not now"),
            "AUTH" => self.auth(rest),
            "MAIL" if offered => no("530 5.7.0 say STARTTLS first"),
            "MAIL" if rules.login.is_some() && !self.known => no("530 5.7.0 log in first"),
            "MAIL" if self.mail.is_some() => no("503 one at a time"),
            "MAIL" => self.from(rest),
            "RCPT" => self.to(rest),
            "DATA" if !rest.is_empty() => no("501 no parameters"),
            "DATA" if self.mail.as_ref().is_none_or(|mail| mail.to.is_empty()) => no("503 for whom?"),
            "DATA" => Turn::Data,
            _ => no("500 what?"),
        }
    }

    fn auth(&mut self, rest: &str) -> Turn {
        let Some(sent) = rest.strip_prefix("PLAIN ") else { return no("504 only PLAIN, with the login at once") };
        let Ok(sent) = STANDARD.decode(sent) else { return no("501 no base64") };
        let (user, password) = self.smtp.rules.login.unwrap();
        self.known = sent == format!("\0{user}\0{password}").as_bytes();
        no(if self.known { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" })
    }

    fn from(&mut self, rest: &str) -> Turn {
        let Some((address, parameters)) = path(rest, "FROM:") else { return no("501 MAIL FROM:<address>") };
        let mut mail = Mail { from: address, secret: self.secret, known: self.known, ..Mail::default() };
        for parameter in parameters.split_ascii_whitespace() {
            match parameter.split_once('=') {
                Some(("BODY", "8BITMIME")) => mail.eight_bit = true,
                Some(("BODY", "7BIT")) => {}
                Some(("SIZE", size)) => match size.parse::<usize>() {
                    Ok(size) if size <= SIZE_MAX => {}
                    Ok(_) => return no("552 5.3.4 too large"),
                    Err(_) => return no("501 SIZE is a number"),
                },
                _ => return no("555 parameter not offered"),
            }
        }
        self.mail = Some(mail);
        no("250 2.1.0 ok")
    }

    fn to(&mut self, rest: &str) -> Turn {
        let Some(mail) = &mut self.mail else { return no("503 from whom?") };
        let Some((address, parameters)) = path(rest, "TO:") else { return no("501 RCPT TO:<address>") };
        if !parameters.is_empty() {
            return no("555 parameter not offered");
        }
        if let Trouble::Rcpt(answer) = self.trouble {
            self.trouble = Trouble::None;
            return no(answer);
        }
        if self.smtp.rules.unknown == Some(&address) {
            return no("550 5.1.1 no such user");
        }
        if mail.to.len() >= 100 {
            return no("452 4.5.3 too many");
        }
        mail.to.push(address);
        no("250 2.1.5 ok")
    }

    /// The mail itself, whole, whatever it is like; then what is said to it.
    fn take(&mut self, wire: &mut BufReader<Box<dyn Wire>>) -> Option<String> {
        let mut mail = self.mail.take()?;
        let (mut data, mut wrong) = (String::new(), None);
        loop {
            match line(wire, LINE_MAX)? {
                Ok(line) if line == "." => break,
                Ok(line) => {
                    data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    data.push_str("\r\n");
                }
                Err(why) => wrong = Some(why.to_owned()),
            }
            if data.len() > SIZE_MAX {
                wrong = Some("552 5.3.4 too large".to_owned());
                data.clear();
            }
        }
        let wrong = wrong.or_else(|| sound(&data, mail.eight_bit).err().map(|why| format!("554 5.6.0 {why}")));
        if let Some(wrong) = wrong {
            return Some(wrong);
        }
        mail.data = data;
        if self.smtp.loud {
            eprintln!("mail for {}:\n{}", mail.to.join(", "), mail.data);
        }
        self.smtp.state().got.push(mail);
        Some("250 2.0.0 taken".to_owned())
    }
}

fn say<W: Read + Write>(wire: &mut BufReader<W>, text: &str) -> Option<()> {
    wire.get_mut().write_all(format!("{text}\r\n").as_bytes()).ok()?;
    wire.get_mut().flush().ok()
}

/// One line without its end, or what is said to it; none at the end of the connection.
fn line<R: BufRead>(wire: &mut R, max: usize) -> Option<Result<String, &'static str>> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        wire.by_ref().take(max as u64 + 1).read_until(b'\n', &mut bytes).ok()?;
        if bytes.len() == before {
            return None;
        }
        if bytes.ends_with(b"\n") {
            break;
        }
        // The rest of a line that is too long is read and thrown away.
        bytes.drain(..bytes.len() - 1);
        bytes.resize(max + 1, b'x');
    }
    let text = bytes.strip_suffix(b"\r\n").unwrap_or_default();
    Some(match String::from_utf8(text.to_vec()) {
        _ if bytes.len() > max => Err("500 5.5.2 line too long"),
        _ if !bytes.ends_with(b"\r\n") => Err("500 5.5.2 lines end in CRLF"),
        Ok(text) if !text.contains(['\r', '\0']) => Ok(text),
        _ => Err("500 5.5.2 what is this?"),
    })
}

/// `<address>` after the word, and what follows it.
fn path(rest: &str, word: &str) -> Option<(String, String)> {
    let begin = rest.get(..word.len()).filter(|begin| begin.eq_ignore_ascii_case(word))?;
    let (address, parameters) = rest[begin.len()..].strip_prefix('<')?.split_once('>')?;
    let (who, host) = address.rsplit_once('@')?;
    let sound = !who.is_empty() && !host.is_empty() && address.bytes().all(|b| b.is_ascii_graphic());
    (sound && address.len() <= 254).then(|| (address.to_owned(), parameters.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to each of these lines.
    fn talk(rules: Rules, lines: &[&str]) -> Vec<String> {
        let smtp = Smtp::start(rules, vec![]);
        let port = smtp.url.rsplit_once(':').unwrap().1.to_owned();
        let mut stream = BufReader::new(TcpStream::connect(format!("127.0.0.1:{port}")).unwrap());
        let mut said = Vec::new();
        let hear = |stream: &mut BufReader<TcpStream>| loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            if line.get(3..4) != Some("-") {
                return line.get(..3).unwrap_or_default().to_owned();
            }
        };
        hear(&mut stream);
        for line in lines {
            stream.get_mut().write_all(line.as_bytes()).unwrap();
            said.push(hear(&mut stream));
        }
        said
    }

    #[test]
    fn wrong_commands_are_refused() {
        let login = Rules { login: Some(("hub", "pw")), ..Rules::default() };
        assert_eq!(talk(login, &["MAIL FROM:<a@b>\r\n", "EHLO x\r\n", "MAIL FROM:<a@b>\r\n"]), ["503", "250", "530"]);
        assert_eq!(talk(login, &["EHLO x\r\n", "AUTH PLAIN AGh1YgB4\r\n", "AUTH LOGIN\r\n"]), ["250", "535", "504"]);
        assert_eq!(talk(login, &["EHLO x\r\n", "AUTH PLAIN AGh1YgBwdw==\r\n"]), ["250", "235"]);
        let start = Rules { tls: Tls::Start, ..login };
        assert_eq!(talk(start, &["EHLO x\r\n", "AUTH PLAIN AGh1YgBwdw==\r\n"]), ["250", "538"]);
        let open = Rules { unknown: Some("nobody@b"), ..Rules::default() };
        let from = "MAIL FROM:<a@b>\r\n";
        let to = "RCPT TO:<c@d>\r\n";
        for (lines, want) in [
            (vec!["RCPT TO:<a@b>\r\n"], vec!["503"]),
            (vec![from, "RCPT TO:<nobody@b>\r\n", "DATA\r\n"], vec!["250", "550", "503"]),
            (vec!["MAIL FROM:a@b\r\n", "MAIL FROM:<a@b> X=1\r\n", "MAIL FROM:<a b@c>\r\n"], vec!["501", "555", "501"]),
            (vec!["NOOP\n", "FROB\r\n", "EXPN all\r\n"], vec!["500", "500", "502"]),
            (vec![from, to, "DATA\r\n", "no header\r\n.\r\n"], vec!["250", "250", "354", "554"]),
            (vec![from, to, "DATA\r\n", "From: a@b\nDate: x\r\n.\r\n"], vec!["250", "250", "354", "500"]),
        ] {
            let lines = [vec!["EHLO x\r\n"], lines].concat();
            assert_eq!(talk(open, &lines), [vec!["250"], want].concat(), "{lines:?}");
        }
        let long = format!("NOOP {}\r\n", "x".repeat(600));
        assert_eq!(talk(open, &[&long, "NOOP\r\n"]), ["500", "250"]);
    }
}
