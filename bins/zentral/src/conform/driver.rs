//! Drivers: whoever brings a server into the state that a case needs, and says what its placeholders are.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::case::{Case, Request};
use super::client::Answer;
use super::fill::Values;

/// What a case asks of its driver.
pub struct Ask<'a> {
    /// The case.
    pub case: &'a Case,
    /// What must be there, of the case itself and of those that run before it.
    pub needs: &'a [String],
    /// What must be filled.
    pub placeholders: &'a BTreeSet<String>,
}

/// See the module.
pub trait Driver {
    /// Prepares a case.
    fn prepare(&mut self, ask: &Ask<'_>) -> Result<Values, String>;

    /// The events of a type, of a machine if one is named, that the server has made until now.
    fn events(&mut self, kind: &str, machine: Option<&str>) -> Result<Vec<Value>, String>;

    /// Does what a translated case asks for, where that is no request; `None`: it is one.
    fn does(&mut self, _case: &Case, _request: &Request, _values: &Values) -> Option<Result<Answer, String>> {
        None
    }

    /// The case is over: what was made for it alone may go.
    fn done(&mut self) {}
}

/// Nobody: only what needs nothing can be judged.
pub struct Nobody;

impl Driver for Nobody {
    fn prepare(&mut self, ask: &Ask<'_>) -> Result<Values, String> {
        match ask.needs.first() {
            Some(word) => Err(format!("nobody prepares `{word}`: say --driver")),
            None => Ok(Values::new()),
        }
    }

    fn events(&mut self, _kind: &str, _machine: Option<&str>) -> Result<Vec<Value>, String> {
        Err("nobody knows the server's events: say --driver".to_owned())
    }
}

/// A program that is asked in lines of JSON, and answers each with one.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// Bytes of an answer of the program.
const LINE_MAX: u64 = 64 << 20;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Said {
    error: Option<String>,
    values: Values,
    events: Vec<Value>,
}

impl Program {
    /// Starts it; `command` is for a shell.
    pub fn start(command: &str) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("--driver: {e}");
        let mut process = Command::new("/bin/sh");
        process.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process.spawn().map_err(fail)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.ok_or("--driver: has no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    fn ask(&mut self, question: &Value) -> Result<Said, String> {
        let gone = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::BrokenPipe => "the driver has ended".to_owned(),
            _ => format!("the driver: {e}"),
        };
        let stdin = self.stdin.as_mut().ok_or("the driver has no stdin")?;
        stdin.write_all(format!("{question}\n").as_bytes()).and_then(|()| stdin.flush()).map_err(gone)?;
        let mut line = String::new();
        std::io::Read::take(&mut self.stdout, LINE_MAX).read_line(&mut line).map_err(gone)?;
        if line.is_empty() {
            return Err("the driver has ended".to_owned());
        }
        let said: Said = serde_json::from_str(&line).map_err(|e| format!("the driver's answer: {e}"))?;
        said.error.clone().map_or(Ok(said), Err)
    }
}

impl Driver for Program {
    fn prepare(&mut self, ask: &Ask<'_>) -> Result<Values, String> {
        let Ask { case, needs, placeholders } = ask;
        let said = self.ask(&json!({"case": case.name, "needs": needs, "placeholders": placeholders}))?;
        Ok(said.values)
    }

    fn events(&mut self, kind: &str, machine: Option<&str>) -> Result<Vec<Value>, String> {
        self.ask(&json!({"events": {"type": kind, "machine": machine}})).map(|said| said.events)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its input tells it to go.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_line_by_line() {
        let script =
            r#"read a; echo '{"values":{"A":"1"}}'; read b; echo '{"error":"no such word"}'; read c; echo '7'"#;
        let mut driver = Program::start(script).unwrap();
        let text = json!({"name": "a", "area": "b", "source": "c", "request": {"method": "GET", "path": "/"},
            "expect": {"status": 200}});
        let case: Case = serde_json::from_value(text).unwrap();
        let ask = Ask { case: &case, needs: &["w".to_owned()], placeholders: &BTreeSet::new() };
        assert_eq!(driver.prepare(&ask).unwrap().get("A").map(String::as_str), Some("1"));
        assert_eq!(driver.prepare(&ask).unwrap_err(), "no such word");
        assert!(driver.prepare(&ask).unwrap_err().contains("the driver's answer"));
        assert_eq!(driver.prepare(&ask).unwrap_err(), "the driver has ended");
        assert!(Nobody.prepare(&ask).unwrap_err().contains("`w`"));
    }
}
