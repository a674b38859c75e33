//! Files inside the binary, and whether the console is there.

use std::sync::LazyLock;

use hyper::header::CACHE_CONTROL;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;

/// All of them: name, kind, text.
const FILES: [(&str, &str, &str); 3] = [
    ("console.css", "text/css; charset=utf-8", include_str!("../../assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("../../assets/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// A digest of all of them; pages name it, so they may be kept for as long as browsers like.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        FILES.iter().for_each(|(_, _, text)| hash.update(text.as_bytes()));
        hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect()
    });
    &VERSION
}

pub fn serve(_: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = asked.part("name");
    let (_, kind, text) = FILES.iter().find(|(file, ..)| *file == name).ok_or_else(|| Wrong::not_found("file"))?;
    let kept = if asked.word("v") == version() { "public, max-age=31536000, immutable" } else { "no-cache" };
    Ok(Answer::file(kind, text.as_bytes().to_vec()).header(CACHE_CONTROL, kept))
}

/// It is there.
#[derive(Serialize, JsonSchema)]
pub struct Health {
    ready: bool,
}

/// For whoever watches the process; it tells nothing else.
pub fn health(_: &App, _: &Asked) -> Result<Answer, Wrong> {
    Answer::json(&Health { ready: true })
}
