//! Events sent on over HTTP, batch by batch, to a service that keeps them: what the batch looks like is jq, and so is
//! whether an answer is good ([`preset`]).

pub mod preset;

use std::borrow::Cow;
use std::time::Duration;

use event::Time;
use pipe::config::Secret;
use pipe::{Exit, StageError};
use probe::{Limits, Program};
use remote::hidden::Hidden;
use remote::http::plain;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Runtime;

use crate::cluster::bulk::{Patience, Stopped, Watch, label};
use crate::index::{Gone, Verdict, judge, oldest};
use crate::search::Finder;
use crate::stores::{Around, Store};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;
/// Characters of an answer that stand in a reason.
const REASON_MAX: usize = 200;

/// What one run of a program may use: a batch has some megabytes.
fn limits() -> Limits {
    Limits { steps: 50_000_000, bytes: 512 << 20, outputs: 100_000, cpu: Duration::from_secs(30), ..Limits::default() }
}

/// Where to, and how.
pub struct To {
    /// The address; it may hold a secret.
    pub url: Secret,
    /// What follows an address that has no path of its own.
    pub path: String,
    /// Headers; `{token}` in them is the token.
    pub headers: Vec<(String, Secret)>,
    /// What stands for `{token}`.
    pub token: Option<Secret>,
    /// From `{events}` to the body: each output is a line of it.
    pub body: Program,
    /// Whether an answer `{status, body}` says that the batch is there.
    pub ok: Program,
    /// Whether it says that it may be there another time; none: the status does.
    pub later: Option<Program>,
    /// Bytes of a body before it is compressed; one event alone may be longer.
    pub bytes: usize,
    /// Events in a batch.
    pub lines: usize,
    /// Whether bodies are compressed.
    pub gzip: bool,
}

/// A store that sends on.
pub struct Forward {
    to: To,
    keep: Duration,
    open: Option<Open>,
    watch: Watch,
}

struct Open {
    client: reqwest::Client,
    runtime: Runtime,
    url: String,
    hidden: Hidden,
    token: Option<String>,
}

enum Told {
    Good,
    Later(&'static str, String),
    Never(String),
}

impl Forward {
    /// To this service; nothing is looked up before the first batch.
    pub fn new(to: To, keep: Duration) -> Self {
        Self { to, keep, open: None, watch: Watch::default() }
    }

    fn ready(&mut self) -> Result<&Open, StageError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => open(&self.to)?,
        };
        Ok(self.open.insert(open))
    }

    /// Sends these events until each is taken or refused.
    fn send(&mut self, events: Vec<(usize, &[u8])>, verdicts: &mut [Verdict]) -> Result<(), StageError> {
        let mut patience = Patience::new(&self.watch);
        let mut batches: Vec<Vec<(usize, &[u8])>> = vec![events];
        while let Some(batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let told = match self.body(&batch) {
                Ok(body) if body.len() > self.to.bytes && batch.len() > 1 => Told::Never("too long".into()),
                Ok(body) => {
                    let told = self.post(body)?;
                    // Whoever refuses is there.
                    if !matches!(told, Told::Later(..)) {
                        patience.over();
                    }
                    told
                }
                Err(why) => Told::Never(format!("body: {why}")),
            };
            match told {
                Told::Good => {}
                Told::Later(label, why) => {
                    let open = self.ready()?;
                    open.runtime.block_on(patience.wait(label, &why)).map_err(|Stopped| stopped())?;
                    batches.push(batch);
                }
                // One of them is at fault: it is found by halves, and the others are taken.
                Told::Never(_) if batch.len() > 1 => {
                    let mut first = batch;
                    let second = first.split_off(first.len() / 2);
                    batches.extend([second, first]);
                }
                Told::Never(why) => {
                    for (place, _) in batch {
                        if let Some(verdict) = verdicts.get_mut(place) {
                            *verdict = Verdict::NotTaken(why.clone());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn body(&self, batch: &[(usize, &[u8])]) -> Result<Vec<u8>, String> {
        let mut input = b"{\"events\":[".to_vec();
        for (i, (_, line)) in batch.iter().enumerate() {
            input.extend_from_slice(if i == 0 { b"" } else { b"," });
            input.extend_from_slice(line);
        }
        input.extend_from_slice(b"]}");
        let input = probe::parse(&input).map_err(|e| e.to_string())?;
        let outputs = self.to.body.eval(&input, Time::now().ms(), &limits()).map_err(|e| e.to_string())?;
        if outputs.is_empty() {
            return Err("the program gives nothing".into());
        }
        Ok(outputs.join("\n").into_bytes())
    }

    fn post(&mut self, body: Vec<u8>) -> Result<Told, StageError> {
        let gzip = self.to.gzip;
        let open = self.ready()?;
        let body = if gzip { compressed(&body) } else { body };
        let mut request = open.client.post(&open.url).body(body);
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let told = open.runtime.block_on(async {
            let mut response = request.send().await.map_err(plain)?;
            let (status, mut body) = (response.status().as_u16(), Vec::new());
            while let Some(chunk) = response.chunk().await.map_err(plain)? {
                body.extend(chunk.iter().take(ANSWER_MAX.saturating_sub(body.len())));
                if body.len() >= ANSWER_MAX {
                    break;
                }
            }
            Ok::<_, String>((status, String::from_utf8_lossy(&body).into_owned()))
        });
        let (status, said) = match told {
            Ok(told) => told,
            Err(why) => return Ok(Told::Later("lost", why)),
        };
        let shown: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown = open.hidden.cut(shown);
        // However short it is.
        let shown = match &open.token {
            Some(token) => shown.replace(token.as_str(), "***"),
            None => shown,
        };
        let shown: String = shown.chars().take(REASON_MAX).collect();
        if let Some(requests) = &self.watch.requests {
            requests.with_label_values(&[&status.to_string()]).inc();
        }
        let body = serde_json::from_str::<serde_json::Value>(&said).unwrap_or(serde_json::Value::String(said));
        let answer = serde_json::json!({"status": status, "body": body}).to_string();
        let answer = probe::parse(answer.as_bytes()).map_err(|e| StageError::state(e.to_string()))?;
        let holds = |program: &Program| {
            let outputs = program.eval(&answer, Time::now().ms(), &Limits::default()).ok()?;
            Some(outputs.first().is_some_and(|first| !matches!(first.as_str(), "false" | "null")))
        };
        // A program fails on answers that it was not written for, such as a proxy's page: the status says enough.
        let later = || self.to.later.as_ref().and_then(holds).unwrap_or_else(|| passes(status));
        let why = format!("the service answers {status}: {shown}");
        Ok(if holds(&self.to.ok).unwrap_or(false) {
            Told::Good
        } else if later() {
            Told::Later(label(status), why)
        } else {
            Told::Never(why)
        })
    }
}

/// What may pass: a login that is being mended, a limit, a service in trouble.
fn passes(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 425 | 429 | 500..=599)
}

fn stopped() -> StageError {
    let text = "stopped while the service takes no events; what it has not taken is read again".to_owned();
    StageError { exit: Exit::Done, text }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = gzip.write_all(body);
    gzip.finish().unwrap_or_default()
}

fn open(to: &To) -> Result<Open, StageError> {
    let wrong = StageError::usage;
    let token = to.token.as_ref().map(Secret::resolve).transpose().map_err(|e| wrong(format!("token: {e}")))?;
    // An empty one stands between any two letters of an answer.
    let token = token.filter(|token| !token.is_empty());
    let address = to.url.resolve().map_err(|e| wrong(format!("url: {e}")))?;
    let address = remote::address(&address).map_err(|why| wrong(format!("url: {why}")))?;
    let bare = address.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    let mut hidden = Hidden::default();
    token.iter().for_each(|token| hidden.add(token));
    // Of a collector the path is what makes it secret.
    if let Ok(url) = reqwest::Url::parse(&address) {
        hidden.add_url(&address, &url);
    }
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    for (name, secret) in &to.headers {
        let text = secret.resolve().map_err(|e| wrong(format!("headers: {name}: {e}")))?;
        let text = text.replace("{token}", token.as_deref().unwrap_or_default());
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| wrong(format!("headers: {name}: it holds what no header may")))?;
        value.set_sensitive(true);
        hidden.add(&text);
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong(format!("headers: `{name}` is no name")))?;
        headers.insert(name, value);
    }
    let client = remote::http::client(None).map_err(wrong)?.timeout(TIMEOUT).default_headers(headers).build();
    let client = client.map_err(|e| wrong(format!("no HTTP client: {}", plain(e))))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| StageError::state(format!("no runtime: {e}")))?;
    Ok(Open { client, runtime, url: if bare { format!("{address}{}", to.path) } else { address }, hidden, token })
}

impl Store for Forward {
    fn start(&mut self, around: &Around) {
        self.watch = Watch::of(around);
    }

    /// One request, about: no service knows the ids, so what was sent and not committed is there twice.
    fn batch_bytes(&self) -> usize {
        self.to.bytes / 4 * 3
    }

    fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, StageError> {
        let mut texts: Vec<(usize, Cow<'_, [u8]>)> = Vec::with_capacity(lines.len());
        let mut verdicts = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            verdicts.push(match judge(line, oldest(self.keep, now), now) {
                Ok((_, text)) => {
                    texts.push((place, text));
                    Verdict::Stored
                }
                Err(verdict) => verdict,
            });
        }
        let mut rest = texts.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            // The body says a little more than the events: one that is too long after all is halved.
            let fits = rest.iter().take(self.to.lines).take_while(|(_, text)| {
                bytes += text.len();
                bytes <= self.to.bytes / 4 * 3
            });
            let (batch, left) = rest.split_at(fits.count().max(1));
            self.send(batch.iter().map(|(place, text)| (*place, text.as_ref())).collect(), &mut verdicts)?;
            rest = left;
        }
        Ok(verdicts)
    }

    /// What a service was sent it keeps as it was told to; there is no word for taking it back.
    fn forget(&mut self, _: &[Gone]) -> Result<(), StageError> {
        tracing::warn!("a machine was forgotten: what was sent on about it has to be deleted at the service");
        Ok(())
    }

    fn tidy(&mut self, _: Time) -> Result<(), StageError> {
        Ok(())
    }

    fn keep(&mut self, keep: Duration) {
        self.keep = keep;
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
