//! Property lists in XML as they stand in a file: every value with its place, so that a change touches nothing else.
//!
//! No entity is expanded but the five of XML itself and characters by number; a list with definitions of its own is
//! refused. What is open is held in a stack of bounded depth.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Lists and dictionaries within each other.
const DEPTH_MAX: usize = 64;

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// From its first tag to its last, in bytes.
    pub span: Range<usize>,
    /// What stands between them; empty at the end of the span for a tag that closes itself.
    pub inner: Range<usize>,
}

/// What a value is.
#[derive(Debug)]
pub enum Kind {
    /// Keys and values, in order; each key once.
    Dict(Vec<Entry>),
    /// Values, in order.
    Array(Vec<Node>),
    /// A `string`.
    Text(String),
    /// Anything else: its tag and text.
    Other(&'static str, String),
}

/// One key of a dictionary.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where its tag stands.
    pub span: Range<usize>,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value of a key, if this is a dictionary that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The keys of a dictionary; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Dict(entries) = &self.kind { entries } else { &[] }
    }

    /// The values of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        if let Kind::Array(items) = &self.kind { items } else { &[] }
    }

    /// The text of a `string`.
    pub fn text(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind { Some(text) } else { None }
    }

    /// The texts of the list under a key.
    pub fn texts<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.get(key).into_iter().flat_map(Self::items).filter_map(Self::text)
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        matches!(self.kind, Kind::Other("true", _))
    }

    /// Whether both say the same, wherever it stands.
    pub fn says(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Dict(a), Kind::Dict(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && a.value.says(&b.value))
            }
            (Kind::Array(a), Kind::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says(b)),
            (Kind::Text(a), Kind::Text(b)) => a == b,
            (Kind::Other(a, x), Kind::Other(b, y)) => a == b && x == y,
            _ => false,
        }
    }
}

/// A tag that is open.
struct Open {
    span: Range<usize>,
    what: What,
}

enum What {
    List(Vec<Node>),
    Dict(Vec<Entry>, Option<(String, Range<usize>)>),
    Leaf(&'static str, String),
}

/// Reads a list. The error is a lower-case fragment that names the line.
pub fn parse(text: &str) -> Result<Node, String> {
    // The reader does not count a byte order mark.
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - body.len();
    let mut reader = Reader::from_str(body);
    let mut reading = Reading { stack: Vec::new(), whole: None, in_plist: false };
    loop {
        let from = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).saturating_add(mark);
        let at = |why: &str| {
            let line = text.get(..from).unwrap_or(text).matches('\n').count() + 1;
            format!("line {line}: {why}")
        };
        let event = reader.read_event().map_err(|e| at(&e.to_string()))?;
        let to = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).saturating_add(mark);
        if matches!(event, Event::Eof) {
            return reading.end().map_err(at);
        }
        reading.take(&event, from..to).map_err(at)?;
    }
}

struct Reading {
    stack: Vec<Open>,
    whole: Option<Node>,
    in_plist: bool,
}

impl Reading {
    fn take(&mut self, event: &Event<'_>, span: Range<usize>) -> Result<(), &'static str> {
        match event {
            Event::Decl(decl) => {
                let name = decl.encoding().and_then(Result::ok);
                let known = name.is_none_or(|n| n.eq_ignore_ascii_case("utf-8") || n.eq_ignore_ascii_case("us-ascii"));
                if known { Ok(()) } else { Err("it says that it is not UTF-8") }
            }
            Event::DocType(doctype) if doctype.contains('[') => Err("it defines entities of its own"),
            Event::Start(tag) => self.start(tag.name().as_ref(), span),
            Event::Empty(tag) => {
                let end = span.end;
                self.start(tag.name().as_ref(), span)?;
                self.close(end..end)
            }
            Event::End(_) => self.close(span),
            Event::Text(text) => self.add(text),
            Event::CData(text) => self.add(text),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(|_| ENTITY)? {
                Some(letter) => self.add(letter.encode_utf8(&mut [0; 4])),
                None => self.add(quick_xml::escape::resolve_predefined_entity(entity).ok_or(ENTITY)?),
            },
            Event::PI(_) | Event::Comment(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, name: &str, span: Range<usize>) -> Result<(), &'static str> {
        if name == "plist" {
            let fits = self.stack.is_empty() && self.whole.is_none() && !self.in_plist;
            self.in_plist = true;
            return if fits { Ok(()) } else { Err("`plist` stands in the wrong place") };
        }
        match self.stack.last() {
            None if self.whole.is_some() => return Err("it holds more than one value"),
            Some(Open { what: What::Leaf(..), .. }) => return Err("a tag stands within a value"),
            Some(Open { what: What::Dict(_, None), .. }) if name != "key" => return Err("a value has no key"),
            Some(Open { what: What::Dict(_, Some(_)), .. }) if name == "key" => return Err("a key has no value"),
            Some(Open { what: What::List(_), .. }) | None if name == "key" => {
                return Err("a key is in the wrong place");
            }
            _ => {}
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err("it is nested too deep");
        }
        let what = match name {
            "array" => What::List(Vec::new()),
            "dict" => What::Dict(Vec::new(), None),
            name => What::Leaf(LEAVES.iter().find(|leaf| **leaf == name).ok_or("there is no such tag")?, String::new()),
        };
        self.stack.push(Open { span, what });
        Ok(())
    }

    /// `tag`: the closing one; empty after a tag that closes itself.
    fn close(&mut self, tag: Range<usize>) -> Result<(), &'static str> {
        // Only `plist` is not on the stack; whether names agree is the reader's business.
        let Some(Open { span, what }) = self.stack.pop() else { return Ok(()) };
        let (inner, span) = (span.end..tag.start, span.start..tag.end);
        let kind = match what {
            What::List(list) => Kind::Array(list),
            What::Dict(entries, None) => Kind::Dict(entries),
            What::Dict(..) => return Err("a key has no value"),
            What::Leaf("string", text) => Kind::Text(text),
            What::Leaf("key", text) => {
                return match self.stack.last_mut() {
                    Some(Open { what: What::Dict(entries, key), .. }) => {
                        if entries.iter().any(|entry| entry.key == text) {
                            return Err("a key stands twice in one dictionary");
                        }
                        *key = Some((text, span));
                        Ok(())
                    }
                    _ => Err("a key is in the wrong place"),
                };
            }
            What::Leaf(name, text) => Kind::Other(name, text),
        };
        let node = Node { kind, span, inner };
        match self.stack.last_mut().map(|open| &mut open.what) {
            None => self.whole = Some(node),
            Some(What::List(list)) => list.push(node),
            Some(What::Dict(entries, key)) => {
                let (key, span) = key.take().ok_or("a value has no key")?;
                entries.push(Entry { key, span, value: node });
            }
            Some(What::Leaf(..)) => return Err("a tag stands within a value"),
        }
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), &'static str> {
        match self.stack.last_mut() {
            Some(Open { what: What::Leaf(_, value), .. }) => value.push_str(text),
            _ if text.trim().is_empty() => {}
            _ => return Err("text stands outside of values"),
        }
        Ok(())
    }

    fn end(self) -> Result<Node, &'static str> {
        if !self.stack.is_empty() {
            return Err("it ends too early");
        }
        self.whole.ok_or("it is empty")
    }
}

const ENTITY: &str = "it names an entity that XML does not have";
const LEAVES: [&str; 8] = ["key", "string", "integer", "real", "true", "false", "date", "data"];

/// Text as it may stand in a value.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_places() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"x\" \"y\">\n<plist version=\"1.0\">\
            <!-- a -->\n<dict><key>a &amp; b</key><array><string>x &lt;&#233;<!-- c --> y</string><string/></array>\
            <key>n</key><integer>7</integer><key>e</key><dict/></dict>\n</plist>\n";
        let whole = parse(text).unwrap();
        assert!(text[whole.span.clone()].starts_with("<dict>") && text[whole.span.clone()].ends_with("</dict>"));
        let list = whole.get("a & b").unwrap();
        assert_eq!(list.items().iter().map(|item| item.text().unwrap()).collect::<Vec<_>>(), ["x <é y", ""]);
        assert_eq!(&text[list.items()[0].inner.clone()], "x &lt;&#233;<!-- c --> y");
        assert_eq!(&text[list.items()[1].span.clone()], "<string/>");
        assert!(list.items()[1].inner.is_empty());
        assert_eq!(&text[whole.entries()[1].span.clone()], "<key>n</key>");
        assert!(whole.says(&parse(&text.replace("<!-- a -->", " ")).unwrap()));
        assert!(!whole.says(&parse(&text.replace("7", "8")).unwrap()));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, says) in [
            ("", "line 1: it is empty"),
            ("<plist>\n<dict><key>a</key></dict></plist>", "line 2: a key has no value"),
            ("<plist><dict><string>a</string></dict></plist>", "a value has no key"),
            ("<plist><array><key>a</key></array></plist>", "a key is in the wrong place"),
            ("<plist><dict><key>a</key><true/><key>a</key><true/></dict></plist>", "stands twice"),
            ("<plist><dict></array></plist>", "line 1: "),
            ("<plist><dict>", "ends too early"),
            ("<plist><array><evil/></array></plist>", "no such tag"),
            ("<plist><array><string><true/></string></array></plist>", "within a value"),
            ("<plist><array>text</array></plist>", "outside"),
            ("<plist><string>&lol;</string></plist>", "an entity"),
            ("<plist><array/><array/></plist>", "more than one"),
            ("<plist><array><plist/></array></plist>", "wrong place"),
            (
                "<!DOCTYPE plist [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><plist><string>&a;</string></plist>",
                "of its own",
            ),
            ("<?xml version=\"1.0\" encoding=\"UTF-16\"?><plist><dict/></plist>", "not UTF-8"),
        ] {
            let why = parse(text).map(|_| ()).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert!(parse(&"<array>".repeat(100)).unwrap_err().contains("deep"));
    }
}
