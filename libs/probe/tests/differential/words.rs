//! The words that filters and events share, so that they meet: places of an event, and what is said there.

use super::chance::Chance;
use super::value::J;

/// A place and what one may say there.
pub struct Place {
    pub keys: Vec<String>,
    pub words: Vec<J>,
}

/// A pattern, and texts about which it has something to say.
pub struct Pattern {
    pub text: String,
    samples: Vec<String>,
}

/// All the words, read once from `words/`.
pub struct Words {
    /// Places of an event in the shape that the design gives it.
    pub places: Vec<Place>,
    /// Places with keys that are hard to write, hard to find, or look like something else.
    pub odd_places: Vec<Place>,
    /// Values for any place: the borders of types, numbers and texts.
    pub odd: Vec<J>,
    pub patterns: Vec<Pattern>,
}

impl Words {
    pub fn new() -> Self {
        let values = |text: &str| text.lines().map(J::read).collect::<Vec<J>>();
        let places = |text: &str| {
            members(values(text))
                .map(|(path, words)| Place { keys: path.split('/').map(str::to_owned).collect(), words })
                .collect()
        };
        let text = |value: J| if let J::Str(s) = value { s } else { panic!("{value:?} is no string") };
        let pattern = |(pattern, samples): (String, Vec<J>)| Pattern {
            text: pattern,
            samples: samples.into_iter().map(text).collect(),
        };
        Self {
            places: places(include_str!("words/places.ndjson")),
            odd_places: places(include_str!("words/odd_places.ndjson")),
            odd: values(include_str!("words/odd_values.ndjson")),
            patterns: members(values(include_str!("words/patterns.ndjson"))).map(pattern).collect(),
        }
    }

    /// A place; one in twelve is odd.
    pub fn place(&self, c: &mut Chance) -> &Place {
        if c.percent(8) { c.one(&self.odd_places) } else { c.one(&self.places) }
    }

    /// What may stand at a place; now and then what may not.
    pub fn at<'w>(&'w self, place: &'w Place, c: &mut Chance) -> &'w J {
        if c.percent(12) { c.one(&self.odd) } else { c.one(&place.words) }
    }

    /// A text about which a pattern of the table has something to say.
    pub fn sample(&self, pattern: &str, c: &mut Chance) -> Option<&str> {
        let found = self.patterns.iter().find(|p| p.text == pattern)?;
        Some(c.one::<String>(&found.samples).as_str())
    }
}

/// Each line is an object of one member: a name and an array.
fn members(lines: Vec<J>) -> impl Iterator<Item = (String, Vec<J>)> {
    lines.into_iter().map(|line| match line {
        J::Obj(mut members) if members.len() == 1 => match members.pop() {
            Some((key, J::Arr(items))) => (key, items),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    })
}
