//! Stages joined in one process: what one writes is what the next one reads, in memory, in the same transaction.

use std::sync::Arc;

use registry::db::{Schema, Tx};

use crate::config::Config;
use crate::out::Verdicts;
use crate::stage::Preparation;
use crate::{Context, Exit, Line, Out, Stage, StageError};

/// Stages in a row, itself a stage. The chain's outputs are those of the last one; of the others the first output goes to
/// the next stage. The verdicts of the first are those on the lines read; each later stage keeps a sum of its own.
pub struct Chain {
    first: Link,
    /// The configuration in force.
    config: Option<Arc<Config>>,
}

/// A stage of a chain, and where its lines go: into its `out` is built who comes next.
pub(crate) struct Link {
    name: &'static str,
    stage: Box<dyn Stage>,
    out: Out,
    /// Of each line that the stage before is given now: input and number.
    given: Vec<Origin>,
    /// The same of each line that is held for this stage: of which line it was made.
    held: Vec<Origin>,
    sum: Verdicts,
}

/// The input and the number of a line that came into the chain.
type Origin = (usize, u64);

impl Link {
    fn new(name: &'static str, stage: Box<dyn Stage>) -> Self {
        let (out, sum) = (Out::default(), Verdicts::default());
        Self { name, stage, out, given: Vec::new(), held: Vec::new(), sum }
    }

    /// So many lines are held for this stage that were made of the line after those that have their verdicts.
    pub(crate) fn hold(&mut self, verdicts: usize, lines: usize) {
        let origin = self.given.get(verdicts).copied().unwrap_or_default();
        self.held.extend(std::iter::repeat_n(origin, lines));
    }

    /// A batch through this stage and all that follow.
    fn batch(&mut self, lines: &[Line<'_>], state: &mut Tx<'_>) -> Result<(), StageError> {
        if let Some(next) = &mut self.out.next {
            next.given.extend(lines.iter().map(|line| (line.input, line.number)));
        }
        self.stage.batch(lines, &mut self.out, state)?;
        self.out.pass(state)?;
        if let Some(next) = &mut self.out.next {
            next.given.clear();
        }
        Ok(())
    }

    /// The lines that are held for this stage.
    pub(crate) fn take(&mut self, bytes: &[u8], state: &mut Tx<'_>) -> Result<(), StageError> {
        let held = std::mem::take(&mut self.held);
        let mut origins = held.iter().copied();
        let lines = crate::stage::lines(bytes, |_| origins.next().unwrap_or_default());
        // The last stage has the `out` of the whole chain, in which there may be verdicts on lines read.
        let (before, told) = (std::mem::take(&mut self.out.verdicts), self.out.complaints.len());
        self.batch(&lines, state)?;
        let verdicts = std::mem::replace(&mut self.out.verdicts, before);
        if verdicts.lines() != lines.len() as u64 {
            let (name, lines, given) = (self.name, lines.len(), verdicts.lines());
            return Err(StageError::state(format!("{name}: {lines} lines, {given} verdicts: a fault of the stage")));
        }
        self.sum.add(&verdicts);
        for complaint in self.out.complaints.iter_mut().skip(told) {
            complaint.stage.get_or_insert(self.name);
        }
        drop(lines);
        self.held = held;
        self.held.clear();
        Ok(())
    }
}

impl Chain {
    /// A chain that begins with this stage; names are for metrics, sums and refused lines.
    pub fn new(name: &'static str, first: Box<dyn Stage>) -> Self {
        Self { first: Link::new(name, first), config: None }
    }

    /// Adds a stage behind all others.
    pub fn add(&mut self, name: &'static str, stage: Box<dyn Stage>) {
        self.swap(&mut Out::to_next(Box::new(Link::new(name, stage))));
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::successors(Some(&self.first), |link| link.out.next.as_deref())
    }

    fn stages(&self) -> impl Iterator<Item = &dyn Stage> {
        self.links().map(|link| &*link.stage)
    }

    /// Does the same with each link, in order.
    fn each<E>(&mut self, mut what: impl FnMut(&mut Link) -> Result<(), E>) -> Result<(), E> {
        let mut link = Some(&mut self.first);
        while let Some(this) = link {
            what(this)?;
            link = this.out.next.as_deref_mut();
        }
        Ok(())
    }

    /// Exchanges the `out` of the last link.
    fn swap(&mut self, out: &mut Out) {
        let mut link = Some(&mut self.first);
        while let Some(this) = link {
            if this.out.next.is_none() {
                return std::mem::swap(&mut this.out, out);
            }
            link = this.out.next.as_deref_mut();
        }
    }

    /// Lets the last stage write to `out`, and puts there what all of them have to tell.
    fn into(
        &mut self,
        out: &mut Out,
        work: impl FnOnce(&mut Self) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.swap(out);
        let done = work(self);
        self.swap(out);
        out.verdicts.add(&std::mem::take(&mut self.first.out.verdicts));
        // Batches share a commit, so all of it is added to what is there. The last stage's lines are the chain's own.
        let mut given = None;
        let _ = self.each::<()>(|link| {
            out.complaints.append(&mut link.out.complaints);
            let gives = link.out.buffers.first_mut().map(|buffer| std::mem::take(&mut buffer.lines));
            if let Some(given) = std::mem::replace(&mut given, gives) {
                let later = out.later.entry(link.name).or_default();
                later.given += given;
                later.verdicts.add(&std::mem::take(&mut link.sum));
            }
            Ok(())
        });
        done
    }
}

impl Stage for Chain {
    fn outputs(&self) -> &'static [&'static str] {
        self.stages().last().map_or(&[], |stage| stage.outputs())
    }

    fn schemas(&self) -> Vec<Schema> {
        self.stages().flat_map(|stage| stage.schemas()).collect()
    }

    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.config = Some(context.config.clone());
        self.each(|link| link.stage.start(context, state))
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.into(out, |chain| chain.first.batch(lines, state))
    }

    fn due(&self) -> bool {
        self.stages().any(|stage| stage.due())
    }

    fn idle(&mut self, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.into(out, |chain| {
            chain.each(|link| {
                if link.stage.due() {
                    link.stage.idle(&mut link.out, state)?;
                    link.out.pass(state)?;
                }
                Ok(())
            })
        })
    }

    fn committed(&mut self) -> Result<(), StageError> {
        self.each(|link| link.stage.committed())
    }

    fn preparation(&self) -> Option<Preparation> {
        let all: Vec<Preparation> = self.stages().filter_map(|stage| stage.preparation()).collect();
        Some(Box::new(move |config| all.into_iter().try_for_each(|prepare| prepare(config))))
    }

    /// All of them or none: if one cannot, those before it take the old configuration again.
    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let old = self.config.clone();
        let mut taken = 0;
        let done = self.each(|link| {
            link.stage.reload(config)?;
            taken += 1;
            Ok(())
        });
        match (&done, old) {
            (Err(_), Some(old)) => {
                let _ = self.each(|link| {
                    if taken == 0 {
                        return Ok(());
                    }
                    taken -= 1;
                    link.stage.reload(&old)
                });
            }
            _ => self.config = Some(config.clone()),
        }
        done
    }

    fn busy(&self) -> bool {
        self.stages().any(|stage| stage.busy())
    }

    fn drain(&mut self) -> bool {
        let mut under_way = false;
        let _ = self.each::<()>(|link| {
            under_way |= link.stage.drain();
            Ok(())
        });
        under_way
    }

    fn others_wrote(&mut self) {
        let _ = self.each::<()>(|link| {
            link.stage.others_wrote();
            Ok(())
        });
    }

    fn takes_turns(&self) -> bool {
        self.stages().any(|stage| stage.takes_turns())
    }

    fn turn(&mut self) {
        let _ = self.each::<()>(|link| {
            link.stage.turn();
            Ok(())
        });
    }

    fn batch_bytes(&self) -> usize {
        self.stages().map(|stage| stage.batch_bytes()).max().unwrap_or(1 << 20)
    }

    fn commit_bytes(&self) -> usize {
        self.stages().map(|stage| stage.commit_bytes()).max().unwrap_or(0)
    }

    /// Of the last one: what it gave is what the chain gave.
    fn exit(&self) -> Exit {
        self.stages().last().map_or(Exit::Done, |stage| stage.exit())
    }
}
