# Telnet, RDP or VNC listens
select(is_new and (column("port") | text | IN("23", "3389", "5900")))
| {title: "Port \(column("port") | line) is open on \(machine_name)", body: "opened by \(column("path") | line)"}
