# FileVault was turned off (by the inventory)
#
# Why: whoever takes the machine away reads its disk.
# Looks at: disks that a management server told as encrypted, or as being encrypted, and tells as something else now.
#   disk-encryption-off looks at what osquery finds, and says it again with every run; this one says the change, once.
# False positives: a disk that was replaced.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

def safe: line | IN("Encrypted", "Encrypting");

select(.type == "inventory_disk_update")
| host as $host
| .payload? | objects | select(.action == "changed")
| (.was | objects | .filevault_status) as $before
| .object | objects
| select(($before | safe) and (.filevault_status | safe | not))
| (.filevault_status | line) as $now
| {
    title: "FileVault turned off on \($host)",
    body: "\(.name | line): \(if $now != "" then $now else "nothing is said of it any more" end), was \($before | line)",
    disk: (.name | line)
  }
