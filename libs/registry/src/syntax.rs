//! Whether a text is SQL, as SQLite reads it. Nothing is run, and which tables and functions there are is not asked.

use rusqlite::{Connection, Error};

/// What is wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// Byte of the text at which it is found.
    pub at: usize,
    /// A lower-case fragment.
    pub text: String,
}

/// Longest text that is read, in bytes.
const SQL_MAX: usize = 1 << 20;
/// How a statement begins that only reads.
const READS: [&str; 5] = ["select", "with", "values", "explain", "pragma"];

/// Checks that `sql` is one statement that reads.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(sql: &str) -> Result<(), SqlError> {
    let wrong = |at: usize, text: String| Err(SqlError { at, text });
    if sql.len() > SQL_MAX {
        return wrong(0, format!("is longer than {SQL_MAX} bytes"));
    }
    let pieces = match pieces(sql) {
        Ok(pieces) => pieces,
        Err((at, what)) => return wrong(at, format!("{what} has no end")),
    };
    let mut words = pieces.iter().filter(|piece| sql.get(piece.start..piece.end) != Some(";"));
    let Some(first) = words.next() else { return wrong(0, "there is no statement".to_owned()) };
    let word = sql.get(first.start..first.end).unwrap_or_default();
    if !READS.iter().any(|reads| reads.eq_ignore_ascii_case(word)) {
        return wrong(first.start, format!("a query begins with `select` or `with`, not with `{}`", shortened(word)));
    }
    let mut after = pieces.iter().skip_while(|piece| sql.get(piece.start..piece.end) != Some(";"));
    if let Some(second) = after.find(|piece| sql.get(piece.start..piece.end) != Some(";")) {
        return wrong(second.start, "a second statement begins here; a query is one".to_owned());
    }
    // A pragma may take effect while it is prepared.
    if word.eq_ignore_ascii_case("pragma") {
        return Ok(());
    }
    let Ok(empty) = Connection::open_in_memory() else { return Ok(()) };
    match empty.prepare(sql).map(drop) {
        Err(Error::SqlInputError { msg, offset, .. }) if is_syntax(&msg) => {
            wrong(usize::try_from(offset).unwrap_or(0), msg)
        }
        // It has no place where more is expected: that is behind the last word.
        Err(Error::SqliteFailure(_, Some(msg))) if is_syntax(&msg) => {
            wrong(pieces.last().map_or(0, |piece| piece.start), msg)
        }
        _ => Ok(()),
    }
}

/// All other messages are about what there is (tables, columns, functions), which only the agent knows.
fn is_syntax(message: &str) -> bool {
    message.contains("syntax error")
        || message.starts_with("incomplete input")
        || message.starts_with("unrecognized token")
}

fn shortened(word: &str) -> String {
    word.chars().take(20).collect()
}

/// The places of `:name` in a statement, each with its name. What stands in strings, names and comments is none.
pub fn parameters(sql: &str) -> Vec<(std::ops::Range<usize>, &str)> {
    let pieces = pieces(sql).unwrap_or_default();
    let pairs = pieces.iter().zip(pieces.iter().skip(1));
    let parameter = |(colon, name): (&std::ops::Range<usize>, &std::ops::Range<usize>)| {
        let word = sql.get(name.clone())?;
        let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (sql.get(colon.clone())? == ":" && colon.end == name.start && is_word).then_some((colon.start..name.end, word))
    };
    pairs.filter_map(parameter).collect()
}

/// A text as SQL has it.
pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Words, strings and signs of a text, without comments and white space.
pub(crate) fn pieces(sql: &str) -> Result<Vec<std::ops::Range<usize>>, (usize, &'static str)> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let length = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '-' if rest.starts_with("--") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '/' if rest.starts_with("/*") => {
                // A comment may be left open at the end.
                at += rest.get(2..).and_then(|inner| inner.find("*/")).map_or(rest.len(), |end| end + 4);
                continue;
            }
            '\'' => quoted(rest, '\'').ok_or((at, "a string"))?,
            '"' | '`' => quoted(rest, first).ok_or((at, "a name"))?,
            '[' => rest.find(']').ok_or((at, "a name"))? + 1,
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        all.push(at..at + length);
        at += length;
    }
    Ok(all)
}

/// Bytes of what begins with a quote; a doubled one belongs to it.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest.get(at..)?.find(quote)? + 1;
        if !rest.get(at..)?.starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_syntax_is_judged() {
        for sql in [
            "select vendor, model from usb_devices",
            " SELECT * FROM users u JOIN logged_in_users l USING (uid) WHERE regex_match(u.path, 'x;y', 0) > '';  ",
            "with t as (select 1 as n) select n from t -- ; drop",
            "select \"a;b\", [c;d], `e``;`, 'it''s;' from x; /* ; ",
            "values (1)",
            "pragma table_info(users);",
            "explain query plan select x from nowhere",
            "select sum(1, 2, 3), no_such(1), path like '%x' escape '\\' from osquery_info where é = 1",
        ] {
            assert_eq!(check(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn places_of_values() {
        let sql = "select ':a', \":b\", [:c] from t -- :d\n where x=:path and y = :n1/* :e */and z = 1:2 and w = : v";
        let found: Vec<&str> = parameters(sql).into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, ["path", "n1"]);
        assert_eq!(string("a'b'' or 1=1 --"), "'a''b'''' or 1=1 --'");
        assert_eq!(check("select * from hash where path = :path"), Ok(()));
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (sql, at, text) in [
            ("", 0, "there is no statement"),
            (" ; -- nothing", 0, "there is no statement"),
            ("select * form users", 9, "near \"form\": syntax error"),
            ("select * from users were uid = 0", 25, "near \"uid\": syntax error"),
            ("select (1, from users", 11, "near \"from\": syntax error"),
            ("select * from users where uid in (1, 2", 37, "incomplete input"),
            ("select * from users where ", 20, "incomplete input"),
            ("select * from users where name = 'x", 33, "a string has no end"),
            ("select 'a' || \"b", 14, "a name has no end"),
            ("select 1; select 2", 10, "a second statement begins here; a query is one"),
            ("delete from users", 0, "a query begins with `select` or `with`, not with `delete`"),
            ("sellect 1", 0, "a query begins with `select` or `with`, not with `sellect`"),
            ("select 1)", 8, "near \")\": syntax error"),
            ("select #", 7, "unrecognized token: \"#\""),
        ] {
            assert_eq!(check(sql), Err(SqlError { at, text: text.into() }), "{sql}");
        }
        assert!(check(&format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000))).is_ok());
        assert!(check(&" ".repeat(SQL_MAX + 1)).is_err());
    }
}
