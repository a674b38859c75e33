//! The room that a page has for what machines told: rows are shown while there is some, whatever is in them.

/// Bytes of markup that hold the tables of a page; what surrounds them takes less than the rest of 200 kB.
pub const PAGE: usize = 120_000;
/// Bytes of markup around a cell.
const CELL: usize = 24;
/// Bytes of markup around a row.
const ROW: usize = 24;

/// Bytes that a text takes in a page, where five stand for each letter that is markup.
pub fn bytes(text: &str) -> usize {
    let markup = text.bytes().filter(|byte| b"<>&\"'".contains(byte)).count();
    text.len() + 4 * markup
}

/// The longest beginning of a text that takes no more bytes than these in a page.
pub fn fitting(text: &str, room: usize) -> &str {
    let mut left = room;
    let mut buffer = [0; 4];
    let end = text.char_indices().find(|(_, c)| {
        let takes = bytes(c.encode_utf8(&mut buffer));
        let fits = takes <= left;
        left = left.saturating_sub(takes);
        !fits
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// What is left of it.
#[derive(Debug, Clone, Copy)]
pub struct Room(usize);

impl Room {
    pub fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes the room of a row; false: there is not enough, and the row is not shown.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> bool {
        let takes = ROW + cells.into_iter().map(|cell| bytes(cell) + CELL).sum::<usize>();
        match self.0.checked_sub(takes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// A part of it, for one of `n` that share it; what that leaves can be given back.
    pub fn share(&mut self, n: usize) -> Self {
        let part = self.0 / n.max(1);
        self.0 -= part;
        Self(part)
    }

    /// What a part has left over.
    pub fn back(&mut self, part: Self) {
        self.0 += part.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_markup_takes_more() {
        assert_eq!([bytes("abc"), bytes("a\"<"), bytes("é")], [3, 11, 2]);
        assert_eq!(["a<b", "<<<<", "ééé", "", "abcdef"].map(|text| fitting(text, 5)), ["a", "<", "éé", "", "abcde"]);
    }

    #[test]
    fn parts_share_it() {
        let mut room = Room::new(1000);
        let mut part = room.share(2);
        assert!(part.row(["x".repeat(400).as_str()]) && !part.row(["x".repeat(400).as_str()]));
        room.back(part);
        assert!(room.row(["x".repeat(480).as_str()]), "what the first did not need is there for the next");
        assert!(!room.row(["x".repeat(100).as_str()]));
    }
}
