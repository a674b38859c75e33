//! Before the first batch: lock, state, inputs and outputs as they were left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry::db::{Db, Schema};

use super::told::Complaints;
use super::{Job, Loop, share};
use crate::config::{Place, StageKind};
use crate::fs::{Fs, Guard, RealFs};
use crate::input::{Input, Reader, parse_start};
use crate::kafka::{KafkaInput, KafkaOutput};
use crate::out::Out;
use crate::output::Output;
use crate::stage::{Context, Stage};
use crate::watch::Watch;
use crate::{StageError, state};

impl Loop {
    pub(super) fn open(stage: &mut dyn Stage, job: Job) -> Result<Self, StageError> {
        let fs = RealFs::shared();
        let schemas: Vec<Schema> = [state::SCHEMA].into_iter().chain(stage.schemas()).collect();
        let (lock, mut db) = open_state(&fs, &job, &schemas)?;
        let mut outputs = Vec::new();
        for place in &job.to {
            outputs.push(match place {
                None => Output::None,
                Some(Place::Standard) => Output::Stdout,
                Some(place @ Place::Changes) => return Err(StageError::usage(format!("{place} is an input"))),
                Some(Place::Topic(name)) => Output::topic(&fs, &job.config, &db, name, job.kind.class())?,
                Some(Place::Kafka(name)) => Output::Kafka(Box::new(KafkaOutput::open(
                    &job.config,
                    name,
                    job.signals.clone(),
                    job.metrics.clone(),
                )?)),
            });
        }
        let complaints = match &job.state {
            None => Complaints::logged(),
            Some(_) => Complaints::open(&fs, &job.config, &db, &job.name, job.instance)?,
        };
        let mut inputs = Vec::new();
        // Between pipes we are prompt.
        let batch = if outputs.iter().any(Output::is_pipe) { 0 } else { stage.batch_bytes() };
        for place in &job.from {
            let follows = share::follows(&mut inputs, &job, place);
            inputs.push(open_input(&fs, &job, &mut db, place, follows, batch)?);
        }
        share::check(&mut inputs, &job)?;
        let mut tx = db.begin()?;
        share::catch_up(&mut inputs, &job, &mut tx)?;
        for input in &inputs {
            input.record(&mut tx)?;
        }
        let context = Context {
            name: job.name.clone(),
            waker: job.signals.waker.clone(),
            metrics: job.metrics.clone(),
            config: job.config.clone(),
        };
        stage.start(&context, &mut tx)?;
        for output in &mut outputs {
            output.record(&mut tx)?;
        }
        complaints.record(&mut tx)?;
        tx.commit()?;
        inputs.iter_mut().for_each(Input::committed);
        stage.committed()?;
        for output in &mut outputs {
            if let Output::Topic(topic) = output {
                topic.publish()?;
            }
        }
        let (out, behind) = (Out::new(outputs), inputs.iter().map(|_| None).collect());
        let (measured, state_room, next, reloading, refused, changes_seen) = (None, true, 0, None, None, None);
        let dirs = job.from.iter().filter_map(Place::topic).map(|name| job.config.topic_dir(name)).collect();
        let watch = Watch::start(dirs, job.signals.waker.clone());
        Ok(Self {
            job,
            db,
            inputs,
            out,
            complaints,
            measured,
            behind,
            state_room,
            next,
            reloading,
            refused,
            changes_seen,
            watch,
            _lock: lock,
        })
    }
}

fn open_state(fs: &Arc<dyn Fs>, job: &Job, schemas: &[Schema]) -> Result<(Option<Guard>, Db), StageError> {
    let Some(home) = &job.state else { return Ok((None, Db::memory(schemas)?)) };
    let (wait, stop) = ((job.kind != StageKind::Act).then_some(state::LOCK_WAIT), || job.signals.stopping());
    let lock = job.config.state_lock(home);
    let Some(instance) = job.instance else {
        let guard = state::lock(fs, &lock, wait, &stop)?;
        return Ok((Some(guard), state::open(home, schemas, wait, &stop)?));
    };
    // Several instances share the state of a database, and each partition is fenced.
    let guard = state::lock(fs, &instance_lock(&lock, instance), wait, &stop)?;
    Ok((Some(guard), state::share(home, schemas, instance, wait, &stop)?))
}

/// What only this instance of this machine has: `state/sift-2.lock` beside `state/sift.lock`.
fn instance_lock(lock: &Path, instance: u32) -> PathBuf {
    let stem = lock.file_stem().and_then(|stem| stem.to_str()).unwrap_or("stage");
    lock.with_file_name(format!("{stem}-{instance}.lock"))
}

/// `batch`: bytes of a batch, where lines of stdin need not be handed on at once.
fn open_input(
    fs: &Arc<dyn Fs>,
    job: &Job,
    db: &mut Db,
    place: &Place,
    follows: bool,
    batch: usize,
) -> Result<Input, StageError> {
    let start = job.start.as_deref().unwrap_or("first");
    let start = parse_start(start)
        .ok_or_else(|| StageError::usage(format!("`{start}` is neither first, last nor an age such as 7d")))?;
    let mut input = match place {
        Place::Standard => Input::stdin(job.signals.waker.clone(), batch)?,
        Place::Changes => {
            let name = place.to_string();
            let recorded = state::position(db, &name)?;
            Input::changes(job.config.registry(), name, recorded)
        }
        Place::Topic(topic) => {
            let name = place.to_string();
            let recorded = state::position(db, &name)?;
            Input::topic(fs, &job.config.topic_dir(topic), name, recorded, start)?
        }
        Place::Kafka(topic) => {
            let reader = Reader {
                stage: &job.name,
                instance: job.instance,
                start,
                once: job.once,
                keeps: job.state.is_some(),
                follows,
                waker: job.signals.waker.clone(),
            };
            Input::kafka(place, KafkaInput::open(&job.config, topic, db, &reader)?)
        }
    };
    if job.once {
        input.stop_at_end()?;
    }
    Ok(input)
}
