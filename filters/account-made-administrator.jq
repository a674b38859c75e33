# An account becomes administrator (by the inventory)
#
# Why: an administrator can switch off all that protects the machine.
# Looks at: accounts of the machine as Jamf tells them: new ones that are administrators, and those that were not before.
#   What is there when accounts are told for the first time is left out. Machines with osquery are watched by new-administrator.
# False positives: the account that enrolment makes; help desk tools that raise rights for an hour.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "inventory_user_update")
| host as $host
| .payload? | objects | select(.first != true)
| select(.action == "added" or (.action == "changed" and (.was | objects | .administrator != true)))
| (.action == "added") as $new
| .object | objects | select(.administrator == true)
| ([.username, .description | line | select(. != "")][0] // "an account") as $name
| {
    title: "Administrator on \($host): \($name)",
    body: (if $new then "a new account" else "it was none before" end),
    user: (.username | line)
  }
