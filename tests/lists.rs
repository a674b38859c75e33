//! The kept lists: a source, a kind of action, a store is one file, and the list of them is plain text in a known order.
//! When a file is not on its list this test writes it there and fails once, so that you look.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;

/// The lines between `// name: begin` and `// name: end`, one for each file, rewritten if they are not what the folder
/// holds. `NAME` in `line` stands for the file's name.
fn keep(list: &str, name: &str, folder: &str, line: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(list);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("// {name}: begin"), format!("// {name}: end"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("{list} has no `{begin}`")) + begin.len();
    let stop = start + text[start..].find(&end).unwrap_or_else(|| panic!("{list} has no `{end}`"));
    let indent: String = text[..stop].chars().rev().take_while(|c| *c == ' ').collect();
    let mut names: Vec<String> = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|f| f.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    let want: String =
        names.iter().map(|n| format!("\n{indent}{}", line.replace("NAME", n))).collect::<String>() + "\n" + &indent;
    let same = text[start..stop].split_whitespace().eq(want.split_whitespace());
    if !same {
        std::fs::write(&path, format!("{}{want}{}", &text[..start], &text[stop..])).unwrap();
        eprintln!("{list}: the list `{name}` was not what {folder} holds; it is now, look at the difference");
    }
    same
}

#[test]
fn lists_hold_what_the_folders_hold() {
    let mut all = true;
    for (list, name, folder, item) in [
        ("libs/sources/src/sources.rs", "sources", "libs/sources/src/sources", "&NAME::SOURCE,"),
        ("bins/act/src/actions.rs", "actions", "bins/act/src/actions", "NAME::KIND,"),
        ("bins/store/src/stores.rs", "stores", "bins/store/src/stores", "NAME::KIND,"),
    ] {
        all &= keep(list, name, folder, "pub mod NAME;");
        all &= keep(list, "list", folder, item);
    }
    assert!(all);
}
