//! Runs a case: what has to run before it, its request, what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::case::{Case, Expect, PREVIOUS, Request, Wanted};
use super::client::{Answer, Client};
use super::driver::{Ask, Driver};
use super::fill::{self, Values};
use super::judge;
use super::report::Outcome;

/// Cases that may have to run before one, one after the other.
const BEFORE_MAX: usize = 8;
/// How long events may take to come.
const EVENTS_WAIT: Duration = Duration::from_secs(15);
/// Between two looks.
const EVENTS_POLL: Duration = Duration::from_millis(200);

/// Runs cases against one server.
pub struct Runner<'a> {
    /// All that there are, by name.
    pub cases: BTreeMap<&'a str, &'a Case>,
    /// The server.
    pub client: &'a Client,
    /// Who prepares it.
    pub driver: &'a mut dyn Driver,
}

/// A case as it runs.
struct Run {
    values: Values,
    /// The last answer.
    got: Option<Answer>,
    /// Answers with a cursor until now.
    cursors: usize,
}

impl<'a> Runner<'a> {
    /// Runs it.
    pub fn run(&mut self, case: &'a Case) -> Outcome {
        let mut run = Run { values: Values::new(), got: None, cursors: 0 };
        let ran = self.all(case, &mut run);
        self.driver.done();
        let got = run.got.as_ref().map(|answer| judge::shown(answer, &run.values));
        Outcome { error: ran.err().map(|why| fill::hide(&why, &run.values)), got }
    }

    fn all(&mut self, case: &'a Case, run: &mut Run) -> Result<(), String> {
        let mut before = Vec::new();
        self.before(case, &mut before)?;
        let (mut needs, mut placeholders) = (Vec::new(), BTreeSet::new());
        for one in before.iter().copied().chain([case]) {
            for word in one.needs.iter().filter(|word| !word.starts_with(PREVIOUS)) {
                if !needs.contains(word) {
                    needs.push(word.clone());
                }
            }
            placeholders.extend(fill::placeholders(one));
        }
        // These come out of answers to the cases before.
        if !before.is_empty() {
            placeholders.retain(|name| !name.starts_with("CURSOR_"));
        }
        run.values = fill::built_in();
        run.values.extend(self.driver.prepare(&Ask { case, needs: &needs, placeholders: &placeholders })?);
        for one in before {
            self.exchange(one, &one.request, &one.expect, run).map_err(|why| format!("before, {}: {why}", one.name))?;
        }
        self.exchange(case, &case.request, &case.expect, run)?;
        take(&case.take, run)?;
        for (n, step) in case.then.iter().enumerate() {
            let place = |why: String| format!("then {}: {why}", n + 1);
            if let (Some(request), Some(expect)) = (&step.request, &step.expect) {
                self.exchange(case, request, expect, run).map_err(place)?;
            }
            take(&step.take, run).map_err(place)?;
            step.events.iter().try_for_each(|wanted| self.events(wanted, &run.values)).map_err(place)?;
        }
        Ok(())
    }

    /// The cases that have to run before, the first one first.
    fn before(&self, case: &'a Case, into: &mut Vec<&'a Case>) -> Result<(), String> {
        for word in case.needs.iter().filter_map(|word| word.strip_prefix(PREVIOUS)) {
            let (name, times) = match word.trim().rsplit_once(' ') {
                Some((name, "twice")) => (name, 2),
                _ => (word.trim(), 1),
            };
            // "the same request": this very case.
            if name.starts_with("same ") {
                into.push(case);
                continue;
            }
            let found = self
                .cases
                .get(name)
                .copied()
                .ok_or_else(|| format!("there is no case `{name}` that could run before"))?;
            if into.len() + times > BEFORE_MAX {
                return Err(format!("more than {BEFORE_MAX} cases would have to run before"));
            }
            self.before(found, into)?;
            (0..times).for_each(|_| into.push(found));
        }
        Ok(())
    }

    fn exchange(&mut self, case: &Case, request: &Request, expect: &Expect, run: &mut Run) -> Result<(), String> {
        let request = with_cursor(request, run);
        let does = if case.is_translated() { self.driver.does(case, &request, &run.values) } else { None };
        let answer = does.unwrap_or_else(|| self.client.send(&request, &run.values))?;
        let verdict = judge::judge(expect, &answer, &run.values);
        if let Some(cursor) = answer.json.as_ref().and_then(|json| json.get("cursor")).and_then(|c| c.as_str()) {
            run.cursors += 1;
            run.values.insert(format!("CURSOR_{}", run.cursors), cursor.to_owned());
        }
        run.got = Some(answer);
        verdict
    }

    /// Waits until there are as many events as there must be; a case that wants none of a sort looks at another first.
    fn events(&mut self, wanted: &Wanted, values: &Values) -> Result<(), String> {
        let machine = wanted.machine.as_deref().map(|machine| fill::text(machine, values)).transpose()?;
        let paths = wanted.json_has.iter().map(|path| fill::text(path, values)).collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        loop {
            let found = self.driver.events(&wanted.kind, machine.as_deref())?;
            let fits = |event: &&serde_json::Value| paths.iter().all(|path| judge::has(event, path).is_ok());
            let count = found.iter().filter(fits).count();
            if wanted.count.map_or(count > 0, |want| want == count) {
                return Ok(());
            }
            if wanted.count.is_some_and(|want| count > want) || begun.elapsed() > EVENTS_WAIT {
                let want = wanted.count.map_or("at least one".to_owned(), |n| n.to_string());
                let with = if paths.is_empty() { String::new() } else { format!(" with {}", paths.join(", ")) };
                return Err(format!("{want} event of type {}{with} was expected, there are {count}", wanted.kind));
            }
            std::thread::sleep(EVENTS_POLL);
        }
    }
}

/// The same request again asks for the next page: an answer's cursor goes along with an empty body.
fn with_cursor(request: &Request, run: &Run) -> Request {
    let mut request = request.clone();
    let cursor = run.values.get(&format!("CURSOR_{}", run.cursors)).filter(|_| run.cursors > 0);
    if let (Some(cursor), Some(serde_json::Value::Object(body))) = (cursor, &mut request.body)
        && body.is_empty()
    {
        body.insert("cursor".to_owned(), cursor.clone().into());
    }
    request
}

fn take(wanted: &BTreeMap<String, String>, run: &mut Run) -> Result<(), String> {
    for (name, path) in wanted {
        let json = run.got.as_ref().and_then(|answer| answer.json.as_ref());
        let value = json.and_then(|json| judge::at(json, path)).ok_or_else(|| format!("`{path}` is not there"))?;
        run.values.insert(name.clone(), judge::word(value));
    }
    Ok(())
}
