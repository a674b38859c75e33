//! The JSON Schemas that are checked in are those of the types. `ZENTRAL_UPDATE=1 cargo test -p event` writes them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use schemars::schema_for;

fn check(name: &str, schema: &schemars::Schema) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var_os("ZENTRAL_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        held == text,
        "{} is not the schema of the type: ZENTRAL_UPDATE=1 writes it; look at the difference",
        path.display()
    );
}

#[test]
fn schemas_are_those_of_the_types() {
    check("raw.json", &schema_for!(event::Raw));
    check("event.json", &schema_for!(event::Event));
}
