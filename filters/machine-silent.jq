# A machine is silent
#
# Why: an agent that was stopped, removed or cut off sees nothing; a stolen or broken machine is silent, too.
# Looks at: machine_silent, which is said once when a source has not heard of a machine for long (`silent` of the stage that
#   normalizes, 1 day by default).
# False positives: holidays. Use `scope` for machines that must never be off, such as servers.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "machine_silent")
| host as $host
| .payload? | objects
| {
    title: "\($host) is silent",
    body: "\(.source | line) last heard of it at \(.last_seen | line)",
    source: (.source | line)
  }
