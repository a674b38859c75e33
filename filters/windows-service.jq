# New Windows service outside the system's folders
#
# Why: a service starts before anybody logs in and may do everything, so malware and remote-control tools install one.
# Looks at: new rows of services. It matches if the program lies outside Windows and Program Files, or the service starts a shell
#   or an interpreter; `signs` says which.
# To do: ask who installed it; `sc.exe qc NAME` shows how it starts. Stop it before you remove the file, or it comes back.
# False positives: agents below C:\ProgramData (Defender's own are left out), services of developers, Windows on another drive than C:.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;
def lies_inside: startswith("c:\\windows\\") or startswith("\\systemroot\\") or startswith("%systemroot%\\") or startswith("system32\\")
  or startswith("c:\\program files\\") or startswith("c:\\program files (x86)\\")
  or startswith("c:\\programdata\\microsoft\\windows defender\\");
def starts_interpreter: test("(^|[\\\\\\s\"])(cmd|powershell|pwsh|wscript|cscript|mshta|rundll32|regsvr32)(\\.exe)?(\"|\\s|$)");
def from_passing_folder: test("\\\\(temp|tmp|appdata|public|perflogs|\\$recycle\\.bin)\\\\|%(temp|tmp|public)%");

select(.payload.action? == "added")
| host as $host
| .payload.columns | objects
| select((.path | strings) != "")
| (.path[:4096] | ascii_downcase | ltrimstr("\\??\\") | ltrimstr("\"")) as $program
| [
    (if $program | lies_inside | not then "lies outside Windows and Program Files" else empty end),
    (if $program | startswith("\\\\") then "runs from the network" else empty end),
    (if $program | from_passing_folder then "runs from a folder for passing files" else empty end),
    (if $program | starts_interpreter then "runs a shell or an interpreter" else empty end)
  ] as $signs
| select($signs != [])
| map_values(line)
| {
    title: "New service on \($host): \(.display_name // "" | if . != "" then . else "without a name" end)",
    body: (["\(.path)" + (if (.user_account // "") != "" then " as \(.user_account)" else "" end), $signs[]] | join("; ")),
    service: (.name // ""),
    start_type: (.start_type // ""),
    signs: $signs
  }
