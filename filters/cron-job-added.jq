# New cron job
#
# Why: cron runs a command for ever, as any account; miners and back doors that come by a hole in a server nearly always leave one.
# Looks at: new lines of crontabs. `signs` names what looks wrong. Jobs that systems bring are left out if they have no signs.
# To do: read the command; `path` says whose table it is. Stop what it started, too.
# False positives: backups and other jobs of administrators, which have no signs.

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
| select((.command | strings) != "")
| .command[:4096] as $whole
| [
    (if $whole | test("(curl|wget|fetch)\\b[^;]*(\\||&&|;)\\s*(sudo\\s+)?(/\\S*/)?(ba|da|z|k)?sh\\b") then "runs what it downloads" else empty end),
    (if $whole | test("\\b(nc|ncat|netcat|socat)\\b.*(-e|-c|exec)|/dev/(tcp|udp)/") then "opens a shell to somebody else" else empty end),
    (if $whole | test("base64\\s+(-d|-D|--decode)|\\beval\\b|\\$\\((dig|host|nslookup|curl|wget)\\b") then "hides its command" else empty end),
    (if $whole | test("(^|[\\s=\"'])(/private)?(/tmp|/var/tmp|/dev/shm|/Users/Shared)/") then "runs from a folder for passing files" else empty end),
    (if $whole | test("/\\.[^./\\s][^\\s]*") then "names a hidden file" else empty end)
  ] as $signs
| select($signs != [] or ($whole | test("run-parts|anacron|e2scrub|sessionclean|debian-sa1|atop|certbot|logrotate|man-db") | not))
| map_values(line)
| ([.minute, .hour, .day_of_month, .month, .day_of_week | select(. != null and . != "")] | join(" ")) as $at
| {
    title: "New cron job on \($host): \(.command)",
    body: ([
        (.path // "" | if . != "" then . else "an unknown table" end)
          + (if (.event // "") != "" then " at @\(.event)" elif $at != "" then " at \($at)" else "" end) + ": \(.command)",
        $signs[]
      ] | join("; ")),
    path: (.path // ""),
    signs: $signs
  }
