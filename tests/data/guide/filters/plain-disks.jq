# Disks without encryption: one match for all of them
[rows | select(.encrypted | is_off) | .name | line] as $disks
| select($disks != [])
| {title: "\($disks | length) disks of \(machine_name) are not encrypted", body: ($disks | join(", "))}
