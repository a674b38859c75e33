//! Several instances of a stage: each has partitions of its own and the rows that belong to them, in a state that they
//! share.
//!
//! The group of the first topic of Kafka decides who has which partition; of the other topics an instance has those of the
//! same numbers. The key of a line decides its partition, whatever the topic, so all lines of a machine are one instance's.

use registry::db::{Db, Tx};

use super::Job;
use crate::config::Place;
use crate::input::Input;
use crate::stage::Stage;
use crate::{StageError, state};

/// Whether an input that is opened after these goes with the first topic of Kafka.
pub(super) fn follows(before: &mut [Input], job: &Job, place: &Place) -> bool {
    let shared = job.instance.is_some() && !job.once && job.state.is_some();
    shared && place.kafka().is_some() && before.iter_mut().any(|input| input.as_kafka().is_some())
}

/// Topics that go together have as many partitions.
pub(super) fn check(inputs: &mut [Input], job: &Job) -> Result<(), StageError> {
    let mut first: Option<(String, usize)> = None;
    for input in inputs.iter_mut().filter(|_| job.instance.is_some()) {
        let name = input.name.clone();
        let Some(kafka) = input.as_kafka() else { continue };
        let many = kafka.partitions();
        match &first {
            Some((other, of_other)) if *of_other != many => {
                return Err(StageError::usage(format!(
                    "stage {}: {name} has {many} partitions and {other} has {of_other}: instances of a stage need the \
                     same number in all topics that they read",
                    job.name
                )));
            }
            Some(_) => {}
            None => first = Some((name, many)),
        }
    }
    Ok(())
}

/// Takes over what the group of an input has decided since the last time, for the inputs that go with it as well.
pub(super) fn settle(
    stage: &mut dyn Stage,
    inputs: &mut [Input],
    index: usize,
    job: &Job,
    db: &mut Db,
) -> Result<(), StageError> {
    let (mut this, mut others) = (None, Vec::new());
    for (at, input) in inputs.iter_mut().enumerate() {
        let Some(kafka) = input.as_kafka() else { continue };
        match at == index {
            true => this = Some(kafka),
            false => others.push(kafka),
        }
    }
    let Some(this) = this else { return Ok(()) };
    if job.instance.is_none() || this.follows() {
        others.clear();
    }
    if this.settle(&mut others, db)? && job.instance.is_some() {
        stage.others_wrote();
    }
    others.push(this);
    for input in others {
        job.metrics.passed_over(&input.name(), &job.name, input.take_passed_over());
    }
    Ok(())
}

/// A transaction of the stage. Instances take turns where the stage has rows that are of no one partition; `seen` is up to
/// where the changes of the registry were known at the last turn, which are of all machines.
pub(super) fn begin<'d>(
    db: &'d mut Db,
    job: &Job,
    stage: &mut dyn Stage,
    seen: &mut Option<u64>,
) -> Result<Tx<'d>, StageError> {
    if job.instance.is_some() && !stage.takes_turns() {
        return Ok(db.begin_beside()?);
    }
    let mut tx = db.begin()?;
    if job.instance.is_some() {
        stage.turn();
        if job.from.contains(&Place::Changes) {
            let known = state::position_within(&mut tx, &Place::Changes.to_string())?.map(|at| at.mark.offset);
            if std::mem::replace(seen, known) != known {
                stage.others_wrote();
            }
        }
    }
    Ok(tx)
}

/// Instances see all changes of the registry; whoever has its turn first takes them. So none stands where it stood before
/// its turn.
pub(super) fn catch_up(inputs: &mut [Input], job: &Job, tx: &mut Tx<'_>) -> Result<(), StageError> {
    inputs.iter_mut().filter(|_| job.instance.is_some()).try_for_each(|input| input.catch_up(tx))
}
