#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
    \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n";

fn whole(body: &str) -> String {
    format!("{HEAD}{body}\n</plist>\n")
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

const KEY: &str = "managed_uninstalls";

/// Adding gives `after`, and taking away again gives `before` (or `left`).
fn both_ways(before: &str, after: &str, left: Option<&str>) {
    for newline in ["\n", "\r\n"] {
        let of = |body: &str| whole(body).replace('\n', newline);
        let added = add(&of(before), KEY, &names(&["Foo"])).unwrap();
        assert_eq!(added.text, of(after));
        assert_eq!(added.names, ["Foo"]);
        assert_eq!(
            add(&added.text, KEY, &names(&["Foo"])).unwrap(),
            Edited { text: added.text.clone(), names: vec![] }
        );
        let gone = remove(&added.text, KEY, &names(&["Foo"])).unwrap();
        assert_eq!(gone.text, of(left.unwrap_or(before)));
        assert_eq!(gone.names, ["Foo"]);
    }
}

#[test]
fn a_list_with_names() {
    both_ways(
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Bar</string>\n\t</array>\n</dict>",
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Bar</string>\n\t\t<string>Foo</string>\n\t</array>\n</dict>",
        None,
    );
}

#[test]
fn comments_stay_with_what_they_are_about() {
    both_ways(
        "<dict>\n  <key>managed_uninstalls</key>\n  <array> <!-- by hand -->\n    <!-- old -->\n    <string>Bar</string>  <!-- since\n 2024 -->  <!-- ok -->\n    <!-- end -->\n  </array>\n  <!-- last -->\n</dict>",
        "<dict>\n  <key>managed_uninstalls</key>\n  <array> <!-- by hand -->\n    <!-- old -->\n    <string>Bar</string>  <!-- since\n 2024 -->  <!-- ok -->\n    <string>Foo</string>\n    <!-- end -->\n  </array>\n  <!-- last -->\n</dict>",
        None,
    );
    both_ways(
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<!-- none -->\n\t</array>\n</dict>",
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<!-- none -->\n\t\t<string>Foo</string>\n\t</array>\n</dict>",
        None,
    );
}

#[test]
fn empty_lists_in_all_forms() {
    let after = "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Foo</string>\n\t</array>\n\t<key>z</key>\n\t<true/>\n</dict>";
    let bare = "<dict>\n\t<key>managed_uninstalls</key>\n\t<array/>\n\t<key>z</key>\n\t<true/>\n</dict>";
    for empty in ["<array/>", "<array />", "<array></array>", "<array>\n\t</array>"] {
        both_ways(&bare.replace("<array/>", empty), after, Some(bare));
    }
}

#[test]
fn a_list_that_is_not_there() {
    // In order, so it stays in order; the comment stays with its key.
    both_ways(
        "<dict>\n\t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n\t<!-- who -->\n\t<key>user</key>\n\t<string>ada</string>\n</dict>",
        "<dict>\n\t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Foo</string>\n\t</array>\n\t<!-- who -->\n\t<key>user</key>\n\t<string>ada</string>\n</dict>",
        Some(
            "<dict>\n\t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n\t<key>managed_uninstalls</key>\n\t<array/>\n\t<!-- who -->\n\t<key>user</key>\n\t<string>ada</string>\n</dict>",
        ),
    );
    // Not in order: at the end. Four spaces, a list on the line of its key.
    both_ways(
        "    <dict>\n        <key>user</key> <string>ada</string>\n        <key>catalogs</key> <array><string>a</string></array>\n    </dict>",
        "    <dict>\n        <key>user</key> <string>ada</string>\n        <key>catalogs</key> <array><string>a</string></array>\n        <key>managed_uninstalls</key> <array>\n            <string>Foo</string>\n        </array>\n    </dict>",
        Some(
            "    <dict>\n        <key>user</key> <string>ada</string>\n        <key>catalogs</key> <array><string>a</string></array>\n        <key>managed_uninstalls</key> <array/>\n    </dict>",
        ),
    );
    // Before the first key, and in a dictionary that has none.
    both_ways(
        "<dict>\n\t<key>user</key>\n\t<string>ada</string>\n</dict>",
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Foo</string>\n\t</array>\n\t<key>user</key>\n\t<string>ada</string>\n</dict>",
        Some("<dict>\n\t<key>managed_uninstalls</key>\n\t<array/>\n\t<key>user</key>\n\t<string>ada</string>\n</dict>"),
    );
    for empty in ["<dict/>", "<dict></dict>", "<dict>\n</dict>"] {
        both_ways(
            empty,
            "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Foo</string>\n\t</array>\n</dict>",
            Some("<dict>\n\t<key>managed_uninstalls</key>\n\t<array/>\n</dict>"),
        );
    }
}

#[test]
fn the_same_key_elsewhere_is_not_touched() {
    let nested = "\t<key>conditional_items</key>\n\t<array>\n\t\t<dict>\n\t\t\t<key>condition</key>\n\t\t\t<string>arch == \"arm64\" &amp;&amp; os_vers_major &gt; 14</string>\n\t\t\t<key>managed_uninstalls</key>\n\t\t\t<array>\n\t\t\t\t<string>Foo</string>\n\t\t\t</array>\n\t\t</dict>\n\t</array>\n";
    both_ways(
        &format!(
            "<dict>\n{nested}\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Bar</string>\n\t</array>\n</dict>"
        ),
        &format!(
            "<dict>\n{nested}\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Bar</string>\n\t\t<string>Foo</string>\n\t</array>\n</dict>"
        ),
        None,
    );
    let only = whole(&format!("<dict>\n{nested}</dict>"));
    assert_eq!(remove(&only, KEY, &names(&["Foo"])).unwrap(), Edited { text: only, names: vec![] });
}

#[test]
fn all_on_one_line() {
    let text = "<plist version=\"1.0\"><dict><key>a</key><true/></dict></plist>";
    let added = add(text, KEY, &names(&["Foo", "Bar", "Foo"])).unwrap();
    assert_eq!(
        added.text,
        "<plist version=\"1.0\"><dict><key>a</key><true/><key>managed_uninstalls</key><array><string>Foo</string><string>Bar</string></array></dict></plist>"
    );
    assert_eq!(added.names, ["Foo", "Bar"]);
    let gone = remove(&added.text, KEY, &names(&["Foo"])).unwrap();
    assert!(gone.text.contains("<array><string>Bar</string></array>"));
    let mixed = whole(
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array><string>A</string> <string>B</string></array>\n</dict>",
    );
    let added = add(&mixed, KEY, &names(&["Foo"])).unwrap();
    assert!(added.text.contains("<array><string>A</string> <string>B</string><string>Foo</string></array>"));
}

#[test]
fn names_are_text_whatever_they_hold() {
    let text = whole("<dict>\n\t<key>managed_uninstalls</key>\n\t<array/>\n</dict>");
    let hostile =
        ["</string></array><key>managed_installs</key><array><string>Evil", "&lol; <!-- ", "a]]>b", "ÄÖ \u{202e}x"];
    let added = add(&text, KEY, &names(&hostile)).unwrap();
    let root = root(&added.text).unwrap();
    assert_eq!(root.texts(KEY).collect::<Vec<_>>(), hostile);
    assert_eq!(root.entries().len(), 1);
    assert_eq!(remove(&added.text, KEY, &names(&hostile)).unwrap().text, text);
}

#[test]
fn a_name_that_stands_there_twice_or_in_other_letters() {
    let text = whole(
        "<dict>\n\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>A&#38;B</string>\n\t\t<string><![CDATA[A&B]]></string> <!-- why -->\n\t\t<string>a&amp;b</string>\n\t</array>\n</dict>",
    );
    assert!(add(&text, KEY, &names(&["A&B"])).unwrap().names.is_empty());
    let gone = remove(&text, KEY, &names(&["A&B"])).unwrap();
    assert_eq!(gone.names, ["A&B"]);
    assert_eq!(root(&gone.text).unwrap().texts(KEY).collect::<Vec<_>>(), ["a&b"]);
    assert!(gone.text.contains("<!-- why -->"), "comments stay");
}

#[test]
fn what_cannot_be_changed_is_said() {
    for (body, says) in [
        ("<array/>", "no dictionary"),
        ("<dict>\n\t<key>managed_uninstalls</key>\n\t<string>Foo</string>\n</dict>", "`managed_uninstalls` is no list"),
        ("<dict><key>managed_uninstalls</key><array/><key>managed_uninstalls</key><array/></dict>", "twice"),
    ] {
        assert!(add(&whole(body), KEY, &names(&["Foo"])).unwrap_err().contains(says), "{body}");
    }
}

/// Whatever a manifest looks like, a change is right or refused, and taking away undoes it for every reader.
#[test]
fn any_mixture_of_spaces_and_comments() {
    let mut seed = 1u64;
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for _ in 0..3_000 {
        let mut gap = || {
            ["", "\n", "\n\t", " ", "<!-- c -->", "\n  <!-- d\n -->\n", "\r\n\t\t", " <!-- > -->\n"][next(8) as usize]
        };
        let mut body = String::from("<dict>");
        for (key, count) in [("catalogs", 1), ("managed_installs", 2), ("managed_uninstalls", 3), ("notes", 0)] {
            if gap().is_empty() {
                continue;
            }
            body += &format!("{}<key>{key}</key>{}<array>{}", gap(), gap(), gap());
            for n in 0..count {
                body += &format!("<string>{key}{n}</string>{}", gap());
            }
            body += &format!("</array>{}", gap());
        }
        let text = whole(&format!("{body}</dict>"));
        let before = root(&text).unwrap();
        let added = add(&text, KEY, &names(&["Foo", "Bar"])).unwrap();
        assert_eq!(added.text.matches("<!--").count(), text.matches("<!--").count());
        let gone = remove(&added.text, KEY, &names(&["Foo", "Bar"])).unwrap();
        let after = root(&gone.text).unwrap();
        assert_eq!(after.texts(KEY).collect::<Vec<_>>(), before.texts(KEY).collect::<Vec<_>>());
        assert_eq!(gone.text.matches("<!--").count(), text.matches("<!--").count(), "{text}\n{}", gone.text);
    }
}

#[test]
fn a_byte_order_mark_stays() {
    let text =
        "\u{feff}<plist>\n<dict>\n\t<key>l</key>\n\t<array>\n\t\t<string>a</string>\n\t</array>\n</dict>\n</plist>\n";
    let more = add(text, "l", &["b".to_owned()]).unwrap().text;
    assert_eq!(more, text.replace("a</string>\n", "a</string>\n\t\t<string>b</string>\n"));
    assert_eq!(remove(&more, "l", &["b".to_owned()]).unwrap().text, text);
}
