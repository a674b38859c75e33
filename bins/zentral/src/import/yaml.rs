//! YAML as Zentral's and Fleet's files have it: maps, lists, scalars, several documents. Anchors are not followed: a
//! small file could say very much with them.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::node::{Broken, DEPTH_MAX, Documents, Node, Value};

/// Reads all documents.
pub fn read(text: &str) -> Result<Documents, Broken> {
    let mut reader = Reader { parser: Parser::new_from_str(text), twice: Vec::new() };
    let mut roots = Vec::new();
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            other => roots.push(reader.node(other, span, 0)?),
        }
    }
    roots.retain(|root| root.value != Value::Null);
    Ok(Documents { roots, twice: reader.twice })
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    twice: Vec<(usize, String)>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Broken> {
        self.parser.next_event().transpose().map_err(|e: ScanError| Broken {
            line: e.marker().line(),
            column: e.marker().col() + 1,
            text: e.info().to_owned(),
        })
    }

    fn one(&mut self) -> Result<(Event<'t>, Span), Broken> {
        self.next()?.ok_or_else(|| Broken { line: 1, column: 1, text: "ends too early".into() })
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Broken> {
        let line = span.start.line();
        let broken = |text: String| Broken { line, column: span.start.col() + 1, text };
        if depth > DEPTH_MAX {
            return Err(broken(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.one()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => return Err(broken("anchors and aliases are not read".into())),
            _ => return Err(broken("expected a value".into())),
        };
        Ok(Node { line, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        let (mut members, mut keys) = (Vec::new(), HashSet::new());
        loop {
            let (key, span) = match self.one()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(members)),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => {
                    let (line, column) = (span.start.line(), span.start.col() + 1);
                    return Err(Broken { line, column, text: "a key must be a word".into() });
                }
            };
            let (event, at) = self.one()?;
            let node = self.node(event, at, depth + 1)?;
            if keys.insert(key.clone()) {
                members.push((key, node));
            } else {
                self.twice.push((span.start.line(), key));
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if serde_json::from_str::<serde_json::Number>(text).is_ok() => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::node::Spot;

    #[test]
    fn documents_and_scalars() {
        let text = "---\na: [1, '1', true, ~, 1.4.5]\nb:\n  c: |\n    x\n    y\n---\n- z: {q: w}\n---\n";
        let read = read(text).unwrap();
        let json: Vec<_> = read.roots.iter().map(|root| Spot::root(&"f".into(), root).json()).collect();
        let want = [
            serde_json::json!({"a": [1, "1", true, null, "1.4.5"], "b": {"c": "x\ny\n"}}),
            serde_json::json!([{"z": {"q": "w"}}]),
        ];
        assert_eq!(json, want);
    }

    #[test]
    fn what_is_broken_has_a_place() {
        for (text, line, word) in [
            ("a: &x 1\nb: *x", 2, "anchors"),
            ("a: 1\n? [b]\n: 2", 2, "a key"),
            ("a: \"x", 1, ""),
            ("a: 1\n b: 2", 2, ""),
        ] {
            let broken = read(text).unwrap_err();
            assert!(broken.text.contains(word) && broken.line == line, "{text}: {broken:?}");
        }
        assert_eq!(read("a: 1\nb: 2\na: 3").unwrap().twice, [(3, "a".to_owned())]);
        assert!(read(&"[".repeat(10_000)).unwrap_err().text.contains("recursion"));
        assert!(read(&"[".repeat(100)).is_err());
        assert!(read(&"- ".repeat(10_000)).unwrap_err().text.contains("deeper than 64"));
        assert_eq!(read("").unwrap(), Documents::default());
    }
}
