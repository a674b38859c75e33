# Application unused for 30 days
#
# Why: what nobody uses costs licences, gets no attention, and is one more thing that can be broken into.
# Looks at: what the machine itself finds: applications not Apple's in /Applications that neither macOS (last_opened_time) nor Munki
#   (application_usage.sqlite) has seen in use for 30 days. One that was never seen counts from when it was put there, and only where
#   Munki's records reach back as far. The row goes when the application is used, or is gone.
# Not seen: use of a program that does not come to the front (agents, command-line tools inside an application).
# False positives: what is needed rarely; put it into `kept`.

# Bundle ids, with all that lie below them: what protects or manages the machine is needed even if nobody opens it.
def kept: [
  "com.northpolesec.santa", "com.google.santa", "com.googlecode.munki", "com.jamf", "com.jamfsoftware", "io.osquery",
  "com.cisco", "com.crowdstrike", "com.microsoft.CompanyPortalMac", "com.paloaltonetworks"
];
# If there are any here, only these are looked at.
def only: [];

select(is_new)
| machine_name as $host
| columns | objects | map_values(line)
| .bundle_id as $id
| select($id != null and $id != "")
| select(any(kept[]; . as $kept | $id == $kept or ($id | startswith($kept + "."))) | not)
| select((only | length) == 0 or any(only[]; . == $id))
| ((.name // "") | rtrimstr(".app") | if . != "" then . else $id end) as $name
| {
    title: "\($name) on \($host) is not used",
    body: (if .last_used | . == null or . == "" or . == "never" then "never seen in use" else "last used on \(.last_used)" end),
    bundle_id: $id
  }
