# A script check of Munki fails
#
# Why: script checks say what a Mac must be like; one that fails is a Mac that is not.
# Looks at: munki_script_check_status_updated, which is said when the status of a check changes, with a status that is not OK.
# False positives: a script that breaks on a new version of macOS is told as an error, not as failed; both match.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "munki_script_check_status_updated")
| host as $host
| .payload? | objects
| (.status | line) as $status
| select($status != "" and $status != "OK")
| (.name | line) as $name
| (.previous_status | line) as $before
| {
    title: "Check failed on \($host): \(if $name != "" then $name else "a script" end)",
    body: "\($status)\(if $before != "" then ", was \($before)" else "" end)",
    check: $name,
    status: $status
  }
