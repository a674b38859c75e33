# System Integrity Protection or Gatekeeper is off
#
# Why: System Integrity Protection keeps even root out of the system's files, Gatekeeper keeps unsigned programs from starting.
#   Both are off only because somebody turned them off.
# Looks at: one row a protection, {protection, enabled}; a change to 0, or 0 in the first report of a machine.
# False positives: machines of kernel and driver developers; take them out of the scope by a tag.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

{
  sip: "System Integrity Protection",
  gatekeeper: "Gatekeeper"
} as $names
| host as $host
| .payload? | objects
| [
    (if .action == "snapshot" then (.snapshot | arrays | .[]), .columns elif .action == "added" then .columns else empty end)
    | objects | map_values(line)
    | select(.enabled == "0")
    | $names[.protection // ""] // empty
  ]
| unique
| select(length > 0)
| {
    title: "\(join(" and ")) \(if length > 1 then "are" else "is" end) off on \($host)",
    body: (if . == ["Gatekeeper"]
      then "Programs start without a check of who signed them. To turn it on: sudo spctl --global-enable (before macOS 15: --master-enable)"
      else "Root may change the system's own files. To turn it on: start from Recovery, csrutil enable" end),
    protections: .
  }
