//! Munki: when machines ran it last, what fails, and how script checks stand.

use event::Time;
use registry::inventory::HEARD_WITHIN;
use registry::munki::{self, CheckCount, Overdue, Runs};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Count, counted};
use crate::answer::Wrong;
use crate::app::App;
use crate::ask::Asked;
use crate::text;

/// Machines whose last run is longest ago, and checks that are shown.
const SHOWN: usize = 20;
const CHECKS_MAX: usize = 200;

/// What its page shows.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Munki {
    /// Machines whose last run ended within a day, 7 days, 30 days; before; of which no run is known.
    pub within: [u64; HEARD_WITHIN.len()],
    pub older: u64,
    pub never: u64,
    /// Whose last run is longest ago.
    pub overdue: Vec<Late>,
    /// Installs that failed in the last days, by what was to be installed.
    pub failed: Vec<Count>,
    /// Errors and warnings of the last days, by machine.
    pub errors: Vec<Count>,
    pub warnings: Vec<Count>,
    pub events_away: Option<String>,
    pub checks: Vec<Check>,
}

impl Munki {
    pub fn numbers(&self) -> Vec<String> {
        self.within.into_iter().chain([self.older, self.never]).map(text::number).collect()
    }
}

/// A machine whose last run is long ago.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Late {
    pub key: String,
    pub hostname: Option<String>,
    pub run: Time,
    #[serde(skip)]
    pub link: String,
}

/// How a script check stands: machines by what came of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CheckCount")]
pub struct Check {
    pub name: String,
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
}

pub fn look(app: &App, asked: &Asked) -> Result<Munki, Wrong> {
    let who = asked.who.as_ref();
    let sees = |unit: &str| who.is_some_and(|who| who.sees(Some(unit)));
    let units = who.map(|who| who.units.clone()).unwrap_or_default();
    let now = Time::now();
    let (runs, overdue, checks) = app
        .machines(|known| {
            known.enrolled(|db| {
                Ok((munki::runs(db, now)?, munki::overdue(db, &units, SHOWN)?, munki::check_counts(db)?))
            })
        })?
        .unwrap_or_default();
    let mut page = Munki::default();
    for Runs { within, older, never, .. } in runs.into_iter().filter(|one| sees(&one.unit)) {
        page.within.iter_mut().zip(within).for_each(|(sum, n)| *sum += n);
        page.older += older;
        page.never += never;
    }
    let late = |Overdue { key, hostname, run }: Overdue| Late {
        link: format!("/machines/{}", text::part(&key)),
        key,
        hostname,
        run,
    };
    page.overdue = overdue.into_iter().map(late).collect();
    page.checks = by_name(checks.into_iter().filter(|one| sees(&one.unit)));
    let of = |type_: &str, by: &str| counted(app, asked, &format!("type:{type_}"), by);
    let told = || {
        Ok((
            of("munki_install_failed", "payload.name")?,
            of("munki_error", "machine.serial_number")?,
            of("munki_warning", "machine.serial_number")?,
        ))
    };
    match told() {
        Ok((failed, errors, warnings)) => (page.failed, page.errors, page.warnings) = (failed, errors, warnings),
        Err(why) => page.events_away = Some(why),
    }
    Ok(page)
}

fn by_name(counts: impl Iterator<Item = CheckCount>) -> Vec<Check> {
    let mut all: Vec<Check> = Vec::new();
    for one in counts {
        // They come by name.
        if all.last().is_none_or(|last| last.name != one.name) {
            if all.len() == CHECKS_MAX {
                break;
            }
            all.push(Check { name: one.name, ..Check::default() });
        }
        let Some(check) = all.last_mut() else { break };
        match one.status {
            Some(0) => check.ok += one.machines,
            Some(300) => check.failed += one.machines,
            _ => check.unknown += one.machines,
        }
    }
    all
}
