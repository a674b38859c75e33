//! From specs to a set, from scratch or from the set before.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::{Code, FilterSet, Inner, Probe, Seen};
use crate::analyse::{Node, PathId, Paths, Patterns};
use crate::budget::Limits;
use crate::compile::Text;
use crate::error::CompileError;
use crate::gate::gate;
use crate::index::{Clause, Index, Rarity, clauses};
use crate::link::Modules;
use crate::read::{Read, read};
use crate::segment::{Recorder, SEGMENT, Segment};
use crate::spec::{Source, Spec};

pub(super) fn build(
    old: Option<&FilterSet>,
    specs: Vec<Spec>,
    modules: &dyn Modules,
) -> Result<FilterSet, Vec<CompileError>> {
    let learner = old.map(|old| old.learner.taken_over()).unwrap_or_default();
    let old = old.filter(|old| !old.inner.is_stale());
    let (mut paths, mut patterns) = match old {
        Some(old) => (old.inner.paths.clone(), old.inner.patterns.clone()),
        None => (Paths::default(), Patterns::default()),
    };
    patterns.forget_unused();
    let known: HashMap<&str, &Arc<Probe>> =
        old.iter().flat_map(|old| &old.inner.probes).map(|p| (p.spec.name.as_str(), p)).collect();
    let kept: Vec<Option<Arc<Probe>>> = specs
        .iter()
        .map(|spec| known.get(spec.name.as_str()).filter(|p| p.spec == *spec).map(|p| Arc::clone(p)))
        .collect();
    let fresh: Vec<&Spec> = specs.iter().zip(&kept).filter(|(_, kept)| kept.is_none()).map(|(s, _)| s).collect();

    let mut made = fresh_probes(&fresh, modules, &mut paths, &mut patterns)?.into_iter();
    let probes: Vec<Arc<Probe>> = kept.into_iter().filter_map(|kept| kept.or_else(|| made.next())).collect();
    let machine = ["serial_number", "hardware_uuid", "hostname"].map(|key| paths.of(&["machine", key]));
    let seen = Seen { id: paths.of(&["id"]), received: paths.of(&["received"]), machine };
    let inner = Inner { probes, paths, patterns, seen };
    let filed = inner.filed();
    let mut rarity = Rarity::of(&filed);
    learner.teach(&mut rarity, &inner.paths);
    let index = inner.index(&filed, &rarity);
    Ok(FilterSet {
        inner: Arc::new(inner),
        index: Arc::new(RwLock::new(Arc::new(index))),
        learner,
        limits: Limits::default(),
    })
}

/// Reads and files what is new.
fn fresh_probes(
    specs: &[&Spec],
    modules: &dyn Modules,
    paths: &mut Paths,
    patterns: &mut Patterns,
) -> Result<Vec<Arc<Probe>>, Vec<CompileError>> {
    let mut own: Vec<(Source, bool)> = Vec::new();
    let mut add = |source: Source, analysed| {
        own.push((source, analysed));
        own.len() - 1
    };
    let mut places = Vec::with_capacity(specs.len());
    for spec in specs {
        let filter = add(spec.filter.clone(), true);
        let until = spec.until.clone().map(|until| add(until, true));
        let by = spec.by.as_deref().filter(|by| by.trim() != "machine_key");
        let by = by.map(|by| Source { name: format!("probe {}, by", spec.name).into(), text: by.into() });
        places.push((filter, until, by.map(|by| add(by, false))));
    }
    let texts: Vec<(Text<'_>, bool)> =
        own.iter().map(|(Source { name, text }, analysed)| (Text { name, text }, *analysed)).collect();
    let recorder = Recorder::new(modules);
    let mut found = read(&texts, &recorder, paths, patterns)
        .map_err(|errors| errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>())?;
    let recorded = Arc::new(recorder.finish());

    let mut probes = Vec::with_capacity(specs.len());
    for (group, places) in specs.chunks(SEGMENT).zip(places.chunks(SEGMENT)) {
        let first = places.first().map_or(0, |(filter, ..)| *filter);
        let last = places.last().map_or(0, |(filter, until, by)| by.or(*until).unwrap_or(*filter));
        let own = own.get(first..=last).unwrap_or_default().iter();
        let own = own.map(|(source, _)| (Arc::clone(&source.name), Arc::clone(&source.text))).collect();
        let segment = Arc::new(Segment::new(own, Arc::clone(&recorded)));
        for (spec, (filter, until, by)) in group.iter().zip(places) {
            let mut take = |place: usize| found.get_mut(place).and_then(Option::take);
            let Some(read) = take(*filter) else { continue };
            let ends = until.and_then(&mut take);
            let gate = gate(spec, paths);
            let code = Code {
                segment: Arc::clone(&segment),
                filter: filter - first,
                until: until.map(|u| u - first),
                by: by.map(|b| b - first),
            };
            let clauses = filed_under(gate.as_ref(), &read, ends.as_ref());
            probes.push(Arc::new(Probe { spec: (*spec).clone(), gate, read, clauses, code }));
        }
    }
    Ok(probes)
}

/// The clauses of a probe: those of its gate, and of its filter if nothing else ends an incident.
fn filed_under(gate: Option<&Node>, read: &Read, until: Option<&Read>) -> Vec<Clause> {
    let filter = match until {
        None => read.node.clone(),
        Some(until) => Node::Both(Box::new(read.node.clone()), Box::new(until.node.clone())),
    };
    match gate {
        Some(gate) => clauses(&Node::When(Box::new(gate.clone()), Box::new(filter))),
        None => clauses(&filter),
    }
}

/// Paths that nobody uses any more and that are kept all the same, so that others keep their numbers.
const UNUSED_MAX: usize = 4_096;

impl Inner {
    /// Most paths are of filters that are gone: better to read all filters anew.
    fn is_stale(&self) -> bool {
        if self.paths.len() <= UNUSED_MAX {
            return false;
        }
        let mut used = vec![false; self.paths.len()];
        let mut mark = |path: PathId| {
            // Those that it is below are in use as well.
            let mut at = path;
            while let Some(seen) = used.get_mut(at as usize).filter(|seen| !**seen) {
                *seen = true;
                at = self.paths.part(at).map_or(0, |part| part.parent);
            }
        };
        for probe in &self.probes {
            probe.gate.iter().chain([&probe.read.node]).for_each(|node| node.paths(&mut |path| mark(path.path)));
            for key in probe.clauses.iter().flatten() {
                mark(key.place.path);
                key.place.over.map(&mut mark);
            }
        }
        let unused = used.iter().filter(|used| !**used).count();
        unused > UNUSED_MAX && unused > self.paths.len() / 2
    }

    pub(super) fn filed(&self) -> Vec<&[Clause]> {
        self.probes.iter().map(|p| p.clauses.as_slice()).collect()
    }

    pub(super) fn index(&self, filed: &[&[Clause]], rarity: &Rarity<'_>) -> Index {
        let nodes = self.probes.iter().flat_map(|p| p.gate.iter().chain([&p.read.node]));
        let Seen { id, received, machine: [serial, uuid, host] } = self.seen;
        Index::new(filed, nodes, &[id, received, serial, uuid, host], &self.paths, rarity)
    }
}
