# New scheduled task that looks wrong
#
# Why: a task outlives restarts and may run as SYSTEM; attackers prefer it to a service, since everybody has many.
# Looks at: new rows of scheduled_tasks that are enabled. It matches if the action starts a shell or an interpreter, runs from a
#   folder for passing files, hides what it does, or the task hides itself outside Microsoft's folder. `signs` says which.
# To do: read the action; `schtasks /query /tn NAME /v /fo list` names its author and when it was made.
# False positives: updaters of programs that users install for themselves, scripts of the management server.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;
def starts_interpreter: test("(^|[\\\\\\s\"])(cmd|powershell|pwsh|wscript|cscript|mshta|regsvr32|bitsadmin|certutil|curl)(\\.exe)?(\"|\\s|$)");
def from_passing_folder: test("\\\\(temp|tmp|public|perflogs|\\$recycle\\.bin)\\\\|%(temp|tmp|public)%");

select(.payload.action? == "added")
| host as $host
| .payload.columns | objects
| select(.enabled | IN("1", 1))
| select((.action | strings) != "")
| (.action[:4096] | ascii_downcase) as $does
| (.path | text | startswith("\\Microsoft\\")) as $of_microsoft
| [
    (if $does | starts_interpreter then "runs a shell, an interpreter or a downloader" else empty end),
    (if $does | from_passing_folder then "runs from a folder for passing files" else empty end),
    (if $does | test("\\s[-/](e|en|enc|encod\\w*|ec)\\s+[a-z0-9+/=]{16}|frombase64string") then "hides its command" else empty end),
    (if ($of_microsoft | not) and (.hidden | IN("1", 1)) then "is hidden from the list of tasks" else empty end)
  ] as $signs
| select($signs != [])
| map_values(line)
| {
    title: "New scheduled task on \($host): \(.name // "" | if . != "" then . else "without a name" end)",
    body: ([.action, $signs[]] | join("; ")),
    task: (.path // ""),
    signs: $signs
  }
