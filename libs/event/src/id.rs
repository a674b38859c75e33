//! Ids that sort by time and survive a retry: UUIDv8 of a millisecond and a hash (design § 2).

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::Time;

/// The id of a record that carries a time of its own, `ms` since 1970 (even an impossible one: a retry must get the
/// same id, so the source's own time is taken as it is; only its low 48 bits fit).
///
/// `content` is the record's minified text. Its place in the body never counts: `occurrence` is 0 for the first copy
/// of that content in one body, 1 for the second.
pub fn event_id(ms: i64, source: &str, machine_key: &str, content: &[u8], occurrence: u32) -> String {
    uuid(ms, &[source.as_bytes(), machine_key.as_bytes(), content, &occurrence.to_be_bytes()])
}

/// The id of a record without a time of its own: `received` and the id of its request stand in for the time, so two
/// equal webhooks are two events.
pub fn event_id_without_time(
    received: Time,
    request_id: &str,
    source: &str,
    machine_key: &str,
    content: &[u8],
    occurrence: u32,
) -> String {
    let parts: [&[u8]; 5] =
        [source.as_bytes(), machine_key.as_bytes(), content, &occurrence.to_be_bytes(), request_id.as_bytes()];
    uuid(received.ms(), &parts)
}

/// The id of one part of a record (a row of a batch): the record's id, the part's own content and its occurrence in
/// the record. The millisecond is the record's.
pub fn part_id(record_id: &str, content: &[u8], occurrence: u32) -> String {
    let ms = i64::from_str_radix(&record_id.replace('-', "").chars().take(12).collect::<String>(), 16).unwrap_or(0);
    uuid(ms, &[record_id.as_bytes(), content, &occurrence.to_be_bytes()])
}

/// A fresh id that nobody else has: `entropy` is 16 random bytes or any unique text.
pub fn fresh_id(now: Time, entropy: &[u8]) -> String {
    uuid(now.ms(), &[b"fresh", entropy])
}

fn uuid(ms: i64, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length goes first, so that no two lists of parts run into the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().zip(ms.to_be_bytes().iter().skip(2).chain(digest.iter())) {
        *to = *from;
    }
    let [.., v, _, n, _, _, _, _, _, _, _] = &mut bytes;
    *v = (*v & 0x0f) | 0x80; // version 8 (RFC 9562)
    *n = (*n & 0x3f) | 0x80; // variant
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }));
        }
    }
    text
}

/// Counts equal contents within one body.
#[derive(Debug, Default)]
pub struct Occurrences(HashMap<[u8; 16], u32>);

impl Occurrences {
    /// 0 for the first copy of this content, 1 for the second.
    pub fn next(&mut self, content: &[u8]) -> u32 {
        let digest = Sha256::digest(content);
        let mut key = [0u8; 16];
        for (to, from) in key.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        let seen = self.0.entry(key).or_insert(0);
        let occurrence = *seen;
        *seen = seen.saturating_add(1);
        occurrence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_sortable_and_marked() {
        let id = event_id(1_763_751_600_123, "osquery", "C02", b"{}", 0);
        assert_eq!(id, event_id(1_763_751_600_123, "osquery", "C02", b"{}", 0));
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes().get(14), Some(&b'8'));
        assert!(id < event_id(1_763_751_600_124, "osquery", "C02", b"{}", 0));
        for other in [
            event_id(1_763_751_600_123, "osquery", "C02", b"{}", 1),
            event_id(1_763_751_600_123, "osquery", "C03", b"{}", 0),
            event_id(1_763_751_600_123, "osqueryC", "02", b"{}", 0),
            event_id(1_763_751_600_123, "osquery", "C02", b"{ }", 0),
            part_id(&id, b"{}", 0),
        ] {
            assert_ne!(id, other);
            assert_eq!(id.get(..13), other.get(..13), "same millisecond, same prefix");
        }
    }

    #[test]
    fn occurrence_counts_copies_not_places() {
        let mut seen = Occurrences::default();
        assert_eq!([seen.next(b"a"), seen.next(b"b"), seen.next(b"a")], [0, 0, 1]);
    }
}
