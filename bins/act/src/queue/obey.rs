//! Orders that people give: about dead letters, actions, probes and incidents.

use event::Event;
use pipe::{Out, StageError};
use registry::db::Tx;
use registry::orders::{Hand, Order, Trial};

use super::Queue;
use crate::incidents::{self, by_hand};
use crate::lanes::ms;
use crate::ledger::{self, Delivery, KeptLine};
use crate::outcome::{Details, Outcome};
use crate::told::Kept;
use crate::trial;

impl Queue {
    pub(super) fn obey(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let Some(told) = watch.take() else { return Ok(()) };
        let now = self.now();
        self.learn_forgotten(told.forgotten, tx)?;
        for order in told.orders {
            if !ledger::order_done(tx, &order.id, now)? {
                continue;
            }
            if self.obey_other(&order, out, tx)? {
                continue;
            }
            let Some(row) = ledger::dead(tx, &order.target)? else {
                tracing::warn!("order {}: there is no dead letter {}", order.verb, order.target);
                continue;
            };
            match order.verb.as_str() {
                "retry" if self.is_over(&row, tx)? => {
                    self.count_open(&row.action, 1);
                    self.end(&row, None, Outcome::Dropped, "the incident is over", Details::default(), out, tx)?;
                }
                "retry" => {
                    let give_up = self.actions.get(&row.action).map_or(0, |ready| ms(ready.common.give_up));
                    ledger::raise(tx, &row.id, now, now.saturating_add(give_up))?;
                    self.count_open(&row.action, 1);
                    (self.wake_at, self.look_for_gone) = (i64::MIN, true);
                    tracing::info!("dead letter {} is tried again", row.id);
                }
                "drop" => {
                    // It was no longer open: the end below takes one off.
                    self.count_open(&row.action, 1);
                    let error = row.error.clone();
                    self.end(&row, None, Outcome::Dropped, &error, Details::default(), out, tx)?;
                }
                verb => tracing::warn!("order {}: `{verb}` is no order", order.id),
            }
        }
        Ok(())
    }

    /// Whether a delivery would begin what nobody would end.
    fn is_over(&self, row: &Delivery, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        if row.incident.is_empty() || row.told.ends() {
            return Ok(false);
        }
        Ok(incidents::find(tx, &row.incident)?.is_none_or(|incident| incident.status == "closed"))
    }

    /// Orders that are not about dead letters. `false`: it is none of them.
    fn obey_other(&mut self, order: &Order, out: &mut Out, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        let now = self.now();
        match order.verb.as_str() {
            "mute" => match order.target.split_once(' ').and_then(|(name, until)| Some((name, until.parse().ok()?))) {
                Some((name, until)) => {
                    self.brakes.mute(name, now, until, tx)?;
                    tracing::info!("{name} is muted");
                }
                None => tracing::warn!("order {}: `{}` is no name and time", order.id, order.target),
            },
            "resume" => {
                let held = self.brakes.resume(&order.target, tx)?;
                self.wake_at = i64::MIN;
                tracing::info!("{}: {}", order.target, if held { "goes on" } else { "nothing held it" });
            }
            "take" | "close" | "comment" => self.obey_by_hand(order, now, out, tx)?,
            "try" => self.obey_try(order, out, tx)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn obey_by_hand(&mut self, order: &Order, now: i64, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let Ok(hand) = serde_json::from_str::<Hand>(&order.target) else {
            tracing::warn!("order {}: it is not understood", order.id);
            return Ok(());
        };
        let mut happened = Vec::new();
        let Some(mut told) = by_hand(&order.verb, &hand, now, &mut happened, tx)? else {
            tracing::warn!("order {}: there is no open incident {}", order.verb, hand.incident);
            return Ok(());
        };
        for one in happened {
            self.tell_happened(&told.event, &told.row.probe, one, out);
        }
        let probe = told.event.probes.pop();
        let line = KeptLine::new(ledger::line_for(&mut told.event, probe));
        for action in &told.row.act {
            self.add(&told.event, &line, action, &told.kept, nonce(order), out, tx)?;
        }
        Ok(())
    }

    /// A delivery like others, of an event that says that it is a test.
    fn obey_try(&mut self, order: &Order, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let asked = serde_json::from_str::<Trial>(&order.target).ok();
        let event = |trial: &Trial| match &trial.event {
            Some(line) => Event::parse(line.get().as_bytes()).ok(),
            None => Some(trial::sample()),
        };
        let Some((trial, event)) = asked.and_then(|trial| Some((event(&trial)?, trial))).map(|(e, t)| (t, e)) else {
            tracing::warn!("order {}: it is not understood", order.id);
            return Ok(());
        };
        let (event, line) = trial::marked(event, &trial.action);
        self.add(&event, &KeptLine::new(line), &trial.action, &Kept::plain(), nonce(order), out, tx)?;
        Ok(())
    }
}

/// The order's id is random: 60 bits of it are as good as the order itself.
fn nonce(order: &Order) -> u64 {
    u64::from_str_radix(order.id.get(..15).unwrap_or(&order.id), 16).unwrap_or(1).max(1)
}
