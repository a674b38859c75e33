//! What an action that can be undone remembers of an incident: what it changed, of each machine or manifest alone.
//!
//! The note is about the one that the last delivery was about, `others` in it are the notes of the rest: the key of an
//! incident may be a user, and the event that closes it of another machine than the one that opened it.

use serde_json::{Map, Value};

/// Bytes of a note: it goes out with each outcome.
const NOTE_MAX: usize = 64 << 10;
/// What was changed, in the two directions.
const WORDS: [(&str, &str); 2] = [("added", "removed"), ("removed", "added")];

/// The names that a note has under `added` or `removed`.
pub fn names(note: &Value, word: &str) -> Vec<String> {
    let list = note.get(word).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The notes of all machines or manifests.
pub fn all(reference: Option<&Value>) -> Vec<Value> {
    let mut first = reference.cloned().unwrap_or_default();
    let others = first.as_object_mut().and_then(|map| map.remove("others"));
    let mut all = vec![first];
    if let Some(Value::Array(others)) = others {
        all.extend(others);
    }
    all.retain(|note| WORDS.iter().any(|(word, _)| !names(note, word).is_empty()));
    all
}

/// Whether nothing more can be noted, and so nothing more be changed that is to be undone.
pub fn is_full(reference: Option<&Value>) -> bool {
    reference.is_some_and(|reference| reference.to_string().len() >= NOTE_MAX)
}

/// What was noted before with what was changed now. Notes that agree in the values of `same` are one; what was changed
/// and changed back is in none.
pub fn with(reference: Option<&Value>, fresh: Map<String, Value>, same: &[&str]) -> Value {
    let (mut note, mut others) = (Value::Object(fresh), all(reference));
    let known = others.iter().position(|other| same.iter().all(|key| other.get(key) == note.get(key)));
    let before = known.map(|at| others.remove(at)).unwrap_or_default();
    let now = note.clone();
    if let Some(map) = note.as_object_mut() {
        for (word, back) in WORDS {
            let (kept, fresh) = (names(&before, word), names(&now, word));
            let (undone, undoes) = (names(&now, back), names(&before, back));
            let mut all: Vec<String> = kept.iter().filter(|name| !undone.contains(name)).cloned().collect();
            all.extend(fresh.into_iter().filter(|name| !kept.contains(name) && !undoes.contains(name)));
            if !all.is_empty() || now.get(word).is_some() {
                map.insert(word.to_owned(), all.into());
            }
        }
        if !others.is_empty() {
            map.insert("others".to_owned(), others.into());
        }
    }
    note
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(reference: &Value, fresh: &Value) -> Value {
        super::with(Some(reference), fresh.as_object().cloned().unwrap_or_default(), &["id"])
    }

    #[test]
    fn each_machine_has_a_note_of_its_own() {
        let a = json!({"id": "A", "added": ["x"], "removed": []});
        assert_eq!(with(&Value::Null, &a), a);
        let both = with(&a, &json!({"id": "B", "added": ["x"], "removed": ["y"]}));
        assert_eq!(both, json!({"id": "B", "added": ["x"], "removed": ["y"], "others": [a]}));
        let again = with(&both, &json!({"id": "A", "added": ["x", "z"], "removed": []}));
        let b = json!({"id": "B", "added": ["x"], "removed": ["y"]});
        assert_eq!(again, json!({"id": "A", "added": ["x", "z"], "removed": [], "others": [b]}));
        let back = with(&again, &json!({"id": "A", "added": [], "removed": ["x"]}));
        assert_eq!(all(Some(&back)), [json!({"id": "A", "added": ["z"], "removed": []}), b]);
        let empty = with(&json!({"id": "A", "added": []}), &json!({"id": "B", "added": ["x"]}));
        assert_eq!(empty, json!({"id": "B", "added": ["x"]}), "of whom nothing is to be said, nothing is said");
        assert!(!is_full(Some(&again)) && is_full(Some(&json!("x".repeat(NOTE_MAX)))));
    }
}
