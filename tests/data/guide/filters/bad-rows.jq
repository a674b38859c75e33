# Programs run from /tmp: a process without a path hides no other
[rows | .path | strings | select(startswith("/tmp/")) | line] as $paths
| select($paths != [])
| {title: "\($paths | length) programs of \(machine_name) run from /tmp", body: ($paths | join(", "))}
