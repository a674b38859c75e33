//! What people do to an incident by hand: take it, close it, comment on it.

use event::Event;
use pipe::StageError;
use registry::db::Tx;
use registry::orders::Hand;

use super::{Row, find};
use crate::call::one_line;
use crate::conditions::Happened;
use crate::told::{Kept, Phase};

/// The longest comment, in characters.
const COMMENT_MAX: usize = 2_000;
/// The longest name of who does it.
const BY_MAX: usize = 100;

/// What its actions are told, and of which event.
pub struct Told {
    /// The incident.
    pub row: Row,
    /// For the deliveries.
    pub kept: Kept,
    /// The match that opened it, with its probe.
    pub event: Event,
}

/// Carries out an order: `take`, `close` or `comment`. `None`: there is no such incident, or it is over.
pub fn by_hand(
    verb: &str,
    hand: &Hand,
    now: i64,
    happened: &mut Vec<Happened>,
    tx: &mut Tx<'_>,
) -> Result<Option<Told>, StageError> {
    let Some(mut row) = find(tx, &hand.incident)?.filter(|row| row.status != "closed") else { return Ok(None) };
    let rows = tx.query("SELECT line FROM incidents WHERE id = $1", &[row.id.as_str().into()])?;
    let Some(event) = rows.first().and_then(|row| Event::parse(row.blob(0)).ok()) else { return Ok(None) };
    let said = |text: &str, max| Some(one_line(text, max)).filter(|text| !text.is_empty());
    let (by, comment) = (said(&hand.by, BY_MAX), said(&hand.comment, COMMENT_MAX));
    if let (Some(by), "take") = (&by, verb) {
        row.owner.clone_from(by);
    }
    if let Some(comment) = &comment {
        row.comment.clone_from(comment);
    }
    let phase = match verb {
        "take" => {
            row.status = "taken".to_owned();
            Phase::Changed
        }
        "close" => Phase::Closed,
        _ => Phase::Changed,
    };
    if phase == Phase::Closed {
        row.close(now, tx)?;
    } else {
        row.write(tx)?;
    }
    let mut kept = row.kept(phase);
    if let Some(incident) = &mut kept.incident {
        (incident.by, incident.comment) = (by.or(incident.by.take()), comment);
    }
    // Who did it, and what was said: the event tells it, too.
    let told = kept.incident.clone().unwrap_or_default();
    let said = Row { owner: told.by.unwrap_or_default(), comment: told.comment.unwrap_or_default(), ..row.clone() };
    happened.push(Happened::Incident(phase, Box::new(said)));
    Ok(Some(Told { kept, row, event }))
}
