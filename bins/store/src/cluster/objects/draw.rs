//! How a picture is drawn: what is asked, and what it looks like, as `visState` says it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Panel;

/// Values that a list shows.
const ROWS: u64 = 20;
/// Parts of a ring, and colours of a bar; the rest is one.
const PARTS: u64 = 8;

/// The kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// One number.
    Number,
    /// How many over time, coloured by a field.
    Bars,
    /// Shares by a field.
    Ring,
    /// A table, the most first.
    List,
}

impl Draw {
    /// Columns and rows on the grid.
    pub fn size(self) -> (u64, u64) {
        match self {
            Self::Number => (12, 7),
            Self::Bars => (24, 14),
            Self::Ring => (12, 14),
            Self::List => (24, 14),
        }
    }
}

/// The state of a visualization.
pub fn state(title: &str, panel: &Panel) -> Value {
    let mut aggs = vec![match &panel.count {
        Some(field) => agg(1, "cardinality", "metric", json!({"field": field, "customLabel": "different"})),
        None => agg(1, "count", "metric", json!({"customLabel": "events"})),
    }];
    let (schema, size) = match panel.draw {
        Draw::Number => ("", 0),
        Draw::Bars => ("group", PARTS),
        Draw::Ring => ("segment", PARTS),
        Draw::List => ("bucket", ROWS),
    };
    if panel.draw == Draw::Bars {
        let over_time = json!({
            "field": "time", "interval": "auto", "useNormalizedEsInterval": true, "scaleMetricValues": false,
            "drop_partials": false, "min_doc_count": 1, "extended_bounds": {},
        });
        aggs.push(agg(2, "date_histogram", "segment", over_time));
    }
    for field in &panel.by {
        let by = json!({
            "field": field, "orderBy": "1", "order": "desc", "size": size, "customLabel": field,
            "otherBucket": panel.draw != Draw::List, "otherBucketLabel": "other",
            "missingBucket": false, "missingBucketLabel": "none",
        });
        aggs.push(agg(aggs.len() + 1, "terms", schema, by));
    }
    let (kind, params) = match panel.draw {
        Draw::Number => ("metric", number()),
        Draw::Bars => ("histogram", bars()),
        Draw::Ring => ("pie", ring()),
        Draw::List => ("table", list()),
    };
    json!({"title": title, "type": kind, "aggs": aggs, "params": params})
}

fn agg(id: usize, kind: &str, schema: &str, params: Value) -> Value {
    json!({"id": id.to_string(), "enabled": true, "type": kind, "schema": schema, "params": params})
}

fn number() -> Value {
    json!({
        "type": "metric", "addTooltip": true, "addLegend": false,
        "metric": {
            "percentageMode": false, "useRanges": false, "colorSchema": "Green to Red", "metricColorMode": "None",
            "colorsRange": [{"from": 0, "to": 10000}], "labels": {"show": false}, "invertColors": false,
            "style": {"bgFill": "#000", "bgColor": false, "labelColor": false, "subText": "", "fontSize": 48},
        },
    })
}

fn bars() -> Value {
    json!({
        "type": "histogram", "grid": {"categoryLines": false},
        "categoryAxes": [{
            "id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": true, "style": {}, "title": {},
            "scale": {"type": "linear"}, "labels": {"show": true, "filter": true, "truncate": 100},
        }],
        "valueAxes": [{
            "id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": true, "style": {},
            "scale": {"type": "linear", "mode": "normal"}, "title": {"text": ""},
            "labels": {"show": true, "rotate": 0, "filter": false, "truncate": 100},
        }],
        "seriesParams": [{
            "show": true, "type": "histogram", "mode": "stacked", "data": {"label": "events", "id": "1"},
            "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": true, "lineWidth": 2, "showCircles": true,
        }],
        "addTooltip": true, "addLegend": true, "legendPosition": "right", "times": [], "addTimeMarker": false,
        "labels": {"show": false},
        "thresholdLine": {"show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    })
}

fn ring() -> Value {
    json!({
        "type": "pie", "addTooltip": true, "addLegend": true, "legendPosition": "bottom", "isDonut": true,
        "labels": {"show": false, "values": true, "last_level": true, "truncate": 100},
    })
}

fn list() -> Value {
    json!({
        "perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false,
        "totalFunc": "sum", "percentageCol": "", "sort": {"columnIndex": null, "direction": null},
    })
}
