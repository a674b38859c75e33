//! The description of all that programs may ask, in OpenAPI 3.1, whose schemas are JSON Schema as `schemars` makes it of
//! the types that are serialised (<https://spec.openapis.org/oas/v3.1.0>). It is the same for every hub of a version and
//! tells nothing of one, so anybody may read it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::shapes::Refused;
use super::{Answers, Kind, Told, Word, shape};
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::routes::{Area, Method, ROUTES, Route};

/// Refusals by status, as [`Wrong`] makes them.
const REFUSALS: [(u16, &str); 12] = [
    (400, "What is asked is wrong; the error says what."),
    (401, "Nobody is signed in, or the token is not valid."),
    (403, "The role, the scope or the units do not suffice, or the form is not of a page of this session."),
    (404, "There is no such thing, or whoever asks does not see it."),
    (408, "The body took too long to arrive."),
    (409, "It is not in a state in which this can be done."),
    (413, "It is too large."),
    (415, "The body is neither a JSON object nor a form."),
    (421, "The console has another name: `url` of `[stage.console]`."),
    (429, "Too much at a time; try again in some seconds."),
    (500, "A filter could not be run."),
    (503, "What is asked does not answer; try again soon."),
];

/// The whole of it, as it is sent.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| format!("{:#}\n", describe(ROUTES)).into_bytes());

pub fn serve(_: &App, _: &Asked) -> Result<Answer, Wrong> {
    Ok(Answer::file("application/json", TEXT.clone()))
}

/// Describes routes.
pub fn describe(routes: &[Route]) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let refused = shape::<Refused>(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for (route, told) in routes.iter().filter_map(|route| Some((route, route.told.as_ref()?))) {
        if matches!(told.answers, Answers::People) {
            continue;
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({"parameters": parts(route)}));
        let verb = if route.method == Method::Get { "get" } else { "post" };
        if let Value::Object(path) = path {
            path.insert(verb.to_owned(), operation(route, told, &mut generator));
        }
    }
    let refusal = |(status, text): (u16, &str)| {
        (status.to_string(), json!({"description": text, "content": {"application/json": {"schema": refused}}}))
    };
    let areas = Area::SCOPES.map(|area| json!({"name": area.word()}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "zentral",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The console's pages as JSON. A token that `zentral token new` makes goes into `Authorization: Bearer`; \
                its role and scopes are those of each operation (`x-least-role`, and the name in `security`). Lists come a \
                page at a time: `next` is where the next page begins, and goes into `after`. What is refused answers `error`.",
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "tags": areas,
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": REFUSALS.into_iter().map(refusal).collect::<Map<_, _>>(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`zentral token new NAME --role ROLE --scopes AREA,…`"},
                "session": {"type": "apiKey", "in": "cookie", "name": "zentral_session",
                    "description": "Of a browser that has signed in (`__Host-zentral_session` where it speaks TLS). A POST also carries `csrf`, as the forms of the pages do."},
            },
        },
    })
}

/// The variable parts of a path.
fn parts(route: &Route) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let part = |name: &str| {
        let what = match (route.area, name) {
            (Area::Machines, _) => {
                "A machine: its key, or a serial number, a hardware UUID or a host name that is one machine's"
            }
            (_, "id") => "An id, as lists tell it",
            _ => "A name, as lists tell it",
        };
        json!({"name": name, "in": "path", "required": true, "description": what,
            "schema": {"type": "string", "minLength": 1}})
    };
    names.map(part).collect()
}

fn operation(route: &Route, told: &Told, generator: &mut SchemaGenerator) -> Value {
    let verb = if route.method == Method::Get { "get" } else { "post" };
    let name = route.path.replace(['{', '}'], "").replace(['/', '.'], "_");
    let mut operation = json!({
        "operationId": format!("{verb}{}", if name == "_" { "_overview" } else { &name }),
        "summary": told.what,
        "tags": [route.area.word()],
        "x-least-role": route.least.map(registry::users::Role::word),
        "security": match route.least {
            Some(_) => json!([{"token": [route.area.word()]}, {"session": []}]),
            None => json!([]),
        },
        "parameters": told.asks.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses(route, told, generator),
    });
    if let (false, Value::Object(operation)) = (told.takes.is_empty(), &mut operation) {
        operation.insert("requestBody".to_owned(), body(told.takes));
    }
    operation
}

fn parameter(word: &Word) -> Value {
    let mut all = json!({"name": word.name, "in": "query", "description": word.what, "required": word.needed,
        "schema": schema(word.kind)});
    if let (Some(example), Value::Object(all)) = (word.example, &mut all) {
        all.insert("example".to_owned(), value(word.kind, example));
    }
    all
}

/// A JSON object, or a form of the same words.
fn body(words: &[Word]) -> Value {
    let property = |word: &Word| {
        let mut schema = schema(word.kind);
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), word.what.into());
        }
        (word.name.to_owned(), schema)
    };
    let needed: Vec<&str> = words.iter().filter(|word| word.needed).map(|word| word.name).collect();
    let schema = json!({"type": "object", "properties": words.iter().map(property).collect::<Map<_, _>>(),
        "required": needed, "additionalProperties": false});
    let examples = words.iter().filter_map(|word| Some((word.name.to_owned(), value(word.kind, word.example?))));
    let mut object = json!({"schema": schema});
    if let (true, Value::Object(object)) = (words.iter().any(|word| word.example.is_some()), &mut object) {
        object.insert("example".to_owned(), Value::Object(examples.collect()));
    }
    // A form has no arrays: what is a list stands in one text, with commas.
    let mut form = object.clone();
    for word in words.iter().filter(|word| matches!(word.kind, Kind::List)) {
        if let Some(schema) = form.pointer_mut(&format!("/schema/properties/{}", word.name)) {
            *schema = json!({"type": "string", "description": format!("{}; with commas", word.what)});
        }
        let example = form.pointer_mut(&format!("/example/{}", word.name));
        if let (Some(said), Some(example)) = (word.example, example) {
            *example = said.into();
        }
    }
    json!({"required": !needed.is_empty(),
        "content": {"application/json": object, "application/x-www-form-urlencoded": form}})
}

fn schema(kind: Kind) -> Value {
    // What no text of a person holds, and not every database keeps.
    let text = |most: usize| json!({"type": "string", "maxLength": most, "pattern": "^[^\\u0000]*$"});
    match kind {
        Kind::Text(most) => text(most),
        Kind::OneOf(all) => json!({"type": "string", "enum": all}),
        Kind::Order(all) => {
            let down = all.iter().map(|(word, _)| format!("-{word}"));
            let words: Vec<String> = all.iter().map(|(word, _)| (*word).to_owned()).chain(down).collect();
            json!({"type": "string", "enum": words})
        }
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Age => json!({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::List => json!({"type": "array", "items": {"type": "string", "pattern": "^[^\\u0000]*$"}}),
    }
}

/// An example, as JSON has it.
fn value(kind: Kind, example: &str) -> Value {
    match kind {
        Kind::Number(..) => example.parse::<i64>().map_or(Value::Null, Value::from),
        Kind::Flag => (example == "true").into(),
        Kind::List => example.split(',').collect(),
        _ => example.into(),
    }
}

fn responses(route: &Route, told: &Told, generator: &mut SchemaGenerator) -> Value {
    let mut all: Map<String, Value> = Map::new();
    let json = |schema: Schema| json!({"description": told.what, "content": {"application/json": {"schema": schema}}});
    match told.answers {
        Answers::People => {}
        Answers::Json(status, shape) => drop(all.insert(status.to_string(), json(shape(generator)))),
        Answers::File(kinds) => {
            let schema = json!({"schema": {"type": "string", "contentMediaType": "application/octet-stream"}});
            let content: Map<String, Value> = kinds.iter().map(|kind| ((*kind).to_owned(), schema.clone())).collect();
            all.insert("200".to_owned(), json!({"description": told.what, "content": content}));
        }
    }
    for (status, other) in told.others.into_iter().flatten() {
        let schema = match status {
            // The door, and whoever is asked, refuse in their own way.
            400.. => json_schema!({"anyOf": [other(generator), shape::<Refused>(generator)]}),
            _ => other(generator),
        };
        all.insert(status.to_string(), json(schema));
    }
    for status in refusals(route, told) {
        let to = format!("#/components/responses/{status}");
        all.entry(status.to_string()).or_insert_with(|| json!({"$ref": to}));
    }
    Value::Object(all)
}

/// The refusals that a route may answer: those of the door by what it is, and its own.
fn refusals(route: &Route, told: &Told) -> Vec<u16> {
    let mut all = told.wrong.to_vec();
    all.push(421);
    if route.area != Area::Files {
        all.extend([400, 503]);
    }
    if route.least.is_some() {
        all.extend([401, 403]);
    }
    if route.path.contains('{') {
        all.push(404);
    }
    if route.method == Method::Post {
        all.extend([408, 413, 415]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use enrol::Format;
    use registry::users::Role;

    use super::*;
    use crate::pages::{enrol::one, users};

    #[test]
    fn every_route_is_told() {
        for route in ROUTES {
            assert!(
                route.told.is_some(),
                "{:?} {} is not told to programs. In routes.rs, behind the route, say what it answers: `.tells::<TYPE>(\"WHAT IT \
                 DOES\")` where TYPE is what is serialised and derives JsonSchema; `.asks(WORDS)` for its query, `.takes(WORDS)` \
                 for its form, `.wrong(&[409])` for what it refuses; or `.does(..)`, `.makes::<TYPE>(..)`, `.file(..)`, or \
                 `.people(\"WHY\")` where there is nothing for programs.",
                route.method,
                route.path
            );
        }
        let text = describe(ROUTES);
        for route in ROUTES.iter().filter(|route| !matches!(route.told.unwrap().answers, Answers::People)) {
            let verb = if route.method == Method::Get { "get" } else { "post" };
            let operation = &text["paths"][route.path][verb];
            assert!(operation["responses"].as_object().unwrap().len() > 1, "{verb} {}: {operation}", route.path);
            let said = operation["x-least-role"].as_str();
            assert_eq!(said, route.least.map(Role::word), "{}", route.path);
        }
    }

    #[test]
    fn names_are_ones_own() {
        let text = describe(ROUTES);
        for name in text["components"]["schemas"].as_object().unwrap().keys() {
            let twice = name.ends_with(|c: char| c.is_ascii_digit());
            assert!(!twice, "two types are called as {name}: give one `#[schemars(rename = \"…\")]`");
        }
        let mut ids: Vec<&str> = Vec::new();
        for operation in text["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
        {
            ids.extend(operation["operationId"].as_str());
        }
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        let known = |status: u16| REFUSALS.iter().any(|(one, _)| *one == status);
        for route in ROUTES {
            let told = route.told.unwrap();
            assert!(refusals(route, &told).into_iter().all(known), "{}: a refusal without words", route.path);
        }
    }

    #[test]
    fn words_are_those_of_the_types() {
        let words = |all: &[Word], name: &str| match all.iter().find(|word| word.name == name).unwrap().kind {
            Kind::OneOf(all) => all.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(words(users::ADD_WORDS, "role"), Role::ALL.map(Role::word));
        assert_eq!(words(one::PACKAGE_WORDS, "format"), Format::ALL.map(Format::name));
        let kinds = Format::ALL.map(|format| format.content_type().split(';').next().unwrap());
        assert_eq!(one::TYPES, kinds);
    }
}
