# New program in a Run key
#
# Why: what stands in a Run key of the registry starts with every login. It is the oldest way to stay on a Windows machine, and still a
#   common one.
# Looks at: new values of Run and RunOnce, for the machine and for each user. `signs` names what looks wrong about the program.
# To do: compare the program's folder and signature with what was installed at that time; delete the value and the program.
# False positives: chat programs, updaters and drivers, which have no signs.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;
def starts_interpreter: test("(^|[\\\\\\s\"])(cmd|powershell|pwsh|wscript|cscript|mshta|rundll32|regsvr32)(\\.exe)?(\"|\\s|$)");
def from_passing_folder: test("\\\\(temp|tmp|public|perflogs|\\$recycle\\.bin)\\\\|%(temp|tmp|public)%");

select(.payload.action? == "added")
| host as $host
| .payload.columns | objects
| select(.type != "subkey")
| select((.data | strings) != "")
| select(.key | strings | ascii_downcase | test("\\\\run(once)?$"))
| (.data[:4096] | ascii_downcase) as $starts
| [
    (if $starts | starts_interpreter then "runs a shell or an interpreter" else empty end),
    (if $starts | from_passing_folder then "runs from a folder for passing files" else empty end),
    (if $starts | test("\\.(vbs|vbe|js|jse|wsf|hta|ps1|bat|cmd|scr|pif)(\"|\\s|$)") then "is a script" else empty end),
    (if $starts | test("^\"?\\\\\\\\") then "runs from the network" else empty end)
  ] as $signs
| (if .key | ascii_downcase | startswith("hkey_users") then "one user" else "anybody" end) as $whose
| map_values(line)
| {
    title: "New program in a Run key on \($host): \(.name // "" | if . != "" then . else "without a name" end)",
    body: (["\(.data) starts when \($whose) logs in", $signs[]] | join("; ")),
    key: .key,
    name: (.name // ""),
    signs: $signs
  }
