# Santa kept a program from a file that is watched
#
# Why: whoever reads cookies, keys or password stores and is not the program they belong to takes them away.
# Looks at: accesses that a rule of Santa's file access policy has denied, also for a broken signature.
# Not seen: what the policy only records (AUDIT_ONLY).
# False positives: backup programs, scanners, migration assistants that the policy does not name yet.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "santa_file_access_event")
| host as $host
| .payload? | objects
| select(.decision | IN("FILE_ACCESS_DECISION_DENIED", "FILE_ACCESS_DECISION_DENIED_INVALID_SIGNATURE"))
| ([.process_chain? | arrays | .[] | objects][0] // {}) as $process
| ($process.file_path | line) as $path
| (.rule_name | line) as $rule
| (.target | line) as $target
| {
    title: "Access denied on \($host): \(if $rule != "" then $rule else "a watched file" end)",
    body: "\(if $path != "" then $path else "a program" end) wanted \(if $target != "" then $target else "a watched file" end)",
    rule: $rule,
    target: $target,
    process: $path,
    sha256: ($process.file_sha256 | line)
  }
