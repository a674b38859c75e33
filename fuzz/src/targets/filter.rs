//! jq programs of strangers: any text compiles or is an error with a place, and what compiles stays within its limits.

use std::time::Duration;

use event::json;
use probe::{Decision, EvalError, Limits, NoModules, compile, parse};

use super::big_stack::BigStack;
use super::show;

/// What filters see here.
const EVENT: &[u8] = br#"{"v":1,"type":"osquery_result","tags":["osquery"],"machine":{"serial_number":"C02"},"received":"2026-11-21T19:00:03.001Z","payload":{"name":"usb_devices","action":"added","columns":{"vendor":"C-Media","n":"12","u":"\u00fc\ud83d\ude00"},"list":[1,-0.5,1e400,null,true,[[]],{}]}}"#;

/// `data` is a program. It runs over one event with small limits; CPU time would make runs differ, so it is no limit.
pub fn run(data: &[u8]) {
    static WORKER: BigStack = BigStack::new(check);
    WORKER.run(data);
}

fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let program = match compile(text, "fuzz", &NoModules) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.problems.is_empty(), "an error that says nothing: {}", show(data));
            assert!(!error.render().is_empty());
            return;
        }
    };
    let limits = Limits { steps: 5_000, cpu: Duration::from_secs(600), ..Limits::default() };
    let event = parse(EVENT).expect("the event is JSON");
    let (decision, outputs) = (program.decide(&event, 0, &limits), program.eval(&event, 0, &limits));
    if let Ok(outputs) = &outputs {
        for output in outputs {
            assert!(json::is_canonical(output.as_bytes()), "{} gives {output}", show(data));
        }
    }
    // Deciding reads the same outputs, only fewer of them.
    match (&decision, &outputs) {
        (Decision::No, Ok(outputs)) => assert!(outputs.iter().all(|o| o == "false" || o == "null"), "{}", show(data)),
        (Decision::Failed(_) | Decision::Exceeded(_), Ok(_)) => {
            panic!("{decision:?}, but all outputs came: {}", show(data))
        }
        (Decision::No, Err(EvalError::Failed(_))) => panic!("no match, but it fails: {}", show(data)),
        _ => {}
    }
}
