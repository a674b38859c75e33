# Application of an unknown maker installed
#
# Why: a program that nobody in the fleet's list of makers signed is what malware, cracked software and shadow IT look like.
# Looks at: applications that an inventory source tells as added. What is there when a machine, or its applications, are told for the
#   first time is left out. Signed by Apple is fine, and so are the teams in the list below: put yours there.
# Not seen: programs that are no application bundle; sources that tell no team are judged by their bundle id alone.
# False positives: every maker that is not in the list yet.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# Google, Microsoft, Mozilla, Slack, Zoom, 1Password, Adobe, Dropbox.
def known: ["EQHXZ8M8AV", "UBF8T346G9", "43AQ936H96", "BQR82RBBHL", "BJ4HAAB9B3", "2BUA8C4S2C", "JQ525L2MZD", "G7HH3F8CAK"];

select(.type == "inventory_osx_app_update")
| host as $host
| .payload? | objects | select(.action == "added" and .first != true)
| .object | objects
| (.team_id | line) as $team
| (.bundle_id | line) as $id
| ([.bundle_name, .name, .bundle_id | line | select(. != "")][0] // "an application") as $name
| select(any(known[]; . == $team) | not)
| select((($team == "" or $team == "Apple") and ($id | startswith("com.apple."))) | not)
| {
    title: "New application on \($host): \($name)",
    body: "\(if $team != "" then "team \($team)" else "no known team" end), \(if $id != "" then $id else "no bundle id" end) \(.bundle_version_str // .version // "" | line)",
    team: $team,
    bundle_id: $id
  }
