//! Data that a filter imports (`import "list" as $list;`), parsed once per thread.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::budget;
use crate::program::Data;
use crate::value::{Val, ValR};

thread_local! {
    static PARSED: RefCell<HashMap<(u64, usize), Val>> = RefCell::default();
}

/// Parsed data of this many imports is kept by a thread; beyond that all of it is read again.
const PARSED_MAX: usize = 256;

impl Data<'_> {
    /// The data at `place`: an array of the file's values.
    pub(crate) fn data(self, place: &Val) -> ValR {
        let Val::Int(place) = place else { return Ok(Val::Null) };
        let place = usize::try_from(*place).unwrap_or(usize::MAX);
        let key = (self.bundle.unique, place);
        if let Some(known) = PARSED.with(|parsed| parsed.borrow().get(&key).cloned()) {
            return Ok(known);
        }
        let text = self.bundle.data.get(place).map_or("[]", String::as_str);
        let value = budget::exempt(|| {
            let value = parse_data(text).unwrap_or_default();
            PARSED.with(|parsed| {
                let mut parsed = parsed.borrow_mut();
                if parsed.len() >= PARSED_MAX {
                    parsed.clear();
                }
                parsed.insert(key, value.clone());
            });
            value
        });
        Ok(value)
    }
}

/// One JSON value, or one a line: always an array, as jq makes of an imported file.
pub(crate) fn parse_data(text: &str) -> Result<Val, String> {
    let whole = crate::value::parse_text(text);
    if let Ok(value) = whole {
        return Ok(Val::arr(vec![value]));
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let values: Result<Vec<Val>, _> = lines.map(crate::value::parse_text).collect();
    values.map(Val::arr).map_err(|e| whole.err().map_or(e.to_string(), |e| e.to_string()))
}

/// Says why a text is no data.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse_data(text).map(drop)
}
