# New systemd unit outside the packages' folders
#
# Why: a service or timer of systemd starts with the machine, as root if it says nothing else. Packages bring theirs in /usr/lib/systemd; what lies
#   elsewhere was put there by an administrator, or by somebody who became one.
# Looks at: new services, timers, sockets and paths whose file lies outside /usr/lib and /lib. `signs` names what looks wrong.
# To do: `systemctl cat UNIT` shows what it runs; ask who made it.
# False positives: administrators, configuration management, snap's services, container engines.

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
| select(.fragment_path | strings | startswith("/"))
| select(.fragment_path | startswith("/usr/lib/systemd/") or startswith("/lib/systemd/") or startswith("/run/systemd/generator") | not)
| .fragment_path[:4096] as $whole
| map_values(line)
| (.id // "" | if . != "" then . else ($whole | line) end) as $unit
| [
    (if $whole | test("^(/tmp|/var/tmp|/dev/shm|/home|/root|/run/user)/") then "lies in a folder of users" else empty end),
    (if $whole | test("/\\.[^./]") then "is hidden" else empty end),
    (if $whole | startswith("/run/systemd/system/") then "is gone after a restart" else empty end),
    (if $unit | test("^(sshd?|systemd|kernel|dbus|cron)[-_.a-z0-9]*\\.(service|timer)$") then "has the name of a part of the system" else empty end),
    (if (.description // "") == "" or .description == $unit then "has no description" else empty end)
  ] as $signs
| {
    title: "New systemd unit on \($host): \($unit)",
    body: ([
        ($whole | line) + (if (.description // "") != "" then " (\(.description))" else "" end) + (if (.user // "") != "" then " as \(.user)" else "" end),
        $signs[]
      ] | join("; ")),
    unit: $unit,
    path: ($whole | line),
    signs: $signs
  }
