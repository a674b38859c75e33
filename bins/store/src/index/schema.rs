//! The fields of a day's index, and which field of an event goes where.
//!
//! Words of all values lie in one inverted list (`text`); the values themselves lie in columns by their dotted name
//! (`fields`), where ranges, wildcards, counts and "is it this field?" are answered. So a word is indexed once, and
//! every key of every event can be searched and counted without being declared.

use std::sync::LazyLock;

use tantivy::schema::{
    BytesOptions, FAST, Field, IndexRecordOption, JsonObjectOptions, NumericOptions, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::tokenizer::{LowerCaser, RawTokenizer, TextAnalyzer};
use tantivy::{Index, IndexSettings};

use crate::words::Words;

/// The fields of the index.
#[derive(Clone, Copy)]
pub struct Fields {
    /// Whole id, for upserts and `/event/ID`.
    pub id: Field,
    /// First half of the id's order.
    pub hi: Field,
    /// Second half of the id's order.
    pub lo: Field,
    /// Milliseconds since 1970.
    pub time: Field,
    /// Milliseconds since 1970.
    pub received: Field,
    /// Words of all values.
    pub text: Field,
    /// Values of the envelope's fields, each one term in lower case, by dotted name.
    pub keys: Field,
    /// All values in columns, by dotted name.
    pub fields: Field,
    /// The line as it came.
    pub line: Field,
}

/// What the columns' names begin with.
pub const COLUMNS: &str = "fields";

/// Bytes of lines that are compressed together: larger packs better, smaller reads one event faster.
const BLOCK: usize = 64 << 10;

/// The schema and its fields.
pub static SCHEMA: LazyLock<(Schema, Fields)> = LazyLock::new(|| {
    let mut schema = Schema::builder();
    let indexed = |tokenizer: &str, option| {
        TextFieldIndexing::default().set_tokenizer(tokenizer).set_index_option(option).set_fieldnorms(false)
    };
    let number = NumericOptions::default().set_fast();
    let fields = Fields {
        id: schema.add_text_field(
            "id",
            TextOptions::default().set_indexing_options(indexed("raw", IndexRecordOption::Basic)),
        ),
        hi: schema.add_u64_field("hi", number.clone()),
        lo: schema.add_u64_field("lo", number.clone()),
        time: schema.add_i64_field("time", FAST),
        received: schema.add_i64_field("received", number),
        text: schema.add_text_field(
            "text",
            TextOptions::default().set_indexing_options(indexed("words", IndexRecordOption::WithFreqsAndPositions)),
        ),
        keys: schema.add_json_field(
            "keys",
            JsonObjectOptions::default()
                .set_indexing_options(indexed("whole", IndexRecordOption::Basic))
                .set_expand_dots_enabled(),
        ),
        fields: schema.add_json_field(COLUMNS, JsonObjectOptions::default().set_fast("raw").set_expand_dots_enabled()),
        line: schema.add_bytes_field("line", BytesOptions::default().set_stored()),
    };
    (schema.build(), fields)
});

impl Fields {
    /// The fields of an index that may have been written by another version; `None` if one is missing.
    pub fn of(schema: &Schema) -> Option<Self> {
        let get = |name| schema.get_field(name).ok();
        Some(Self {
            id: get("id")?,
            hi: get("hi")?,
            lo: get("lo")?,
            time: get("time")?,
            received: get("received")?,
            text: get("text")?,
            keys: get("keys")?,
            fields: get(COLUMNS)?,
            line: get("line")?,
        })
    }
}

/// Whether a field of the envelope is one value that must be equal, rather than words.
pub fn is_key(name: &str) -> bool {
    matches!(name, "type" | "source" | "tags" | "objects" | "request.ip")
        || name.starts_with("machine.")
        || name.starts_with("cause.")
        || (name.starts_with("probes.") && !name.starts_with("probes.context."))
}

/// How lines are packed.
pub fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Zstd(ZstdCompressor::default()),
        docstore_compress_dedicated_thread: false,
        docstore_blocksize: BLOCK,
        ..IndexSettings::default()
    }
}

/// Makes our two ways of cutting text known to an index that was opened.
pub fn register(index: &Index) {
    let whole = TextAnalyzer::builder(RawTokenizer::default()).filter(LowerCaser).build();
    index.tokenizers().register("words", Words::default());
    index.tokenizers().register("whole", whole);
}
