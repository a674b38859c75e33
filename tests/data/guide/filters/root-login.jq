# Root logs in from outside the office
select(is_new and column("username") == "root")
| select(column("host") | is_ip and (in_cidr("10.0.0.0/8", "203.0.113.0/24", "fd00::/8") | not))
| {title: "root logged in on \(machine_name) from \(column("host") | line)"}
