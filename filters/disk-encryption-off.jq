# Disk encryption is off
#
# Why: a lost laptop with a plain disk is a data breach; with an encrypted one it is a lost laptop.
# Looks at: the volumes of /, /home and (macOS) /System/Volumes/Data, all rows at once, because the answer needs them together:
#   on macOS filevault_status decides (an Apple chip encrypts the disk even while FileVault is off, so `encrypted` says little),
#   on Linux `encrypted`, which a volume inherits from the LUKS container below it.
# Tells again with every run until the disk is encrypted.
# False positives: virtual machines and servers in a locked room; a disk that is still being encrypted.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# The rows of a snapshot, of a snapshot sent as events, or of a differential query.
def rows:
  if .action == "snapshot" then (.snapshot | arrays | .[]), .columns
  elif .action == "added" then .columns
  else empty end
  | objects | map_values(line);

host as $host
| .payload? | objects
| [rows] as $rows
| ($rows | map(select(.filevault_status == "on" or .filevault_status == "off"))) as $filevault
| (if ($filevault | length) > 0 then
     if any($filevault[]; .filevault_status == "on") then [] else $filevault end
   else
     # filevault_status without an answer is no answer, whatever `encrypted` says
     $rows | map(select(has("filevault_status") | not) | select(.encrypted == "0"))
   end) as $plain
| select(($plain | length) > 0)
| {
    title: "Disk encryption is off on \($host)",
    body: ($plain | map("\(.mount // "volume") on \(.name // "unknown disk") is not encrypted") | unique | join("; ")),
    volumes: ($plain | map(.mount // .name // "") | unique)
  }
