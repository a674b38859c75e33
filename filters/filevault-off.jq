# FileVault is off
#
# Why: whoever takes the machine away reads its disk.
# Looks at: what macOS says of the system's and the data volume. As long as it says neither on nor off nothing is told. With `until` it
#   is an incident: open until FileVault is on again. filevault-turned-off looks at what a management server tells.
# False positives: a new machine whose encryption waits for the next restart.

machine_name as $host
| [rows | objects | map_values(line) | select(.filevault_status | IN("on", "off"))] as $known
| select(($known | length) > 0 and all($known[]; .filevault_status == "off"))
| ([$known[].mount | select(. != null and . != "")] | unique) as $volumes
| {
    title: "FileVault is off on \($host)",
    body: "\(if ($volumes | length) > 0 then $volumes | join(", ") else "the disk" end) can be read by whoever has the machine",
    volumes: $volumes
  }
