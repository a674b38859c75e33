# Something was deleted in Jamf by its API
#
# Why: a client of the API that deletes computers, policies or profiles takes protection away from many machines at once; a stolen one does it on purpose.
# Looks at: Jamf's webhook RestAPIOperation with the operation DELETE that succeeded. What an account of `own_users` does is never told.
# False positives: your own scripts that clean up. Put their accounts into the list below.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# Accounts that may delete.
def may: [];

select(.type == "jamf_rest_api_operation")
| .payload? | objects
| select(.restAPIOperationType == "DELETE" and .operationSuccessful != false)
| (.authorizedUsername | line) as $user
| select(any(may[]; . == $user) | not)
| (.objectTypeName | line) as $kind
| ([.objectName, .objectID | line | select(. != "")][0] // "something") as $name
| {
    title: "Deleted in Jamf: \(if $kind != "" then "\($kind) " else "" end)\($name)",
    body: "by \(if $user != "" then $user else "an unknown account" end)",
    user: $user,
    object: $kind
  }
