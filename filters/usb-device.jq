# USB device plugged in
#
# Why: a USB stick carries data out and malware in; an unknown keyboard may be a machine that types by itself.
# Looks at: new rows of usb_devices. Hubs, root hubs and what is soldered in (macOS: removable = 0) are left out.
# Not seen: a device that comes and goes between two runs of the query.
# False positives: docks, chargers and monitors with a USB identity; the virtual tablet of a virtual machine.

# Its own helpers, so that it runs with `jq -f` too; those of zentral (docs/prelude.md) make a filter shorter.
def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects | map_values(line)
| select(.removable != "0")
| select(.class != "9" and .class != "09" and .vendor_id != "1d6b")
| ([.vendor, .model | select(. != null and . != "")] | join(" ")) as $name
| ([.vendor_id, .model_id | select(. != null and . != "")] | join(":")) as $id
| select($name != "" or $id != "")
| {
    title: "USB device on \($host): \(if $name != "" then $name else $id end)",
    body: ([
        (if $name != "" then $name else "no name" end) + (if $id != "" then " (\($id))" else "" end),
        (.serial // "" | if . != "" then "serial number \(.)" else "no serial number" end)
      ] | join(", ")),
    vendor_id: (.vendor_id // ""),
    model_id: (.model_id // ""),
    serial: (.serial // "")
  }
