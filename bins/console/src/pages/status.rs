//! Status: what `zentral status` tells.

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::hub::Report;

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "status.html")]
pub struct Status {
    #[serde(skip)]
    head: Head,
    /// Why nothing is known.
    away: Option<String>,
    #[serde(flatten)]
    report: Report,
}

/// What `up` tells, as far as this person may see it: the titles of incidents name machines of all units.
pub fn report(app: &App, asked: &Asked) -> (Report, Option<String>) {
    match Report::ask(&app.live().config) {
        Ok(mut report) => {
            if asked.who.as_ref().is_none_or(|who| !who.units.is_empty()) {
                report.incidents.clear();
            }
            (report, None)
        }
        Err(why) => (Report::default(), Some(why)),
    }
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (report, away) = report(app, asked);
    let status = if asked.json && away.is_some() { 503 } else { 200 };
    Ok(Answer::page(asked, &Status { head: Head::new(asked, "Status"), away, report })?.status(status))
}
