//! The columns that a query gives, read from its text. Which tables there are is not asked, so only what is written out
//! can be told.

use std::ops::Range;

use crate::syntax::pieces;

/// Words behind the list of what is selected.
const AFTER: [&str; 10] =
    ["from", "where", "group", "having", "window", "union", "intersect", "except", "order", "limit"];

/// The names of the columns of a `select`, as they are written; `None` if one cannot be told.
pub fn columns(sql: &str) -> Option<Vec<String>> {
    let pieces = pieces(sql).ok()?;
    let words: Vec<&str> = pieces.iter().filter_map(|piece: &Range<usize>| sql.get(piece.clone())).collect();
    let is = |word: &str, key: &str| word.eq_ignore_ascii_case(key);
    let (first, mut rest) = words.split_first()?;
    if !is(first, "select") {
        return None;
    }
    if let Some((word, after)) = rest.split_first()
        && (is(word, "distinct") || is(word, "all"))
    {
        rest = after;
    }
    let (mut names, mut item, mut depth) = (Vec::new(), Vec::new(), 0usize);
    for word in rest {
        match *word {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            "," if depth == 0 => {
                names.push(name(&item)?);
                item.clear();
                continue;
            }
            word if depth == 0 && (word == ";" || AFTER.iter().any(|key| is(word, key))) => break,
            _ => {}
        }
        item.push(*word);
    }
    names.push(name(&item)?);
    Some(names)
}

/// The name of one column: behind `as`, or a column of a table.
fn name(item: &[&str]) -> Option<String> {
    match item {
        [.., before, word] if before.eq_ignore_ascii_case("as") => named(word).or_else(|| unquoted(word, '\'', '\'')),
        [word] | [_, ".", word] | [_, ".", _, ".", word] => named(word),
        _ => None,
    }
}

/// A plain word, or a name between quotes.
fn named(word: &str) -> Option<String> {
    let plain = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let quoted = || [('"', '"'), ('`', '`'), ('[', ']')].iter().find_map(|(open, close)| unquoted(word, *open, *close));
    if plain { Some(word.to_owned()) } else { quoted() }
}

fn unquoted(word: &str, open: char, close: char) -> Option<String> {
    let inner = word.strip_prefix(open)?.strip_suffix(close)?;
    // A doubled quote is a rarity that nobody needs told.
    (!inner.contains(close)).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_is_known() {
        for (sql, want) in [
            ("select vendor, model from usb_devices", Some("vendor model")),
            ("SELECT DISTINCT u.username AS \"name\", [p].`path`, count(*) as 'n' FROM x -- , y", Some("name path n")),
            ("select (select max(a, b) from t) as most, main.t.c", Some("most c")),
            ("select a union select b from t", Some("a")),
            ("select a;", Some("a")),
            ("select * from users", None),
            ("select u.*, a from users u", None),
            ("select count(*), a from users", None),
            ("select a b from t", None),
            ("select 1", None),
            ("select 'a' from t", None),
            ("with t as (select 1 as n) select n from t", None),
            ("values (1)", None),
            ("select", None),
            ("select a, from t", None),
            ("select a) from t", None),
            ("select 'a", None),
        ] {
            let told = columns(sql).map(|names| names.join(" "));
            assert_eq!(told.as_deref(), want, "{sql}");
        }
    }
}
