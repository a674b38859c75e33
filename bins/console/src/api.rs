//! What programs are told of a route: the words that it takes and what it answers. It stands beside the route in the one
//! table; [`judge`] holds requests to it and [`openapi`] writes it down, so neither can say another thing than the other.

pub mod judge;
pub mod openapi;
pub mod shapes;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes the schema of a type.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a word may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text of at most so many characters.
    Text(usize),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these (the first of each pair), or with a `-` before it: the last comes first.
    Order(&'static [(&'static str, &'static str)]),
    /// A whole number, from and to.
    Number(i64, i64),
    /// A time such as `90d`.
    Age,
    /// Yes or no.
    Flag,
    /// Texts: an array of them, in a form or a query with commas between them.
    List,
}

/// A word of a query or a form.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    pub name: &'static str,
    pub kind: Kind,
    /// What it does, and what holds without it.
    pub what: &'static str,
    /// Nothing is done without it.
    pub needed: bool,
    /// One that makes sense anywhere, as it is written in a query.
    pub example: Option<&'static str>,
}

impl Word {
    /// A word that may be left out.
    pub const fn new(name: &'static str, kind: Kind, what: &'static str) -> Self {
        Self { name, kind, what, needed: false, example: None }
    }

    /// One that may not.
    pub const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    /// With an example.
    pub const fn like(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// How many there are on a page; `most` at most.
    pub const fn page(most: i64, what: &'static str) -> Self {
        Self::new("n", Kind::Number(1, most), what).like("2")
    }

    /// Where the page before ended.
    pub const fn after() -> Self {
        Self::new("after", TEXT, "`next` of the page before; without it the first page")
    }
}

/// A name, an id, a part of one.
pub const TEXT: Kind = Kind::Text(1_000);

/// What is searched for, in the language of searches.
pub const SEARCH: Kind = Kind::Text(4_000);

/// What a program gets.
#[derive(Debug, Clone, Copy)]
pub enum Answers {
    /// Nothing: this is for people, who have pages.
    People,
    /// JSON of this shape, with this status.
    Json(u16, Shape),
    /// A file of one of these types.
    File(&'static [&'static str]),
}

/// What programs are told of a route.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// What it does, in a line.
    pub what: &'static str,
    /// Words of the query.
    pub asks: &'static [Word],
    /// Words of the body, a JSON object or a form.
    pub takes: &'static [Word],
    pub answers: Answers,
    /// Other answers that it may give, by their status.
    pub others: [Option<(u16, Shape)>; 2],
    /// Refusals that only it knows.
    pub wrong: &'static [u16],
}

impl Told {
    pub const fn new(what: &'static str, answers: Answers) -> Self {
        Self { what, asks: &[], takes: &[], answers, others: [None; 2], wrong: &[] }
    }
}

/// The shape of what is serialised.
pub fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
