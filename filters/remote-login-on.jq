# Remote login turned on
#
# Why: a machine that takes logins over the network can be entered with a stolen password, and few laptops need to.
# Looks at: what listens on the ports of ssh, telnet, RDP and VNC (screen sharing), or is one of their servers on another port.
#   On macOS launchd itself holds the port until somebody connects, so the socket tells more than the list of processes.
#   Loopback is left out. Only a change counts: a server that had ssh when its agent came is no news.
# False positives: an administrator who turned it on; an ssh tunnel that listens for others.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# ($port; $program) -> the service, or nothing
def service($port; $program):
  if $program == "sshd" or $program == "dropbear" then "ssh"
  elif $program == "xrdp" then "RDP"
  elif $program == "x11vnc" or $program == "Xvnc" or $program == "screensharingd" then "screen sharing"
  elif $program == "telnetd" or $program == "in.telnetd" then "telnet"
  elif $port == 22 then "ssh"
  elif $port == 23 then "telnet"
  elif $port == 3389 then "RDP"
  elif $port == 5900 then "screen sharing"
  else empty end;

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects | map_values(line)
| (.port // "" | tonumber? // 0) as $port
| (.address // "") as $address
| (.name // "") as $program
| select($port > 0 and $port < 65536)
| select($address | test("^(127\\.|::1$|::ffff:127\\.|localhost$)") | not)
| service($port; $program) as $service
| (if $address | contains(":") then "[\($address)]" else $address end) as $bound
| {
    title: "Remote login on \($host): \($service) is on",
    body: "\(if $program != "" then $program else "an unknown program" end) takes \($service) logins on \($bound):\($port)",
    service: $service,
    port: $port,
    address: $address
  }
