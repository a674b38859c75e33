# A protection of Windows is off
#
# Why: the first thing many intruders do is to switch off the virus scanner, the firewall or the question before administrators' work.
# Looks at: what the Security Center says of each: everything but "Good" is told, "Not Monitored" only for scanner and firewall. It is told
#   when it changes and with a machine's first report; off before the agent came is as bad.
# To do: see who switched it off (event log "Windows Defender/Operational", 5001), switch it on, scan.
# False positives: a moment during updates of the scanner; Windows Server has no Security Center and is not told of.

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
| select(.antivirus // .firewall | strings)
| [
    (if .antivirus | IN("Poor", "Snoozed", "Not Monitored", "Error") then "the virus scanner" else empty end),
    (if .firewall | IN("Poor", "Snoozed", "Not Monitored", "Error") then "the firewall" else empty end),
    (if .user_account_control | IN("Poor", "Snoozed") then "the question before administrators' work (UAC)" else empty end),
    (if .autoupdate | IN("Poor", "Snoozed") then "automatic updating" else empty end)
  ] as $off
| select($off != [])
| {
    title: "Protection is off on \($host): \($off | join(", "))",
    body: ([to_entries[] | select(.value | strings | . != "Good") | "\(.key | line): \(.value | line)"] | join("; ")),
    off: $off
  }
