//! Property lists in XML, as `plutil -convert xml1` writes them, into JSON.
//!
//! No entity is ever expanded but the five of XML itself, and nothing that a document type might define: a list with
//! definitions of its own is refused. What is open is held in a stack of bounded depth.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Number, Value};

/// Bytes of a list.
pub(super) const PLIST_MAX: usize = 8 << 20;
/// Lists and dictionaries within each other.
const DEPTH_MAX: usize = 64;

/// What is open.
enum Open {
    List(Vec<Value>),
    Dict(Map<String, Value>, Option<String>),
}

/// Reads a list. The error is a lower-case fragment. Dates and data become strings.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, &'static str> {
    if bytes.len() > PLIST_MAX {
        return Err("property list is too long");
    }
    if bytes.starts_with(b"bplist") {
        return Err("property list is binary, and only XML is read");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "property list is not UTF-8")?;
    let mut reader = Reader::from_str(text);
    let (mut stack, mut leaf, mut whole) = (Vec::<Open>::new(), None::<(String, String)>, None);
    loop {
        let event = reader.read_event().map_err(|_| "property list is not XML")?;
        let mut done = None;
        match event {
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::DocType(doctype) if doctype.contains('[') => return Err("property list defines entities"),
            Event::DocType(_) => {}
            _ if whole.is_some() && matches!(event, Event::Start(_) | Event::Empty(_)) => {
                return Err("property list holds more than one value");
            }
            Event::Start(tag) => match (tag.name().as_ref(), &leaf) {
                (_, Some(_)) => return Err("property list has a tag within a value"),
                ("plist", None) if stack.is_empty() => {}
                ("array" | "dict", None) if stack.len() >= DEPTH_MAX => return Err("property list is nested too deep"),
                ("array", None) => stack.push(Open::List(Vec::new())),
                ("dict", None) => stack.push(Open::Dict(Map::new(), None)),
                (name, None) => leaf = Some((word(name)?, String::new())),
            },
            Event::Empty(_) if leaf.is_some() => return Err("property list has a tag within a value"),
            Event::Empty(tag) => {
                done = Some(match tag.name().as_ref() {
                    "array" => Value::Array(Vec::new()),
                    "dict" => Value::Object(Map::new()),
                    "plist" => continue,
                    name => scalar(&word(name)?, "")?,
                })
            }
            Event::Text(text) => add(&mut leaf, &text)?,
            Event::CData(text) => add(&mut leaf, &text)?,
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(|_| ENTITY)? {
                Some(letter) => add(&mut leaf, letter.encode_utf8(&mut [0; 4]))?,
                None => add(&mut leaf, quick_xml::escape::resolve_predefined_entity(&entity).ok_or(ENTITY)?)?,
            },
            Event::End(tag) => match (tag.name().as_ref(), leaf.take()) {
                ("plist", None) => {}
                ("key", Some((_, text))) => match stack.last_mut() {
                    Some(Open::Dict(_, key @ None)) => *key = Some(text),
                    _ => return Err("property list has a key in the wrong place"),
                },
                (_, Some((name, text))) => done = Some(scalar(&name, &text)?),
                (_, None) => {
                    done = Some(match stack.pop() {
                        Some(Open::List(list)) => Value::Array(list),
                        Some(Open::Dict(map, None)) => Value::Object(map),
                        _ => return Err("property list has a key without a value"),
                    })
                }
            },
        }
        let Some(value) = done else { continue };
        match stack.last_mut() {
            None => whole = Some(value),
            Some(Open::List(list)) => list.push(value),
            Some(Open::Dict(map, key)) => {
                let key = key.take().ok_or("property list has a value without a key")?;
                map.insert(key, value);
            }
        }
    }
    if stack.is_empty() && leaf.is_none() {
        whole.ok_or("property list is empty")
    } else {
        Err("property list ends too early")
    }
}

const ENTITY: &str = "property list names an entity that XML does not have";

fn word(name: &str) -> Result<String, &'static str> {
    const WORDS: [&str; 8] = ["key", "string", "integer", "real", "true", "false", "date", "data"];
    let known = WORDS.iter().find(|word| **word == name);
    known.map(|word| (*word).to_owned()).ok_or("property list has a tag that there is not")
}

fn add(leaf: &mut Option<(String, String)>, text: &str) -> Result<(), &'static str> {
    match leaf {
        Some((_, value)) => value.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("property list has text outside its values"),
    }
    Ok(())
}

fn scalar(name: &str, text: &str) -> Result<Value, &'static str> {
    let number = text.trim();
    Ok(match name {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "integer" => match (number.parse::<i64>(), number.parse::<u64>()) {
            (Ok(n), _) => n.into(),
            (_, Ok(n)) => n.into(),
            _ => return Err("property list has an integer that is none"),
        },
        "real" => match number.parse::<f64>() {
            // What JSON has no number for stays text: inf, nan.
            Ok(n) => Number::from_f64(n).map_or_else(|| number.into(), Value::Number),
            Err(_) => return Err("property list has a number that is none"),
        },
        "key" => return Err("property list has a key without a value"),
        "data" => text.split_ascii_whitespace().collect::<String>().into(),
        _ => text.into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use serde_json::json;

    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
        \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">";

    fn read(body: &str) -> Result<Value, &'static str> {
        parse(format!("{HEAD}\n{body}\n</plist>\n").as_bytes())
    }

    #[test]
    fn what_lists_are_made_of() {
        let got = read(
            "<dict>\n<key>a &amp; b</key><string> x &lt;y&#233;&#x1F600; </string><key>n</key><integer>-7</integer>\
             <key>u</key><integer>18446744073709551615</integer><key>r</key><real>1.5</real><key>i</key><real>inf</real>\
             <key>t</key><true/><key>f</key><false></false><key>e</key><string/><key>l</key><array><dict/><array/>\
             <date>2026-01-06T08:01:40Z</date><data>\n AAEC\n Aw==\n</data></array><!-- no --></dict>",
        );
        let want = json!({"a & b": " x <yé😀 ", "n": -7, "u": u64::MAX, "r": 1.5, "i": "inf", "t": true, "f": false,
            "e": "", "l": [{}, [], "2026-01-06T08:01:40Z", "AAECAw=="]});
        assert_eq!(got, Ok(want));
    }

    #[test]
    fn what_is_no_list_of_ours() {
        for (body, says) in [
            ("<dict><key>a</key></dict>", "key without a value"),
            ("<dict><string>a</string></dict>", "value without a key"),
            ("<array><key>a</key></array>", "key in the wrong place"),
            ("<array><string>a", "not XML"),
            ("<array><evil/></array>", "a tag that there is not"),
            ("<array><string><true/></string></array>", "tag within"),
            ("<array>text</array>", "text outside"),
            ("<array><integer>x</integer></array>", "integer"),
            ("<string>&lol;</string>", "entity"),
            ("<string>a</string><string>b</string>", "more than one"),
            ("", "empty"),
        ] {
            let got = read(body).unwrap_err();
            let loose = says == "not XML";
            assert!(got.contains(says) || loose, "{body}: {got}");
        }
        assert!(read(&"<array>".repeat(100)).unwrap_err().contains("deep"));
        assert!(parse(b"bplist00").unwrap_err().contains("binary"));
        assert!(parse(&vec![b' '; PLIST_MAX + 1]).unwrap_err().contains("long"));
    }

    #[test]
    fn laughter_is_refused_before_it_begins() {
        let laughs: String =
            (1..10).map(|n| format!("<!ENTITY lol{n} \"{}\">", format!("&lol{};", n - 1).repeat(10))).collect();
        let text = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE plist [<!ENTITY lol0 \"lol\">{laughs}]><plist><string>&lol9;</string></plist>"
        );
        assert_eq!(parse(text.as_bytes()), Err("property list defines entities"));
        let outside = "<!DOCTYPE plist [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><plist><string>&x;</string></plist>";
        assert!(parse(outside.as_bytes()).is_err());
    }

    #[test]
    fn a_list_cut_anywhere_is_an_error() {
        let text = format!("{HEAD}<dict><key>a</key><array><string>b</string></array></dict></plist>");
        let end = text.find("</dict>").unwrap() + "</dict>".len();
        for cut in 0..end {
            assert!(parse(text.as_bytes().get(..cut).unwrap()).is_err(), "{cut}");
        }
    }
}
