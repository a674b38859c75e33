//! A hub of our own as the server: a word of `needs` is what its owner or an agent would do, and every value comes from
//! what the hub says then.

mod config;
mod jamf;
mod machines;
mod munki;
mod osquery;
mod process;
mod santa;
mod translate;

use serde_json::Value;

use super::case::{Case, Request};
use super::client::{Answer, Client};
use super::driver::{Ask, Driver};
use super::fill::Values;
use process::{Process, random};

/// See the module.
pub struct Hub {
    process: Process,
    machines: u32,
}

/// A case while it is prepared.
pub struct Fixture<'h> {
    /// The hub.
    pub hub: &'h mut Process,
    /// What was found until now.
    pub values: Values,
    /// Tags of its enrolments.
    pub tags: Vec<String>,
    /// A tag that its machines have and no others.
    pub own_tag: String,
    /// Unit of its enrolments.
    pub unit: &'static str,
    /// Serial number of its machine.
    pub serial: String,
    /// Hardware UUID of its machine.
    pub uuid: String,
}

/// What a word asks for before anything is enrolled.
#[derive(Default)]
pub struct Wish {
    /// Tags of the enrolment.
    pub tags: &'static [&'static str],
    /// Its unit.
    pub unit: Option<&'static str>,
    /// Pieces of the configuration that must be in force from the start.
    pub pieces: &'static [&'static str],
    /// Pieces that take the place of others.
    pub now: &'static [&'static str],
}

impl Hub {
    /// Starts it.
    pub fn start() -> Result<Self, String> {
        Ok(Self { process: Process::start()?, machines: 0 })
    }

    /// The way to it.
    pub fn client(&self) -> Result<Client, String> {
        self.process.way()
    }
}

impl Driver for Hub {
    fn prepare(&mut self, ask: &Ask<'_>) -> Result<Values, String> {
        self.machines += 1;
        let serial = format!("C02CF{:05}", self.machines);
        let mut fixture = Fixture {
            hub: &mut self.process,
            values: Values::new(),
            tags: Vec::new(),
            own_tag: format!("conform-{}", self.machines),
            unit: "default",
            serial,
            uuid: uuid()?,
        };
        let words: Vec<(&str, &str)> =
            ask.needs.iter().map(|word| word.split_once(':').unwrap_or((word.as_str(), ""))).collect();
        let mut now = Vec::new();
        for (name, option) in &words {
            let wish = wish(name, option);
            wish.pieces.iter().try_for_each(|piece| fixture.hub.has(piece))?;
            fixture.tags.extend(wish.tags.iter().map(|tag| (*tag).to_owned()));
            fixture.unit = wish.unit.unwrap_or(fixture.unit);
            now.extend_from_slice(wish.now);
        }
        fixture.hub.now(&now, "")?;
        for (name, option) in words {
            fixture.word(name, option)?;
        }
        for name in ask.placeholders {
            if !fixture.values.contains_key(name) {
                fixture.default(name)?;
            }
        }
        Ok(fixture.values)
    }

    fn events(&mut self, kind: &str, machine: Option<&str>) -> Result<Vec<Value>, String> {
        let of = |text: &str| Value::from(text).to_string();
        let machine = machine.map(|m| format!(" and .machine.serial_number == {}", of(m))).unwrap_or_default();
        let chosen = format!(".type == {}{machine}", of(kind));
        self.process.lines(&["cat", "events", "--where", &chosen])
    }

    fn does(&mut self, case: &Case, request: &Request, values: &Values) -> Option<Result<Answer, String>> {
        Some(translate::does(&self.process, case, request, values))
    }

    fn done(&mut self) {
        self.process.settle();
    }
}

fn wish(name: &str, option: &str) -> Wish {
    osquery::wish(name, option)
        .or_else(|| santa::wish(name, option))
        .or_else(|| munki::wish(name, option))
        .or_else(|| jamf::wish(name))
        .unwrap_or_default()
}

impl Fixture<'_> {
    fn word(&mut self, name: &str, option: &str) -> Result<(), String> {
        let known = osquery::word(self, name, option)?
            || santa::word(self, name, option)?
            || munki::word(self, name, option)?
            || jamf::word(self, name)?
            || machines::word(self, name, option)?;
        if known { Ok(()) } else { Err(format!("this driver does not know the word `{name}`")) }
    }

    /// What a case uses and no word of it says.
    fn default(&mut self, name: &str) -> Result<(), String> {
        let value = match name {
            "NEW_UUID" => uuid()?,
            "METRICS_TOKEN" => self.hub.has("metrics").map(|()| self.hub.bearer.clone())?,
            "MUNKI_SERIAL" | "SANTA_SERIAL" | "OSQUERY_SERIAL" => self.serial.clone(),
            "SIGNED_SECRET_OSQUERY" => self.legacy("osquery")?,
            "SIGNED_SECRET_SANTA" => self.legacy("santa")?,
            "SIGNED_SECRET_MUNKI" => self.legacy("munki")?,
            "SIGNED_SECRET_JSS" => self.hub.has("jamf").map(|()| self.hub.secret.clone())?,
            "NODE_KEY" => {
                osquery::word(self, "osquery_enrolled_machine", "")?;
                return Ok(());
            }
            // There are no such tokens: who may use the command line may do everything.
            "API_TOKEN" | "API_TOKEN_NO_RIGHTS" => String::new(),
            _ => return Err(format!("nobody fills in {{{{{name}}}}}")),
        };
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    fn legacy(&self, source: &str) -> Result<String, String> {
        self.hub.has("legacy")?;
        self.enrolment(source, &[])
    }

    /// A new enrolment's secret.
    pub fn enrolment(&self, source: &str, more: &[&str]) -> Result<String, String> {
        let mut tags = self.tags.clone();
        // Munki is told its tags, and a case says which they are.
        tags.extend(Some(self.own_tag.clone()).filter(|_| source != "munki"));
        let tags = tags.join(",");
        let mut words = vec!["enrol", "new", "--source", source, "--unit", self.unit];
        if !tags.is_empty() {
            words.extend(["--tags", &tags]);
        }
        let made = self.hub.says(&[&words, more].concat())?;
        Ok(process::word(&made, "secret").to_owned())
    }

    /// Keeps a value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// A value that another word has found.
    pub fn get(&self, name: &str) -> Result<&str, String> {
        self.values.get(name).map(String::as_str).ok_or_else(|| format!("{name} is not there yet"))
    }
}

/// A random UUID (version 4).
pub fn uuid() -> Result<String, String> {
    let hex = random(16)?;
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_uppercase();
    Ok(format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32)))
}
