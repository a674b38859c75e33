//! Title and reason of a filter, from its first comment.

/// The title (first line) and the why (the lines after it) of the comment that a filter begins with.
pub fn describe(source: &str) -> (String, String) {
    let lines = source.lines().map(str::trim).skip_while(|line| line.is_empty() || line.starts_with("#!"));
    let comment = lines.map_while(|line| line.strip_prefix('#'));
    let mut lines = comment.map(|line| line.trim_start_matches('#').trim());
    let title = lines.next().unwrap_or_default().to_owned();
    let why: Vec<&str> = lines.collect();
    (title, why.join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn first_comment() {
        for (source, title, why) in [
            (
                "# USB audio\n#\n# It should not be there.\n# Ask the owner.\n.a",
                "USB audio",
                "It should not be there.\nAsk the owner.",
            ),
            ("\n#Title\n\n# later", "Title", ""),
            ("#!/usr/bin/jq -f\n# Title", "Title", ""),
            (".a # no", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(super::describe(source), (title.to_owned(), why.to_owned()), "{source}");
        }
    }
}
