//! The text of one filter or module: its bounds, its words, the imports at its head.

use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, Parser};

/// Longest text of a filter or module, in bytes.
const SOURCE_MAX: usize = 1 << 20;
/// Most tokens of a text, and the deepest nesting of its brackets: parser and compiler recurse over both.
const TOKENS_MAX: usize = 20_000;
const NESTING_MAX: usize = 256;

/// An `import` or `include` at the head of a file.
pub(crate) struct Import<'s> {
    pub(crate) path: &'s str,
    /// `None` for `include`; with `$` for data.
    pub(crate) name: Option<&'s str>,
    /// Folders given as `{search: …}`.
    pub(crate) search: Vec<&'s str>,
}

/// Places (slices of the text) and what is wrong there.
pub(crate) type Errors<'s> = Vec<(&'s str, String)>;

/// The words of a text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<&str>>, Errors<'_>> {
    if text.len() > SOURCE_MAX + 1 {
        return Err(vec![(text, format!("text is longer than {SOURCE_MAX} bytes"))]);
    }
    if let Some(part) = too_nested(text) {
        return Err(vec![(part, format!("brackets are nested more than {NESTING_MAX} deep"))]);
    }
    let tokens = Lexer::new(text).lex().map_err(|errors| {
        let each = errors.into_iter().map(|(expected, part)| {
            let message = match expected {
                lex::Expect::Token => "character that no jq program has here".to_owned(),
                lex::Expect::Delim(_) => format!("{} is missing", expected.as_str()),
                _ => format!("expected {}", expected.as_str()),
            };
            let part = if part.trim().is_empty() { end(text) } else { part };
            (part.char_indices().nth(1).and_then(|(end, _)| part.get(..end)).unwrap_or(part), message)
        });
        each.collect::<Errors<'_>>()
    })?;
    if tokens.iter().map(count).sum::<usize>() > TOKENS_MAX {
        return Err(vec![(text, format!("program has more than {TOKENS_MAX} words; import long lists as data"))]);
    }
    Ok(tokens)
}

/// What `parse` makes of the words.
pub(crate) fn parsed<'s, T: Default>(
    text: &'s str,
    words: &[Token<&'s str>],
    parse: impl for<'t> FnOnce(&mut Parser<'s, 't>) -> parse::Result<'s, 't, T>,
) -> Result<T, Errors<'s>> {
    Parser::new(words).parse(parse).map_err(|errors| {
        let each = errors.into_iter().map(|(expected, found)| {
            let (place, found) = match found {
                Some(token) => (token.as_str(), format!("found `{}`", shortened(token.as_str()))),
                None => (end(text), "the program ends".to_owned()),
            };
            (place, format!("expected {}, but {found}", expected.as_str()))
        });
        each.collect()
    })
}

/// The imports at the head of a file, and the words after them.
pub(crate) fn header<'s, 't>(
    tokens: &'t [Token<&'s str>],
) -> Result<(Vec<Import<'s>>, &'t [Token<&'s str>]), Errors<'s>> {
    let mut rest = tokens;
    let mut imports = Vec::new();
    while let Some((Token(word @ ("module" | "import" | "include"), _), after)) = rest.split_first() {
        let mut parts = after.splitn(2, |t| t.as_str() == ";");
        let (Some(words), Some(after)) = (parts.next(), parts.next()) else {
            return Err(vec![(*word, format!("`{word}` has no `;` at its end"))]);
        };
        rest = after;
        match (*word, import(*word == "import", words)) {
            ("module", _) => {}
            (_, Some(found)) => imports.push(found),
            ("import", None) => return Err(vec![(*word, "expected `import \"path\" as name;`".into())]),
            (_, None) => return Err(vec![(*word, "expected `include \"path\";`".into())]),
        }
    }
    Ok((imports, rest))
}

fn import<'s>(named: bool, words: &[Token<&'s str>]) -> Option<Import<'s>> {
    let (Token(_, Tok::Str(parts)), rest) = words.split_first()? else { return None };
    let [StrPart::Str(path)] = parts.as_slice() else { return None };
    let (name, meta) = match rest {
        [Token("as", _), Token(name, Tok::Word | Tok::Var), meta @ ..] if named => (Some(*name), meta),
        meta if !named => (None, meta),
        _ => return None,
    };
    let search = match meta {
        [] => Vec::new(),
        [Token(_, Tok::Block(inner))] => search(inner),
        _ => return None,
    };
    Some(Import { path, name, search })
}

/// The literal strings after `search:` in an import's object.
fn search<'s>(tokens: &[Token<&'s str>]) -> Vec<&'s str> {
    let literal = |t: &Token<&'s str>| match &t.1 {
        Tok::Str(parts) => match parts.as_slice() {
            [StrPart::Str(s)] => Some(*s),
            _ => None,
        },
        _ => None,
    };
    match tokens {
        [Token("search" | "\"search\"", _), Token(":", _), value, ..] => match &value.1 {
            Tok::Block(inner) => inner.iter().filter_map(literal).collect(),
            _ => literal(value).into_iter().collect(),
        },
        _ => Vec::new(),
    }
}

/// A path inside the folder of filters, without `.` and doubled slashes.
pub(crate) fn clean(path: &str) -> Result<String, String> {
    if path.starts_with(['/', '~', '$']) || path.contains(['\\', '\0', ':']) {
        return Err("imports are relative to the folder of filters".into());
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("imports stay inside the folder of filters, `..` is not allowed".into());
    }
    Ok(parts.join("/"))
}

pub(crate) fn joined(folder: &str, path: &str) -> String {
    match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}

/// The first bracket beyond the limit, strings and comments counted like code: a bound, not a judgement.
fn too_nested(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return text.get(at..=at);
        }
    }
    None
}

fn count(token: &Token<&str>) -> usize {
    1 + match &token.1 {
        Tok::Block(inner) => inner.iter().map(count).sum(),
        Tok::Str(parts) => parts.iter().map(|p| if let StrPart::Term(t) = p { count(t) } else { 1 }).sum(),
        _ => 0,
    }
}

/// The place after the last character that is no space.
fn end(text: &str) -> &str {
    text.get(text.trim_end().len()..).and_then(|rest| rest.get(..0)).unwrap_or_default()
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(20).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
