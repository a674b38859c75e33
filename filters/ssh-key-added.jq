# New key that may log in by SSH
#
# Why: one more line in authorized_keys lets its owner in, without a password and without anybody noticing, until somebody takes it out.
# Looks at: new keys of every account. `signs` names what looks wrong: an account of the system's, an old algorithm, no comment.
# To do: ask the account's owner; a key is known by its comment and the end of its text. Take it out of `key_file`.
# False positives: new colleagues, deployments, cloud machines that get their keys at the first start.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.payload.action? == "added")
| host as $host
| .payload.columns | objects
| select((.key | strings) != "")
| (.key[:16384][-16:] | line) as $tail
| map_values(line)
| (.username // "") as $user
| (.comment // "") as $comment
| [
    (if $user == "root" then "logs in as root" else empty end),
    (if $user | test("^(_|daemon$|nobody$|www-data$|bin$|sys$|mail$|git$|postgres$|mysql$)") then "an account that no person uses" else empty end),
    (if .algorithm | IN("ssh-dss") then "an algorithm that is broken" else empty end),
    (if $comment == "" then "has no comment" else empty end)
  ] as $signs
| {
    title: "New SSH key on \($host) for \(if $user != "" then $user else "an unknown account" end)",
    body: ([
        ([.algorithm // "a key", "…\($tail)", $comment, (if (.key_file // "") != "" then "in \(.key_file)" else "" end)]
          | map(select(. != "")) | join(" ")),
        $signs[]
      ] | join("; ")),
    username: $user,
    key_end: $tail,
    signs: $signs
  }
