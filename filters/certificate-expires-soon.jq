# A certificate of a machine expires within 30 days
#
# Why: with its certificate a machine loses Wi-Fi, VPN or its management, often all on one morning.
# Looks at: the machine as a whole (inventory_machine), which is said when it changes, at most hourly (and the match with it): certificates
#   that end within 30 days of then and have not ended yet. Of those that Jamf tells only identities count; osquery tells those of the system's keychain.
# Not seen: a machine of which nothing changes in all these days.
# False positives: certificates that nobody uses any more.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

def seconds:
  if type == "number" then . elif type != "string" then null
  elif test("^[0-9]{9,11}$") then tonumber
  else (.[:19] + "Z" | try fromdateiso8601 catch null) end;

select(.type == "inventory_machine")
| host as $host
| (.received | seconds) as $now
| select($now != null)
| [ .payload?.parts?.certificate?.objects? | arrays | .[:1000][] | objects | select(.identity != false)
    | (.not_after // .not_valid_after | seconds) as $until
    | select($until != null and $until > $now and $until < $now + 30 * 86400)
    | { name: ([.common_name, .name | line | select(. != "")][0] // "a certificate"), end: $until, day: ($until | todate | .[:10]) } ]
| sort_by(.end)
| select(length > 0)
| {
    title: "Certificate expires on \($host): \(.[0].name)\(if length > 1 then " and \(length - 1) more" else "" end)",
    body: (map("\(.name) on \(.day)") | .[:20] | join(", ")),
    first: .[0].day
  }
