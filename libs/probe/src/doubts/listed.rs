//! `IN($list[])` of a file that holds one array: the one value of the list is that array, and no text is equal to it.

use super::shape::{Seen, What};
use super::{Doubted, Found};
use crate::data::parse_data;
use crate::value::Val;

/// Imported data: its file and text.
pub(super) type Data<'d> = dyn Fn(usize) -> Option<(&'d str, &'d str)> + 'd;

pub(super) fn find<'s>(seen: &[Seen<'s>], data: &Data<'_>, found: &mut Found<'s>) {
    for one in seen {
        if let What::Among(place) = one.what
            && let Some((file, text)) = data(place)
            && let Some(holds) = holds(text)
        {
            let message = format!("`{file}` holds {holds}, so nothing is ever among it; one value a line is wanted");
            found.push((Doubted::Listed, one.place, message));
        }
    }
}

/// What a file holds in which no text and no number will be found.
fn holds(text: &str) -> Option<&'static str> {
    let values = parse_data(text).ok()?;
    match values.as_array()? {
        [] => Some("nothing"),
        [Val::Obj(_)] => Some("one object"),
        [one] if one.as_array().is_some() => Some("one array"),
        _ => None,
    }
}
