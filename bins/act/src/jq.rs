//! The jq of actions: bodies, `ok` and `later`. The one place that knows the engine.
//!
//! Programs and values of the engine stay on one thread with a big stack; deliveries ask it and wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use probe::{Limits, NoModules, Program};
use tokio::sync::oneshot;

/// What one run may use: a body is built of a line of up to 4 MiB.
fn limits() -> Limits {
    Limits { steps: 1_000_000, bytes: 64 << 20, outputs: 2, cpu: Duration::from_secs(1), ..Limits::default() }
}

struct Job {
    program: Arc<str>,
    input: Vec<u8>,
    now_ms: i64,
    answer: oneshot::Sender<Result<Vec<u8>, String>>,
}

/// The thread that runs programs; clones share it. It ends with the last of them.
#[derive(Clone)]
pub struct Jq(Sender<Job>);

/// Whether this is a program; the error says where not.
pub fn check(source: &str) -> Result<(), String> {
    compile(source).map(|_| ())
}

fn compile(source: &str) -> Result<Program, String> {
    probe::compile(source, "action", &NoModules).map_err(|e| e.to_string())
}

impl Jq {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Self> {
        let (to, jobs) = channel();
        std::thread::Builder::new().name("jq".into()).spawn(move || {
            if let Err(error) = probe::with_stack(move || serve(&jobs)) {
                tracing::error!("no thread for jq: {error}");
            }
        })?;
        Ok(Self(to))
    }

    /// The only output of `program` on `input`, as JSON text. `now_ms` is what `now` says.
    pub async fn one(&self, program: &Arc<str>, input: Vec<u8>, now_ms: i64) -> Result<Vec<u8>, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the jq engine has stopped".to_owned();
        self.0.send(Job { program: program.clone(), input, now_ms, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Whether the only output of `program` on `input` is neither `false` nor `null`.
    pub async fn holds(&self, program: &Arc<str>, input: Vec<u8>, now_ms: i64) -> Result<bool, String> {
        let one = self.one(program, input, now_ms).await?;
        Ok(!matches!(one.as_slice(), b"false" | b"null"))
    }
}

fn serve(jobs: &Receiver<Job>) {
    let mut programs: HashMap<Arc<str>, Program> = HashMap::new();
    while let Ok(job) = jobs.recv() {
        if !programs.contains_key(&job.program) {
            match compile(&job.program) {
                Ok(program) => programs.insert(job.program.clone(), program),
                Err(why) => {
                    let _ = job.answer.send(Err(why));
                    continue;
                }
            };
        }
        let answer = match programs.get(&job.program) {
            Some(program) => run(program, &job.input, job.now_ms),
            None => Err("no such program".into()),
        };
        let _ = job.answer.send(answer);
    }
}

fn run(program: &Program, input: &[u8], now_ms: i64) -> Result<Vec<u8>, String> {
    let input = probe::parse(input).map_err(|e| e.to_string())?;
    let outputs = program.eval(&input, now_ms, &limits()).map_err(|e| e.to_string())?;
    let mut outputs = outputs.into_iter();
    match (outputs.next(), outputs.next()) {
        (Some(only), None) => Ok(only.into_bytes()),
        (None, _) => Err("it gave nothing".into()),
        (Some(_), Some(_)) => Err("it gave more than one output".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn one_output() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let jq = Jq::start().unwrap();
        let one = |program: &str, input: &str| {
            runtime.block_on(jq.one(&program.into(), input.into(), 0)).map(|b| String::from_utf8(b).unwrap())
        };
        assert_eq!(one("{a: .b}", r#"{"b":[1]}"#), Ok(r#"{"a":[1]}"#.to_owned()));
        assert_eq!(one("empty", "1"), Err("it gave nothing".into()));
        assert_eq!(one("1, 2", "1"), Err("it gave more than one output".into()));
        assert!(one(".a", "[]").is_err());
        assert!(one("[limit(1e9; repeat(1))]", "1").unwrap_err().contains("limit"));
        assert_eq!(one(".", "2").unwrap(), "2", "the thread goes on");
        for (program, holds) in [("true", true), ("false", false), ("null", false), ("0", true)] {
            assert_eq!(runtime.block_on(jq.holds(&program.into(), b"1".to_vec(), 0)), Ok(holds), "{program}");
        }
        assert!(check("{a: (").is_err());
    }
}
