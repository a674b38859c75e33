# WMI starts a command when something happens
#
# Why: a permanent subscription of WMI runs a command or script when a condition holds (so long after the start, at this time of day), without a
#   file that starts it, a task or a service. Attackers know it; administrators hardly ever use it.
# Looks at: new consumers that run a command line or a script.
# To do: read what it runs; `Get-CimInstance -Namespace root/subscription __FilterToConsumerBinding` shows when. Remove binding, filter and
#   consumer.
# False positives: management agents of hardware vendors; Windows' own BVTConsumer, which old versions have, is left out.

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
| select(.kind | IN("command", "script"))
| select((.runs | strings) != "")
| select((.name == "BVTConsumer" and (.runs | contains("KernCap.vbs"))) | not)
| map_values(line)
| {
    title: "New WMI subscription on \($host): \(.name // "" | if . != "" then . else "without a name" end)",
    body: "runs the \(.kind) \(.runs)",
    consumer: (.name // ""),
    kind: .kind
  }
