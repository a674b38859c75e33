//! The one choice of the bench, as `measure.py` spells it in jq.

/// The paths that it looks at, and what each must be.
pub const WANTED: [(&[&str], &str); 3] =
    [(&["type"], "osquery_result"), (&["payload", "name"], "usb_devices"), (&["payload", "action"], "added")];

/// Whether a canonical line is chosen: each path looked up by sonic-rs without checking the line, until one is wrong.
pub fn chosen(line: &[u8]) -> bool {
    WANTED.iter().all(|(path, wanted)| {
        // SAFETY: the corpus is valid JSON in UTF-8; this is a limit, not a filter for lines of strangers.
        let value = unsafe { sonic_rs::get_unchecked(line, path.iter()) };
        value.is_ok_and(|value| value.as_raw_str().strip_prefix('"').and_then(|v| v.strip_suffix('"')) == Some(*wanted))
    })
}
