# A shell talks to the internet
#
# Why: a shell or netcat with a connection of its own to an address of the internet is, nearly always, somebody at the other end who types commands.
# Looks at: connections of shells, netcat and its like to addresses that are not private. Python, Perl and PowerShell are not in the list: they
#   talk to the internet for many good reasons.
# To do: cut the connection (isolate the machine), keep the process' parent and command line, then look for how it began.
# False positives: administrators who test a port with nc; bash with /dev/tcp in a script that checks a server.

def shells: "sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "csh", "tcsh", "nc", "ncat", "netcat", "nc.openbsd", "nc.traditional", "socat", "telnet",
  "busybox", "cmd.exe", "nc.exe", "nc64.exe", "ncat.exe";

select(is_new)
| machine_name as $host
| columns | objects
| select(.path | strings | basename | ascii_downcase | IN(shells))
| select(.remote_address | is_ip)
| select(.remote_address | is_public_ip)
| (.remote_address | line) as $address
| (if $address | contains(":") then "[\($address)]" else $address end + ":\(.remote_port | line)") as $there
| {
    title: "\(.path | basename | line) on \($host) talks to \($there)",
    body: ([
        "\(.cmdline | line | if . != "" then . else "a command that is not known" end) (\(.path | line)) talks to \($there)",
        (.username | line | if . != "" then "as \(.)" else empty end),
        (if .path | in_temp or is_hidden then "the shell itself lies in an odd place" else empty end)
      ] | join("; ")),
    remote_address: $address,
    path: (.path | line)
  }
