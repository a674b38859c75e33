# A program runs from a folder for passing files
#
# Why: what a browser, a document or a script has just brought lies in such a folder, hidden or not; programs that were installed do not.
# Looks at: new processes whose program lies below /tmp, /var/tmp, /dev/shm, /Users/Shared, C:\Windows\Temp, C:\Users\Public or a user's temporary
#   folder. `signs` says more: hidden, no longer on the disk, not an .exe.
# To do: see who started it and where the file came from; ask for its hash before it is gone.
# False positives: installers and updaters while they run, compilers' tests, macOS' AppTranslocation (left out).

select(is_new)
| machine_name as $host
| columns | objects
| select(.path | strings | in_temp)
| select(.path | contains("/AppTranslocation/") | not)
| [
    (if .path | is_hidden then "is hidden" else empty end),
    (if .on_disk | is_off then "is no longer on the disk" else empty end),
    (if (.path | contains("\\")) and (.path | has_extension("exe", "tmp") | not) then "has an unusual name for a program" else empty end)
  ] as $signs
| {
    title: "A program on \($host) runs from a folder for passing files: \(.path | basename | line)",
    body: (["\(.path | line) runs" + (.username | line | if . != "" then " as \(.)" else "" end), $signs[]] | join("; ")),
    path: (.path | line),
    signs: $signs
  }
