//! A change as people read it: the unified form, in one hunk.

/// Lines that are shown around a change.
const AROUND: usize = 3;

/// What changes from one text to the other; empty if nothing does. No text before: a new file.
pub fn unified(path: &str, before: Option<&str>, after: &str) -> String {
    let old: Vec<&str> = before.unwrap_or_default().split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let left = old.len().min(new.len()) - same;
    let end = old.iter().rev().zip(new.iter().rev()).take(left).take_while(|(a, b)| a == b).count();
    let (gone, come) = (old.len() - same - end, new.len() - same - end);
    if gone + come == 0 {
        return String::new();
    }
    let first = same.saturating_sub(AROUND);
    let (lead, trail) = (same - first, end.min(AROUND));
    let from = if before.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
    let mut out = format!("--- {from}\n+++ b/{path}\n");
    let part = |count: usize| format!("{},{}", if count == 0 { first } else { first + 1 }, count);
    out.push_str(&format!("@@ -{} +{} @@\n", part(lead + gone + trail), part(lead + come + trail)));
    let mut put = |sign: char, lines: &mut dyn Iterator<Item = &&str>| {
        for line in lines {
            out.push(sign);
            out.push_str(line.trim_end_matches(['\r', '\n']));
            out.push('\n');
            if !line.ends_with('\n') {
                out.push_str("\\ No newline at end of file\n");
            }
        }
    };
    put(' ', &mut old.iter().skip(first).take(lead));
    put('-', &mut old.iter().skip(same).take(gone));
    put('+', &mut new.iter().skip(same).take(come));
    put(' ', &mut old.iter().skip(same + gone).take(trail));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hunk_with_its_surroundings() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let after = before.replace("5\n", "5\nnew\n");
        assert_eq!(
            unified("m/C02", Some(before), &after),
            "--- a/m/C02\n+++ b/m/C02\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+new\n 6\n 7\n 8\n"
        );
        assert_eq!(unified("x", Some(before), before), "");
        assert_eq!(
            unified("x", None, "a\nb"),
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n"
        );
        assert_eq!(unified("x", Some("a\na\n"), "a\n"), "--- a/x\n+++ b/x\n@@ -1,2 +1,1 @@\n a\n-a\n");
    }
}
