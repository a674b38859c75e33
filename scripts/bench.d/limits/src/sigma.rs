//! rsigma's engine in this process: FILE is Sigma rules, a YAML document each; a rule's title is its name.
//!
//! Its own program does the same and more for each event (it copies the event for its filters), so this is its fast form.

use std::io;

use rsigma_eval::{Engine, JsonEvent};

use crate::pump::{lines, pump, put};

pub fn run(file: &str) -> io::Result<()> {
    let rules = rsigma_parser::parse_sigma_yaml(&std::fs::read_to_string(file)?).map_err(io::Error::other)?;
    if let Some(error) = rules.errors.first() {
        return Err(io::Error::other(format!("{file}: {error:?}")));
    }
    let mut engine = Engine::new();
    engine.add_collection(&rules).map_err(io::Error::other)?;
    // What it was made from is of no more use; it is not to be counted as the engine's.
    drop(rules);
    pump(|block, out| {
        for line in lines(block) {
            let value: serde_json::Value = serde_json::from_slice(line)?;
            let found = engine.evaluate(&JsonEvent::borrow(&value));
            if !found.is_empty() {
                let names: Vec<&str> = found.iter().map(|found| found.header.rule_title.as_str()).collect();
                out.extend_from_slice(names.join(",").as_bytes());
                out.push(b'\t');
                put(out, line);
            }
        }
        Ok(())
    })
}
