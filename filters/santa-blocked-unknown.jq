# Santa blocked a program that no rule knows
#
# Why: in lockdown mode what nobody has allowed does not run. Malware ends here; so does a tool that somebody needs.
# Looks at: executions that Santa uploads with the decision BLOCK_UNKNOWN. What a rule blocks was somebody's wish and is left out.
# To do: look at path, user and signature; allow it with a rule, or help the user to remove it.
# False positives: new versions of unsigned tools, programs that were just built.

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
| .payload? | objects | select(.decision == "BLOCK_UNKNOWN")
| ([.file_name, .file_bundle_name | line | select(. != "")][0] // "a program") as $name
| (.team_id | line) as $team
| (.executing_user | line) as $user
| (file) as $file
| {
    title: "Blocked on \($host): \($name)",
    body: ([
        (if $file != "" then $file else empty end),
        (if $user != "" then "run by \($user)" else empty end),
        (if $team != "" then "team \($team)" else "no team" end)
      ] | join(", ")),
    sha256: (.file_sha256 | line),
    team: $team
  }
