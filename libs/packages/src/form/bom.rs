//! A bill of materials: which files a package lays down, with size and sum, for macOS to check and to list.
//!
//! Apple does not describe the form ("BOMStore"); what is known of it is what the project bomutils found out, whose files
//! Installer takes. Numbers are big-endian. Blocks are named by their number in a table; a few blocks have names.

use crate::Error;

/// Paths that one leaf of the tree holds, as bomutils fills them. Our packages have a tenth of it, so more leaves, and the
/// branch above them, are not written.
const LEAF_MAX: usize = 256;
/// Bytes of a page of a tree.
const PAGE: u32 = 4096;
/// The head, padded.
const HEAD: usize = 512;
/// What stands for a kind of machine in every entry.
const ARCHITECTURE: u16 = 3;

/// A path. Root's, group 0.
pub struct Path {
    /// Its last part; `.` for the root.
    pub name: String,
    /// The place of its folder in the list; none: the root. Folders come before what is in them.
    pub parent: Option<usize>,
    /// Permissions and the kind's bits.
    pub mode: u16,
    /// Size and sum; none: a folder.
    pub file: Option<(u32, u32)>,
}

/// POSIX `cksum`.
pub fn sum(bytes: &[u8]) -> u32 {
    let feed = |sum: u32, byte: u8| {
        let mut sum = sum ^ u32::from(byte) << 24;
        for _ in 0..8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
        }
        sum
    };
    let mut length = bytes.len();
    let size = std::iter::from_fn(|| {
        let low = length as u8;
        let more = length > 0;
        length >>= 8;
        more.then_some(low)
    });
    !bytes.iter().copied().chain(size).fold(0, feed)
}

/// The file; `time` in seconds since 1970.
pub fn write(paths: &[Path], time: u32) -> Result<Vec<u8>, Error> {
    if paths.len() > LEAF_MAX {
        return Err(Error::Writer(format!("{} paths, and one installer holds {LEAF_MAX}", paths.len())));
    }
    let mut blocks = Blocks(Vec::new());
    let mut named = Vec::new();
    named.push((blocks.add(words(&[1, paths.len() as u32 + 1, 1, 0, 0, 0, 0])), "BomInfo"));

    let mut leaf = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let id = i as u32 + 1;
        let (size, sum) = path.file.unwrap_or_default();
        let mut about = vec![if path.file.is_some() { 1 } else { 2 }, 1];
        about.extend(ARCHITECTURE.to_be_bytes());
        about.extend(path.mode.to_be_bytes());
        about.extend(words(&[0, 0, time, size])); // user, group
        about.push(1);
        about.extend(words(&[sum, 0])); // no link
        let about = blocks.add(about);
        let mut name = words(&[path.parent.map_or(0, |parent| parent as u32 + 1)]);
        name.extend(path.name.bytes().chain([0]));
        leaf.extend([blocks.add(words(&[id, about])), blocks.add(name)]);
    }
    let paths = blocks.tree(&leaf, PAGE);
    named.push((blocks.add(paths), "Paths"));
    let none = blocks.tree(&[], PAGE);
    named.push((blocks.add(none), "HLIndex"));
    let none = blocks.tree(&[], 128);
    let mut index = words(&[1, blocks.add(none), 0]);
    index.push(0);
    named.push((blocks.add(index), "VIndex"));
    let none = blocks.tree(&[], PAGE);
    named.push((blocks.add(none), "Size64"));
    Ok(blocks.finish(&named))
}

/// Blocks; the first has the number 1.
struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    fn add(&mut self, block: Vec<u8>) -> u32 {
        self.0.push(block);
        self.0.len() as u32
    }

    /// A tree of one leaf; a pair of `entries` is one entry.
    fn tree(&mut self, entries: &[u32], page: u32) -> Vec<u8> {
        let count = entries.len() / 2;
        let mut leaf = 1u16.to_be_bytes().to_vec();
        leaf.extend((count as u16).to_be_bytes());
        leaf.extend(words(&[0, 0])); // the leaves before and behind it
        leaf.extend(words(entries));
        let mut tree = b"tree".to_vec();
        tree.extend(words(&[1, self.add(leaf), page, count as u32]));
        tree.push(0);
        tree
    }

    /// Head, blocks, names, table.
    fn finish(self, named: &[(u32, &str)]) -> Vec<u8> {
        let mut file = vec![0; HEAD];
        let mut table = vec![self.0.len() as u32 + 1, 0, 0];
        for block in &self.0 {
            table.extend([file.len() as u32, block.len() as u32]);
            file.extend(block);
        }
        table.extend([0; 5]); // no free block
        let mut names = words(&[named.len() as u32]);
        for (block, name) in named {
            names.extend(block.to_be_bytes());
            names.push(name.len() as u8);
            names.extend(name.bytes());
        }
        let names_at = file.len() as u32;
        file.extend(&names);
        let (table_at, table) = (file.len() as u32, words(&table));
        let mut head = b"BOMStore".to_vec();
        let sizes = (table.len() as u32, names.len() as u32);
        head.extend(words(&[1, self.0.len() as u32, table_at, sizes.0, names_at, sizes.1]));
        head.extend(file.split_off(head.len()));
        head.extend(table);
        head
    }
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_cksum() {
        for (text, wanted) in [("", 4_294_967_295), ("123456789", 930_766_865), (&*"a".repeat(300), 1_664_553_091)] {
            assert_eq!(sum(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn one_leaf_and_not_more() {
        let path = |n: usize| Path { name: format!("f{n}"), parent: None, mode: 0o100_644, file: Some((0, sum(b""))) };
        let many = |count| (0..count).map(path).collect::<Vec<_>>();
        assert!(write(&many(LEAF_MAX), 1).is_ok());
        let error = write(&many(LEAF_MAX + 1), 1).unwrap_err().to_string();
        assert!(error.contains("257 paths, and one installer holds 256"), "{error}");
    }
}
