//! Questions, answered by the cluster: the same answers as [`crate::search`] gives from the embedded index.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use event::Time;
use serde_json::{Value, json};

use super::compile::{self, TERMS};
use super::connection::{Connection, Trouble};
use super::names::{Names, generation};
use super::terms::SEP;
use crate::index::id_order;
use crate::search::count::{DISTINCT_MAX, check_field, too_many_steps};
use crate::search::{
    BUCKETS_MAX, Buckets, Cursor, Finder, PAGE_BYTES, PAGE_MAX, Page, Place, Scope, SearchError, Skipped, VALUES_MAX,
    Values,
};

/// How long the cluster may take over a question without a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(30);
/// Values counted with one request, and events looked up with one: `search.max_buckets` and the cluster's own window
/// allow more.
const AT_A_TIME: usize = 10_000;
/// Bytes of lines fetched with one request; one more line may reach over it.
const FETCH: u64 = 8 << 20;

/// What answers for a cluster.
#[derive(Clone)]
pub struct Find {
    connection: Connection,
    names: Names,
}

/// An event that was found: where it is, its place in the order, the bytes of its line.
struct Hit {
    index: String,
    id: String,
    place: Place,
    bytes: u64,
}

impl Find {
    /// Asks this cluster about these indices.
    pub fn new(connection: Connection, names: Names) -> Self {
        Self { connection, names }
    }

    /// One search; the days that did not answer are added to `skipped`.
    fn search(&self, scope: &Scope, mut body: Value, skipped: &mut Vec<Skipped>) -> Result<Value, SearchError> {
        let left = scope.deadline.map_or(DEADLINE, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(SearchError::Deadline);
        }
        let mut clauses = vec![compile::compile(&scope.query)];
        if scope.since.is_some() || scope.until.is_some() {
            clauses.push(compile::time_range("time", scope.since.map(Time::ms), scope.until.map(Time::ms)));
        }
        if let Some(body) = body.as_object_mut() {
            body.insert("query".into(), compile::all(clauses));
            body.insert("timeout".into(), format!("{}ms", left.as_millis().max(1)).into());
        }
        let path = format!("/{}/_search?ignore_unavailable=true&allow_no_indices=true", self.names.all());
        let answer = self.connection.json(Method::Post, &path, Some(&body)).map_err(fail)?;
        if answer.get("timed_out").and_then(Value::as_bool) == Some(true) {
            return Err(SearchError::Deadline);
        }
        for failure in answer.pointer("/_shards/failures").and_then(Value::as_array).into_iter().flatten() {
            let index = failure.get("index").and_then(Value::as_str).unwrap_or_default();
            let (kind, why) = super::connection::reason(failure.get("reason").unwrap_or(&Value::Null));
            if failure.pointer("/status").and_then(Value::as_u64) == Some(400) || kind.contains("too_") {
                return Err(too_much(&why));
            }
            let day = self.names.day(index).map_or_else(|| index.to_owned(), |day| day.to_string());
            tracing::warn!("index {index}: {kind}: {why}");
            if !skipped.iter().any(|s| s.day == day) {
                skipped.push(Skipped { day, why: format!("{kind}: {why}") });
            }
        }
        Ok(answer)
    }

    /// At most `n` events after `after`, newest first, without their lines.
    fn hits(
        &self,
        scope: &Scope,
        n: usize,
        after: Option<Place>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<Hit>, SearchError> {
        let mut body = json!({
            "size": n,
            "_source": false,
            "track_total_hits": false,
            "docvalue_fields": ["zentral.bytes"],
            "sort": [
                {"time": {"order": "desc", "unmapped_type": "date"}},
                {"zentral.order": {"order": "desc", "unmapped_type": "keyword"}},
            ],
        });
        if let (Some(after), Some(body)) = (after, body.as_object_mut()) {
            let order = format!("{:016x}{:016x}", after.hi, after.lo);
            body.insert("search_after".into(), json!([after.time, order]));
        }
        let mut answer = self.search(scope, body, skipped)?;
        let hits = answer.pointer_mut("/hits/hits").map(Value::take).unwrap_or_default();
        Ok(hits.as_array().into_iter().flatten().filter_map(hit).collect())
    }

    /// The lines of these events, in order; one that is gone meanwhile is left out.
    fn lines(&self, hits: &[Hit]) -> Result<Vec<Vec<u8>>, SearchError> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let docs: Vec<Value> = hits.iter().map(|hit| json!({"_index": hit.index, "_id": hit.id})).collect();
        let path = "/_mget?_source_includes=zentral.line&filter_path=docs._source";
        let answer = self.connection.json(Method::Post, path, Some(&json!({"docs": docs}))).map_err(fail)?;
        let line = |doc: &Value| doc.pointer("/_source/zentral/line")?.as_str().map(|line| line.as_bytes().to_vec());
        Ok(answer.get("docs").and_then(Value::as_array).into_iter().flatten().filter_map(line).collect())
    }

    /// Where the events of a search are, at most `n`.
    pub fn places(&self, scope: &Scope, n: usize) -> Result<Vec<(String, String)>, SearchError> {
        let hits = self.hits(scope, n, None, &mut Vec::new())?;
        Ok(hits.into_iter().map(|hit| (hit.index, hit.id)).collect())
    }

    fn total(
        &self,
        scope: &Scope,
        aggs: Option<Value>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(u64, Value), SearchError> {
        let mut body = json!({"size": 0, "track_total_hits": true});
        if let (Some(aggs), Some(body)) = (aggs, body.as_object_mut()) {
            body.insert("aggs".into(), aggs);
        }
        let mut answer = self.search(scope, body, skipped)?;
        let total = answer.pointer("/hits/total/value").and_then(Value::as_u64).unwrap_or(0);
        Ok((total, answer.get_mut("aggregations").map(Value::take).unwrap_or_default()))
    }
}

fn hit(hit: &Value) -> Option<Hit> {
    let order = hit.pointer("/sort/1")?.as_str()?;
    let half = |range: std::ops::Range<usize>| u64::from_str_radix(order.get(range)?, 16).ok();
    Some(Hit {
        index: hit.get("_index")?.as_str()?.to_owned(),
        id: hit.get("_id")?.as_str()?.to_owned(),
        place: Place { time: hit.pointer("/sort/0")?.as_i64()?, hi: half(0..16)?, lo: half(16..32)? },
        bytes: hit.pointer("/fields/zentral.bytes/0").and_then(Value::as_u64).unwrap_or(event::LINE_MAX as u64),
    })
}

impl Finder for Find {
    fn page(&self, scope: &Scope, n: usize, after: Option<Cursor>) -> Result<Page, SearchError> {
        let n = n.min(PAGE_MAX);
        let mut page = Page::default();
        if n == 0 {
            return Ok(page);
        }
        let after = after.map(|cursor| cursor.0);
        // One more than wanted tells whether there is a next page; the window ends at that many.
        let mut found = self.hits(scope, n.min(AT_A_TIME - 1) + 1, after, &mut page.skipped)?;
        let mut more = found.len() > n.min(AT_A_TIME - 1);
        found.truncate(n.min(AT_A_TIME - 1));
        let mut bytes = 0;
        let fits = found.iter().take_while(|hit| {
            let room = bytes < PAGE_BYTES as u64;
            bytes += hit.bytes;
            room
        });
        let fits = fits.count();
        more |= fits < found.len();
        found.truncate(fits);
        let mut rest = found.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let group = rest.iter().take_while(|hit| {
                let room = bytes < FETCH;
                bytes += hit.bytes;
                room
            });
            let (group, left) = rest.split_at(group.count());
            page.events.extend(self.lines(group)?);
            rest = left;
        }
        page.next = found.last().filter(|_| more).map(|hit| Cursor(hit.place));
        Ok(page)
    }

    fn count(&self, scope: &Scope) -> Result<(u64, Vec<Skipped>), SearchError> {
        let mut skipped = Vec::new();
        let (total, _) = self.total(scope, None, &mut skipped)?;
        Ok((total, skipped))
    }

    fn event(&self, id: &str) -> Result<Option<Vec<u8>>, SearchError> {
        let scope = Scope {
            query: crate::query::Query::Match { field: Some("id".into()), text: id.into() },
            since: None,
            until: None,
            deadline: None,
        };
        let mut hits = self.hits(&scope, 2, None, &mut Vec::new())?;
        // One that stands under two days: the day that its id names comes first, as in the embedded index. In a data
        // stream the newest does.
        let ms = i64::try_from(id_order(id).0 >> 16).unwrap_or(i64::MAX);
        let likely = self.names.of(Time::from_ms(ms));
        hits.sort_by_key(|hit| (hit.index != likely, std::cmp::Reverse(generation(&hit.index))));
        hits.truncate(1);
        Ok(self.lines(&hits)?.into_iter().next())
    }

    fn count_by(&self, scope: &Scope, field: &str) -> Result<Values, SearchError> {
        check_field(field)?;
        let mut sums = Values::default();
        let prefix = format!("{field}{SEP}");
        let missing = json!({"missing": {"filter": {"bool": {"must_not": [{"term": {TERMS: {"value": prefix}}}]}}}});
        let (total, aggs) = self.total(scope, Some(missing), &mut sums.skipped)?;
        sums.total = total;
        sums.missing = aggs.pointer("/missing/doc_count").and_then(Value::as_u64).unwrap_or(0);
        let mut counts: Vec<(String, u64)> = Vec::new();
        let mut after = prefix.clone();
        while sums.missing < total {
            let aggs = json!({"values": {"composite": {
                "size": AT_A_TIME,
                "sources": [{"value": {"terms": {"field": "zentral.values"}}}],
                "after": {"value": after},
            }}});
            let (_, aggs) = self.total(scope, Some(aggs), &mut sums.skipped)?;
            let buckets = aggs.pointer("/values/buckets").and_then(Value::as_array).cloned().unwrap_or_default();
            let full = buckets.len() == AT_A_TIME;
            let mut inside = true;
            for bucket in buckets {
                let Some(value) = bucket.pointer("/key/value").and_then(Value::as_str) else { continue };
                let Some(rest) = value.strip_prefix(prefix.as_str()) else {
                    inside = false;
                    break;
                };
                let n = bucket.get("doc_count").and_then(Value::as_u64).unwrap_or(0);
                match counts.len() < DISTINCT_MAX {
                    true => counts.push((rest.to_owned(), n)),
                    false => sums.other += n,
                }
                after = value.to_owned();
            }
            if !inside || !full {
                break;
            }
        }
        // An empty value sorts as the prefix itself, after which the pages begin.
        let empty = json!({"empty": {"filter": {"term": {TERMS: {"value": format!("{prefix}p")}}}}});
        let (_, aggs) = self.total(scope, Some(empty), &mut sums.skipped)?;
        let n = aggs.pointer("/empty/doc_count").and_then(Value::as_u64).unwrap_or(0);
        counts.extend((n > 0).then(|| (String::new(), n)));
        counts.sort_unstable_by(|(v, n), (w, m)| m.cmp(n).then_with(|| v.cmp(w)));
        sums.other += counts.iter().skip(VALUES_MAX).map(|(_, n)| n).sum::<u64>();
        counts.truncate(VALUES_MAX);
        sums.values = counts;
        Ok(sums)
    }

    fn every(&self, scope: &Scope, step: Duration) -> Result<Buckets, SearchError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut skipped = Vec::new();
        let ends = json!({"first": {"min": {"field": "time"}}, "last": {"max": {"field": "time"}}});
        let (_, aggs) = self.total(scope, Some(ends), &mut skipped)?;
        let end = |name: &str| aggs.get(name)?.get("value")?.as_f64().map(|ms| (ms as i64).div_euclid(step));
        let (Some(first), Some(last)) = (end("first"), end("last")) else {
            return Ok(Buckets { skipped, ..Buckets::default() });
        };
        if last.saturating_sub(first).saturating_add(1) > BUCKETS_MAX as i64 {
            return Err(SearchError::TooMuch(too_many_steps()));
        }
        let steps = json!({"steps": {"date_histogram": {
            "field": "time", "fixed_interval": format!("{step}ms"), "min_doc_count": 1,
        }}});
        let (total, aggs) = self.total(scope, Some(steps), &mut skipped)?;
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for bucket in aggs.pointer("/steps/buckets").and_then(Value::as_array).into_iter().flatten() {
            let at = bucket.get("key").and_then(Value::as_i64).unwrap_or_default();
            let n = bucket.get("doc_count").and_then(Value::as_u64).unwrap_or_default();
            counts.insert(at.div_euclid(step), n);
        }
        // What was stored between the two questions may lie outside.
        let first = counts.first_key_value().map_or(first, |(at, _)| *at);
        let last = counts.last_key_value().map_or(last, |(at, _)| *at);
        let buckets = (first..=last).take(BUCKETS_MAX);
        let filled = buckets.map(|at| (Time::from_ms(at.saturating_mul(step)), counts.get(&at).copied().unwrap_or(0)));
        Ok(Buckets { total, buckets: filled.collect(), skipped })
    }
}

/// Searches are of our own making, so one that a cluster does not take asks for more than it gives: too many clauses, too
/// deep, too many words for a star.
fn too_much(why: &str) -> SearchError {
    SearchError::TooMuch(format!("too much for the cluster: fewer brackets, or more letters before `*` ({why})"))
}

fn fail(trouble: Trouble) -> SearchError {
    match trouble {
        Trouble::Refused(400, _, why) => too_much(&why),
        Trouble::Refused(429, ..) | Trouble::Refused(503, ..) => {
            SearchError::Io(format!("the cluster has no room for a search now: {trouble}"))
        }
        trouble => SearchError::Io(format!("the cluster: {trouble}")),
    }
}
