# BitLocker is off
#
# Why: whoever finds or steals a machine whose disk is not encrypted reads everything on it.
# Looks at: every drive with a letter in a snapshot of bitlocker_info: protection_status 0 is off (2 is not known). It is told again with
#   every run, as long as it is so.
# To do: switch it on with the management server, which also keeps the recovery key; `manage-bde -status` tells the rest.
# False positives: data drives that nobody encrypts on purpose, USB sticks that were plugged in at that moment; protection is
#   suspended for a restart by firmware updates.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

def state: {"0": "not encrypted", "1": "encrypted, but protection is suspended", "2": "being encrypted", "3": "being decrypted",
  "4": "encryption is paused", "5": "decryption is paused"}[.conversion_status | text] // "not protected";

select(.payload.action? == "snapshot")
| host as $host
| [.payload.snapshot | arrays | .[:100][] | objects | select(.protection_status | IN("0", 0)) | select((.drive_letter | strings) != "")] as $off
| select($off != [])
| {
    title: "BitLocker is off on \($host): \($off | map(.drive_letter | line) | join(", "))",
    body: ($off | map("\(.drive_letter | line) is \(state)") | join("; ")),
    drives: ($off | map(.drive_letter | line))
  }
