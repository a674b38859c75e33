# New administrator
#
# Why: whoever gets into a machine wants an account that may do everything, and one more member of a group is easily overlooked.
# Looks at: new rows of "user is in a group that can become root" (admin, sudo, wheel, docker, lxd) and of
#   accounts with uid 0 that are not called root.
# False positives: somebody was given the right on purpose; the helper account of macOS' setup assistant is left out.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects | map_values(line)
| (.username // "") as $user
| (.granted_by // "") as $by
| select($user != "" and $by != "")
| select($user != "root" and $user != "_mbsetupuser")
| {
    title: "New administrator on \($host): \($user)",
    body: ([
        (if $by == "uid 0" then "\($user) has uid 0, as root has" else "\($user) is now in the group \($by)" end),
        (if $by == "docker" or $by == "lxd" then "members of \($by) can become root without a password" else empty end)
      ] | join("; ")),
    username: $user,
    uid: (.uid // ""),
    granted_by: $by
  }
