//! What Kibana and OpenSearch Dashboards are given: a data view, searches and dashboards, as the lines of their import.
//!
//! What they show stands in `dashboards/NAME.toml`; here it becomes saved objects, in the form of 7.10. That is the last one
//! before the two went apart: OpenSearch Dashboards writes it to this day, Kibana 8 takes it and brings it up to date
//! (<https://www.elastic.co/guide/en/kibana/current/saved-objects-api-import.html>, "Compatibility across versions").

mod draw;

use serde::Deserialize;
use serde_json::{Value, json};

use super::names::Names;
use draw::{Draw, state};

/// The dashboards, by their names.
const BOARDS: [(&str, &str); 5] = [
    ("fleet", include_str!("../../dashboards/fleet.toml")),
    ("osquery", include_str!("../../dashboards/osquery.toml")),
    ("santa", include_str!("../../dashboards/santa.toml")),
    ("munki", include_str!("../../dashboards/munki.toml")),
    ("actions", include_str!("../../dashboards/actions.toml")),
];
/// Columns of a dashboard's grid.
const WIDTH: u64 = 48;
/// Columns that a search shows unless it says which.
const COLUMNS: [&str; 5] = ["type", "source", "machine.hostname", "machine.serial_number", "probes.name"];
/// The name by which a visualization or a search refers to its data view.
const INDEX: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Board {
    title: String,
    about: String,
    panel: Vec<Panel>,
    search: Search,
}

/// One picture of a dashboard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    draw: Draw,
    /// Which events, in Lucene's language; all of them if it is empty.
    #[serde(default)]
    query: String,
    /// The fields by whose values they are counted, one inside the other.
    #[serde(default)]
    by: Vec<String>,
    /// Different values of this field are counted in place of events.
    count: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    title: String,
    query: String,
    columns: Vec<String>,
}

/// All objects, one line of JSON each; `hub` is the address that pages about events are under. What is wrong with a
/// dashboard's file is the error.
pub fn objects(names: &Names, hub: Option<&str>) -> Result<String, String> {
    let stem = names.stem();
    let view = format!("{stem}-events");
    let mut all = vec![data_view(&view, names, hub)];
    let columns: Vec<String> = COLUMNS.iter().map(|&name| name.to_owned()).collect();
    for (name, query) in [("all", ""), ("matches", "_exists_:probes.name")] {
        let title = format!("{stem}: {}", if query.is_empty() { "events" } else { name });
        all.push(search(&format!("{stem}-{name}"), &title, query, &columns, &view));
    }
    for (name, text) in BOARDS {
        let board: Board = toml::from_str(text).map_err(|e| format!("{name}.toml: {e}"))?;
        all.extend(board_objects(&format!("{stem}-{name}"), stem, &board, &view));
    }
    Ok(all.iter().map(|object| format!("{object}\n")).collect())
}

fn data_view(id: &str, names: &Names, hub: Option<&str>) -> Value {
    let mut attributes = json!({"title": names.all(), "timeFieldName": "time", "fields": "[]"});
    if let (Some(hub), Some(attributes)) = (hub, attributes.as_object_mut()) {
        let link = format!("{}/events/{{{{rawValue}}}}", hub.trim_end_matches('/'));
        let formats = json!({"id": {"id": "url", "params": {"urlTemplate": link, "openLinkInCurrentTab": false}}});
        attributes.insert("fieldFormatMap".into(), formats.to_string().into());
    }
    object("index-pattern", id, "7.6.0", attributes, Vec::new())
}

fn search(id: &str, title: &str, query: &str, columns: &[String], view: &str) -> Value {
    let mut source = source(query);
    for key in ["highlightAll", "version"] {
        source.as_object_mut().into_iter().for_each(|source| _ = source.insert(key.into(), true.into()));
    }
    let attributes = json!({
        "title": title, "description": "", "hits": 0, "columns": columns, "sort": [["time", "desc"]], "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": source.to_string()},
    });
    object("search", id, "7.9.3", attributes, vec![(INDEX.into(), "index-pattern", view.into())])
}

/// Which events, of which data view.
fn source(query: &str) -> Value {
    json!({"query": {"query": query, "language": "lucene"}, "filter": [], "indexRefName": INDEX})
}

/// A dashboard, its pictures before it.
fn board_objects(id: &str, stem: &str, board: &Board, view: &str) -> Vec<Value> {
    let (mut all, mut panels, mut refers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut place = |(w, h): (u64, u64), kind: &'static str, object: String| {
        if x + w > WIDTH {
            (x, y, row) = (0, y + row, 0);
        }
        let i = panels.len() + 1;
        panels.push(json!({
            "version": "7.10.0", "gridData": {"x": x, "y": y, "w": w, "h": h, "i": i.to_string()},
            "panelIndex": i.to_string(), "embeddableConfig": {}, "panelRefName": format!("panel_{i}"),
        }));
        refers.push((format!("panel_{i}"), kind, object));
        (x, row) = (x + w, row.max(h));
    };
    for (i, panel) in board.panel.iter().enumerate() {
        let picture = format!("{id}-{}", i + 1);
        all.push(visualization(&picture, &format!("{stem} {}: {}", board.title, panel.title), panel, view));
        place(panel.draw.size(), "visualization", picture);
    }
    let Search { title, query, columns } = &board.search;
    all.push(search(&format!("{id}-search"), &format!("{stem}: {title}"), query, columns, view));
    place((WIDTH, 18), "search", format!("{id}-search"));
    let attributes = json!({
        "title": format!("{stem}: {}", board.title), "description": board.about, "hits": 0, "version": 1,
        "panelsJSON": Value::from(panels).to_string(),
        "optionsJSON": json!({"hidePanelTitles": false, "useMargins": true}).to_string(),
        "timeRestore": true, "timeFrom": "now-24h", "timeTo": "now",
        "refreshInterval": {"pause": true, "value": 0},
        "kibanaSavedObjectMeta": {"searchSourceJSON":
            json!({"query": {"query": "", "language": "lucene"}, "filter": []}).to_string()},
    });
    all.push(object("dashboard", id, "7.9.3", attributes, refers));
    all
}

fn visualization(id: &str, title: &str, panel: &Panel, view: &str) -> Value {
    let attributes = json!({
        "title": title, "description": "", "version": 1, "uiStateJSON": "{}",
        "visState": state(title, panel).to_string(),
        "kibanaSavedObjectMeta": {"searchSourceJSON": source(&panel.query).to_string()},
    });
    object("visualization", id, "7.10.0", attributes, vec![(INDEX.into(), "index-pattern", view.into())])
}

fn object(
    kind: &str,
    id: &str,
    version: &str,
    attributes: Value,
    refers: Vec<(String, &'static str, String)>,
) -> Value {
    let refers: Vec<Value> =
        refers.into_iter().map(|(name, kind, id)| json!({"name": name, "type": kind, "id": id})).collect();
    json!({"id": id, "type": kind, "attributes": attributes, "references": refers, "migrationVersion": {kind: version}})
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::cluster::names::DEFAULT;

    /// The file that people take from the repository. `zentral store setup NAME --to DIR` writes it, of a configuration
    /// without `url`.
    #[test]
    fn the_file_in_the_repository_is_what_is_written() {
        let objects = objects(&Names::parse(DEFAULT).unwrap(), None).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/kibana.ndjson");
        if std::env::var_os("ZENTRAL_UPDATE").is_some() {
            std::fs::write(path, &objects).unwrap();
        }
        assert!(
            objects == std::fs::read_to_string(path).unwrap(),
            "ZENTRAL_UPDATE=1 cargo test -p store writes {path}"
        );
    }
}
