# New listening port
#
# Why: a program that waits for connections from the network is a door; a back door looks the same.
# Looks at: new rows of (TCP port, address, program). The process id is not asked for, so that a restart is no news.
#   Left out: loopback; ssh, screen sharing and RDP (remote-login-on tells of those); ports from 49152 on of the system's own
#   programs, which change all the time. `signs` names what looks wrong about the program.
# False positives: developers' servers, AirPlay and other sharing that somebody turned on.

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
| (.port // "" | tonumber? // 0) as $port
| (.address // "") as $address
| (.path // "") as $path
| ([.name, $path | select(. != null and . != "")][0] // "an unknown program") as $program
| select($port > 0 and $port < 65536)
| select(.protocol == null or .protocol == "6")
| select($address | test("^(127\\.|::1$|::ffff:127\\.|localhost$)") | not)
| select($port != 22 and $port != 3389 and $port != 5900 and .name != "sshd")
| select(($port >= 49152 and ($path | test("^(/System/|/usr/libexec/|/usr/sbin/)"))) | not)
| [
    (if $path == "" then "the program is not known" else empty end),
    (if $path | test("^(/private)?(/tmp|/var/tmp|/dev/shm|/Users/Shared)/|/Downloads/") then "runs from a folder for passing files" else empty end),
    (if $path | test("/\\.[^/]") then "is hidden" else empty end)
  ] as $signs
| (if $address | contains(":") then "[\($address)]" else $address end) as $bound
| {
    title: "New listening port on \($host): \($program) on TCP \($port)",
    body: (["\(if $path != "" then $path else $program end) listens on \($bound):\($port)", $signs[]] | join("; ")),
    port: $port,
    address: $address,
    program: $path,
    signs: $signs
  }
