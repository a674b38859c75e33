//! A Chromium without a screen, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>) and Chromium's own commands.

use std::io::{BufRead as _, BufReader, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::hub::wait_for;

/// `goog:chromeOptions.args`: as root, without a graphics card, and without a word to anybody but who is asked for.
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    // Letters without coloured fringes: half the size of a picture.
    "--disable-lcd-text",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--lang=en-GB",
    // Where the cursor is, is looked at as soon as it is there.
    "--force-prefers-reduced-motion",
];

/// How long a command may take: axe-core looks at the longest page within.
const ANSWERED: Duration = Duration::from_secs(120);
/// How often a driver is started until one has a port.
const STARTS: usize = 5;
/// How long a page may take to come.
const WITHIN: Duration = Duration::from_secs(20);

/// Keys as WebDriver names them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

pub struct Chromium {
    driver: Child,
    place: String,
    session: String,
}

impl Chromium {
    /// With script in its pages or without. `scripts/browser` looks after the programs.
    pub fn start(script: bool) -> Self {
        let (driver, port) = (0..STARTS).find_map(|_| driver()).expect("chromedriver says its port");
        let content = if script { 1 } else { 2 };
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            // A dialog that a page opened stands in the way of all that follows, and so is seen.
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": FLAGS, "prefs": {"profile.managed_default_content_settings.javascript": content}}}}});
        let mut chromium = Self { driver, place: format!("127.0.0.1:{port}"), session: String::new() };
        let made = chromium.asked("POST", "/session", &capabilities);
        made["sessionId"].as_str().unwrap().clone_into(&mut chromium.session);
        chromium.size(1280);
        chromium
    }

    fn asked(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, told) = ask(&self.place, method, path, body.to_string().as_bytes()).unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(status, 200, "{method} {path}: {}", told["value"]["message"]);
        told["value"].clone()
    }

    fn tell(&self, command: &str, body: &Value) -> Value {
        self.asked("POST", &format!("/session/{}/{command}", self.session), body)
    }

    /// Loads a page.
    pub fn open(&self, url: &str) {
        self.tell("url", &json!({"url": url}));
    }

    pub fn url(&self) -> String {
        self.asked("GET", &format!("/session/{}/url", self.session), &json!({})).as_str().unwrap().to_owned()
    }

    /// What a function body returns in the page; a promise is waited for.
    pub fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({"script": script, "args": []}))
    }

    /// The same for words of text.
    pub fn text(&self, script: &str) -> String {
        self.run(script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a function body returns true.
    pub fn wait_for(&self, what: &str, script: &str) {
        let why = || format!("{}: {}", self.url(), self.run("return document.body.innerText.slice(0, 500)"));
        wait_for(what, WITHIN, why, || self.run(script) == true);
    }

    /// A command of <https://chromedevtools.github.io/devtools-protocol/>.
    pub fn chromium(&self, command: &str, params: &Value) -> Value {
        self.tell("goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// So many pixels wide.
    pub fn size(&self, width: u32) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// `dark` or `light`, as somebody's system has it.
    pub fn theme(&self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.chromium("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// What the console of the browser was told since the last look: complaints about script, policy, what did not load.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.tell("se/log", &json!({"type": "browser"}));
        let bad =
            log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// All that was asked of the network since the last look.
    pub fn requests(&self) -> Vec<String> {
        let log = self.tell("se/log", &json!({"type": "performance"}));
        let entries = log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap());
        let messages = entries.map(|text| serde_json::from_str::<Value>(text).unwrap()["message"].clone());
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Presses and releases keys, each after the other: `TAB`, `ENTER`, characters of a text.
    pub fn press(&self, keys: &str) {
        let stroke = |key: char| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}));
        let strokes: Vec<Value> = keys.chars().flat_map(stroke).collect();
        self.tell("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]}));
    }

    /// A picture as PNG: so many pixels of the page from its top.
    pub fn picture(&self, height: u32) -> Vec<u8> {
        let size = "const e = document.documentElement; return [e.clientWidth, e.scrollHeight]";
        let size = self.run(size);
        let height = size[1].as_u64().unwrap().min(height.into());
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.chromium("Page.captureScreenshot", &params);
        base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver ends its Chromium with the session, and only so.
        if !self.session.is_empty() {
            let _ = ask(&self.place, "DELETE", &format!("/session/{}", self.session), b"");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A driver and its port; none: another that started at the same moment took that.
fn driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is not installed: scripts/browser installs it");
    let mut said = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = said.find_map(|line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()));
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

/// One request. The driver wants HTTP/1.1, and keeps the connection for another.
fn ask(place: &str, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(ANSWERED))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let (mut stream, mut line, mut length, mut status) = (BufReader::new(stream), String::new(), 0, 0);
    while stream.read_line(&mut line)? > 2 {
        let lower = line.to_lowercase();
        if let Some(code) = lower.strip_prefix("http/1.1 ") {
            status = code.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        } else if let Some(said) = lower.strip_prefix("content-length:") {
            length = said.trim().parse().map_err(std::io::Error::other)?;
        }
        line.clear();
    }
    let mut told = vec![0; length];
    stream.read_exact(&mut told)?;
    Ok((status, told))
}
