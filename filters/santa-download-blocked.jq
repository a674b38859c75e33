# Santa blocked a program that came from the web
#
# Why: a program that a browser or a mail client brought and that Santa blocks is somebody being talked into something, or a tool that is missing in the fleet.
# Looks at: blocked executions of files that macOS has marked with the address they came from.
# Not seen: what came on a disk, by AirDrop, with curl, or lost the mark.
# False positives: programs that are wanted and have no rule yet.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# The whole path: agents say the folder or the file.
def file:
  (.file_path | line) as $path | (.file_name | line) as $name
  | if $path == "" then $name elif $name == "" or ($path | endswith("/" + $name)) then $path else $path + "/" + $name end;

select(.type == "santa_event")
| host as $host
| .payload? | objects | select(.decision | strings | startswith("BLOCK"))
| select(.quarantine_data_url | strings | . != "")
# The server alone: what comes behind it may hold a token.
| (.quarantine_data_url | line | sub("^[a-zA-Z][a-zA-Z0-9+.-]*://"; "") | sub("[/?#].*$"; "") | sub("^.*@"; "")) as $server
| ([.file_name, .file_bundle_name | line | select(. != "")][0] // "a program") as $name
| (file) as $file
| (.executing_user | line) as $user
| {
    title: "Blocked download on \($host): \($name)",
    body: ([
        "from \($server)",
        (if $file != "" then $file else empty end),
        (if $user != "" then "run by \($user)" else empty end)
      ] | join(", ")),
    server: $server,
    sha256: (.file_sha256 | line)
  }
