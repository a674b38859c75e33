//! A cluster as a store: documents into the index of their day, or into a data stream; retention by deleting indices.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use elasticsearch::http::Method;
use event::{Time, json};
use pipe::{Exit, StageError};
use tokio::task::JoinSet;

use super::Flavour;
use super::bulk::{Done, Patience, REQUEST, Request, Stopped, Watch, store};
use super::connection::{Connection, Target, Trouble};
use super::document::Builder;
use super::find::Find;
use super::names::Names;
use super::setup::{self, Pages};
use super::stream;
use super::template::{self, Found, Shape};
use crate::index::day::Day;
use crate::index::{Gone, Head, Verdict, forget, judge, oldest};
use crate::search::{Finder, Scope};
use crate::stores::{Around, Store};

/// Requests under way at once: one is written while the other is answered, and the next is made meanwhile.
const AT_ONCE: usize = 2;
/// Bytes of a batch: at its beginning and at its end the cluster waits for us.
const BATCH: usize = 64 << 20;
/// Bytes that each request of a large batch should have.
const SHARE: usize = REQUEST / 2;
/// Events of forgotten machines that are deleted with one request.
const FORGET: usize = 1000;

/// A store on a cluster.
pub struct Cluster {
    connection: Connection,
    flavour: Flavour,
    names: Names,
    shape: Shape,
    keep: Duration,
    builder: Builder,
    watch: Watch,
    template: bool,
    pages: Pages,
    /// How many bytes became of one byte of the last batch.
    swell: usize,
}

impl Cluster {
    /// On this cluster; nothing is asked before the first batch.
    pub fn new(target: Target, flavour: Flavour, names: Names, shape: Shape, keep: Duration) -> Self {
        let builder = Builder::new(names.is_stream());
        Self {
            connection: Connection::new(target),
            flavour,
            names,
            shape,
            keep,
            builder,
            watch: Watch::default(),
            template: false,
            pages: Pages::default(),
            swell: 1,
        }
    }

    /// The same with pages that people look at.
    pub fn with(self, pages: Pages) -> Self {
        Self { pages, ..self }
    }

    /// Asks until there is an answer; what the cluster refuses for good is an error.
    fn insist<T>(&self, mut ask: impl FnMut() -> Result<T, Trouble>) -> Result<T, StageError> {
        let (_, runtime) = self.connection.get()?;
        let mut patience = Patience::new(&self.watch);
        loop {
            match ask() {
                Ok(answer) => {
                    patience.over();
                    return Ok(answer);
                }
                // A template or a search that is refused stays so until somebody does something.
                Err(Trouble::Refused(400, kind, why)) => {
                    return Err(StageError::unreachable(format!("the cluster refuses: {kind}: {why}")));
                }
                Err(trouble) => {
                    runtime.block_on(patience.wait(trouble.label(), &trouble.to_string())).map_err(stopped)?
                }
            }
        }
    }

    /// The template, once in the life of the process; a change by hand is said and left.
    fn ensure_template(&mut self) -> Result<(), StageError> {
        if self.template {
            return Ok(());
        }
        let found = self.insist(|| template::ensure(&self.connection, &self.names, self.flavour, self.shape, false))?;
        let name = template::name(&self.names);
        match found {
            Found::Same => {}
            Found::Written => tracing::info!("wrote the index template {name}"),
            Found::Changed(places) => tracing::warn!(
                "the index template {name} was changed by hand ({}): it is left so; `zentral store setup` writes it anew",
                places.join(", ")
            ),
            Found::Newer(version) => tracing::warn!(
                "the index template {name} is of version {version}, which a newer version of this program wrote: it is left so"
            ),
        }
        self.template = true;
        Ok(())
    }

    /// Days whose index is there.
    fn days(&self) -> Result<Vec<(String, Day)>, Trouble> {
        let path = format!("/_cat/indices/{}?format=json&h=index&expand_wildcards=open,closed", self.names.all());
        let told = match self.connection.json(Method::Get, &path, None) {
            Err(Trouble::Refused(404, ..)) => return Ok(Vec::new()),
            told => told?,
        };
        let names = told.as_array().into_iter().flatten().filter_map(|row| row.get("index")?.as_str());
        Ok(names.filter_map(|name| Some((name.to_owned(), self.names.day(name)?))).collect())
    }

    /// Sends documents as they are made, some requests at a time.
    fn send(&mut self, lines: &[(usize, Head, Cow<'_, [u8]>)]) -> Result<Vec<(usize, Done)>, StageError> {
        let (client, runtime) = self.connection.get()?.clone();
        let mut under_way = JoinSet::new();
        let mut done = Vec::with_capacity(lines.len());
        let mut collect = |told: Result<Result<Vec<_>, Stopped>, tokio::task::JoinError>| {
            done.extend(told.map_err(|e| StageError::state(format!("a request: {e}")))?.map_err(stopped)?);
            Ok::<(), StageError>(())
        };
        let mut rest = lines.iter().peekable();
        let all: usize = lines.iter().map(|(.., line)| line.len()).sum();
        let share = self.share(all);
        let mut made = 0;
        while rest.peek().is_some() {
            let (mut request, mut taken) = (Request::default(), 0);
            while taken < share
                && request.bytes() < REQUEST
                && let Some((place, head, line)) = rest.next()
            {
                taken += line.len();
                request.add(*place, |bytes| {
                    action(&self.names, head, bytes);
                    self.builder.document(head, line, bytes);
                });
            }
            made += request.bytes();
            // What is under way is there all the same, and comes again under its ids.
            if (self.watch.stop)() {
                return Err(stopped(Stopped));
            }
            // The next one is made while as many as may be are under way: the cluster never waits for it.
            if under_way.len() >= AT_ONCE
                && let Some(told) = runtime.block_on(under_way.join_next())
            {
                collect(told)?;
            }
            let (client, watch) = (client.clone(), self.watch.clone());
            under_way.spawn_on(async move { store(&client, &watch, request).await }, runtime.handle());
        }
        while let Some(told) = runtime.block_on(under_way.join_next()) {
            collect(told)?;
        }
        self.swell = made.checked_div(all).unwrap_or(0).max(1);
        Ok(done)
    }

    /// Bytes of lines for one request of a batch that has so many: they are of one size and end together, so that the last
    /// one is not waited for alone while half of the cluster rests.
    fn share(&self, all: usize) -> usize {
        let requests = all.saturating_mul(self.swell).div_ceil(SHARE);
        if requests < 2 { all } else { all.div_ceil(requests.next_multiple_of(AT_ONCE)) }
    }
}

/// The line before a document: into which index, by which id. A data stream takes nothing but `create`.
fn action(names: &Names, head: &Head, out: &mut Vec<u8>) {
    let what = if names.is_stream() { "create" } else { "index" };
    order(what, &names.of(head.time), &head.id, out);
}

/// What to do with which document.
fn order(what: &str, index: &str, id: &str, out: &mut Vec<u8>) {
    for piece in ["{\"", what, "\":{\"_index\":\"", index, "\",\"_id\":"] {
        out.extend_from_slice(piece.as_bytes());
    }
    json::write_str(id, out);
    out.extend_from_slice(b"}}\n");
}

fn stopped(_: Stopped) -> StageError {
    let text = "stopped before the cluster had taken the batch, which is read again".to_owned();
    StageError { exit: Exit::Done, text }
}

impl Store for Cluster {
    fn start(&mut self, around: &Around) {
        self.watch = Watch::of(around);
    }

    fn batch_bytes(&self) -> usize {
        BATCH
    }

    fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, StageError> {
        let mut verdicts = Vec::with_capacity(lines.len());
        let mut wanted: Vec<(usize, Head, Cow<'_, [u8]>)> = Vec::with_capacity(lines.len());
        // The last one with an id and a day wins, whichever request is done first.
        let mut last: HashMap<(String, Day), usize> = HashMap::new();
        let mut same: Vec<(usize, usize)> = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            match judge(line, oldest(self.keep, now), now) {
                Err(verdict) => verdicts.push(verdict),
                Ok((head, text)) => {
                    verdicts.push(Verdict::Stored);
                    // A data stream's index does not go by days.
                    let day = if self.names.is_stream() { Time::default() } else { head.time };
                    let key = (head.id.clone(), Day::of(day));
                    match last.get(&key).and_then(|at| Some((*at, wanted.get_mut(*at)?))) {
                        Some((_, earlier)) => {
                            same.push((earlier.0, place));
                            *earlier = (place, head, text);
                        }
                        None => {
                            last.insert(key, wanted.len());
                            wanted.push((place, head, text));
                        }
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(verdicts);
        }
        self.ensure_template()?;
        for (place, done) in self.send(&wanted)? {
            if let (Done::Refused(why), Some(verdict)) = (done, verdicts.get_mut(place)) {
                *verdict = Verdict::NotTaken(why);
            }
        }
        // An earlier one shares the fate of the one that came after it.
        for (earlier, later) in same.into_iter().rev() {
            if let Some(fate) = verdicts.get(later).cloned()
                && let Some(verdict) = verdicts.get_mut(earlier)
            {
                *verdict = fate;
            }
        }
        if std::mem::take(&mut self.builder.cut) > 0 {
            tracing::warn!(
                "events with too many or too long fields: those beyond the bound are found by bare words only"
            );
        }
        Ok(verdicts)
    }

    fn forget(&mut self, gone: &[Gone]) -> Result<(), StageError> {
        let Some(query) = forget::query(gone) else { return Ok(()) };
        self.ensure_template()?;
        let find = Find::new(self.connection.clone(), self.names.clone());
        let scope = Scope { query, since: None, until: None, deadline: None };
        loop {
            // What was stored just now is found, too.
            let refresh = format!("/{}/_refresh?ignore_unavailable=true&allow_no_indices=true", self.names.all());
            self.insist(|| self.connection.json(Method::Post, &refresh, None))?;
            let lost = |e: crate::search::SearchError| Trouble::Lost(e.to_string());
            let places = self.insist(|| find.places(&scope, FORGET).map_err(lost))?;
            if places.is_empty() {
                return Ok(());
            }
            let mut request = Request::default();
            for (place, (index, id)) in places.iter().enumerate() {
                request.add(place, |bytes| order("delete", index, id, bytes));
            }
            let (client, runtime) = self.connection.get()?;
            let done = runtime.block_on(store(client, &self.watch, request)).map_err(stopped)?;
            if let Some((_, Done::Refused(why))) = done.into_iter().find(|(_, done)| *done != Done::Stored) {
                return Err(StageError::unreachable(format!("the cluster does not delete an event: {why}")));
            }
        }
    }

    fn tidy(&mut self, now: Time) -> Result<(), StageError> {
        let oldest = oldest(self.keep, now);
        // Before the first batch nothing is asked of a cluster that may not be there yet.
        if !self.template {
            return Ok(());
        }
        let past = match self.names.is_stream() {
            true => stream::roll_over(&self.connection, &self.names)
                .and_then(|()| stream::stored_before(&self.connection, &self.names, oldest)),
            false => self.days().map(|days| {
                days.into_iter().filter(|(_, day)| day.end() <= oldest).map(|(index, _)| index).collect::<Vec<_>>()
            }),
        };
        let tidied = past.and_then(|past| {
            for index in past {
                match self.connection.json(Method::Delete, &format!("/{index}"), None) {
                    Ok(_) => tracing::info!("deleted the index {index}, it is past retention"),
                    Err(Trouble::Refused(404, ..)) => {}
                    Err(trouble) => return Err(trouble),
                }
            }
            Ok(())
        });
        // The next time comes in some minutes.
        if let Err(trouble) = tidied {
            tracing::warn!("indices past retention were not all deleted: {trouble}");
        }
        Ok(())
    }

    fn keep(&mut self, keep: Duration) {
        self.keep = keep;
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        Some(Box::new(Find::new(self.connection.clone(), self.names.clone())))
    }

    fn setup(&mut self, to: Option<&Path>) -> Result<Vec<String>, StageError> {
        let Self { connection, names, flavour, shape, pages, .. } = self;
        setup::run(&setup::Of { connection, names, flavour: *flavour, shape: *shape, pages }, to)
    }
}
