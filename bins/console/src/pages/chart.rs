//! A histogram: bars over time, drawn as SVG by the template, in units of a fixed box that the page stretches.

use event::Time;
use schemars::JsonSchema;
use serde::Serialize;

use crate::events::Counts;

/// Width and height of the box.
const WIDTH: u64 = 1000;
const HEIGHT: u64 = 100;

/// How far back a page looks, and the step of its bars.
pub const SPANS: [(&str, &str, &str); 4] = [
    ("1h", "2m", "last hour"),
    ("24h", "30m", "last 24 hours"),
    ("7d", "6h", "last 7 days"),
    ("30d", "1d", "last 30 days"),
];

/// The words of these.
pub const SPAN_WORDS: &[&str] = &[SPANS[0].0, SPANS[1].0, SPANS[2].0, SPANS[3].0];

/// A bar.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bar {
    #[serde(skip)]
    pub x: u64,
    #[serde(skip)]
    pub y: u64,
    #[serde(skip)]
    pub width: u64,
    #[serde(skip)]
    pub height: u64,
    /// When its step begins.
    pub time: String,
    pub count: u64,
}

/// The bars of some counts within `span` up to `now`.
pub fn bars(counts: &Counts, span: &str, step: &str, now: Time) -> Vec<Bar> {
    let ms = |text| {
        pipe::config::parse_duration(text).map_or(1, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).max(1)
    };
    let (span, step) = (ms(span), ms(step));
    // A step of the store's may begin before the span, and the last one ends after now.
    let whole = span + 2 * step;
    let begin = now.ms() - i64::try_from(span + step).unwrap_or(0);
    let most = counts.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
    let width = (WIDTH * step / whole).max(1);
    let bar = |bucket: &crate::events::TimeCount| {
        let x = u64::try_from(bucket.time.ms() - begin).unwrap_or(0) * WIDTH / whole;
        let height = if bucket.count == 0 { 0 } else { (bucket.count * HEIGHT / most).max(2) };
        Bar {
            x,
            y: HEIGHT - height,
            width: width.saturating_sub(2).max(1),
            height,
            time: bucket.time.to_string(),
            count: bucket.count,
        }
    };
    counts.buckets.iter().map(bar).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_in_the_box() {
        let now: Time = "2026-11-23T12:10:00Z".parse().unwrap();
        let counts = r#"{"count":3,"buckets":[{"time":"2026-11-22T12:00:00.000Z","count":1},
            {"time":"2026-11-23T00:00:00.000Z","count":0},{"time":"2026-11-23T12:00:00.000Z","count":1000}]}"#;
        let bars = bars(&serde_json::from_str(counts).unwrap(), "24h", "30m", now);
        assert!(bars.iter().all(|bar| bar.x + bar.width <= WIDTH && bar.y + bar.height == HEIGHT));
        assert_eq!((bars[0].height, bars[1].height, bars[2].height), (2, 0, 100), "one event can be seen");
        assert!(bars[0].x < bars[1].x && bars[1].x < bars[2].x);
        for (span, step, _) in SPANS {
            assert!(super::bars(&Counts::default(), span, step, now).is_empty());
        }
    }
}
