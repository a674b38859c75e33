# A configuration profile is gone
#
# Why: settings that protect the machine, its certificates and its tie to the management server live in profiles. Without them it is on its own.
# Looks at: profiles that an inventory source told before and tells no more.
# False positives: every profile that you take away yourself. Put those that must never go into the list below; empty, it means all.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# Identifiers that must never go, as `zentral machine show` says them.
def watched: [];

select(.type == "inventory_profile_update")
| host as $host
| (.payload?.source? | line) as $source
| .payload? | objects | select(.action == "removed")
| .object | objects
| (.identifier | line) as $id
| select((watched | length) == 0 or any(watched[]; . == $id))
| ([.display_name, .identifier, .uuid | line | select(. != "")][0] // "a profile") as $name
| {
    title: "Profile removed on \($host): \($name)",
    body: "\(if $id != "" and $id != $name then "\($id), " else "" end)by what \(if $source != "" then $source else "a source" end) says",
    identifier: $id
  }
