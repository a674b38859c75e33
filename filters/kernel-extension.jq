# Kernel or system extension
#
# Why: a kernel extension can do everything, its modern kin (system extensions) can watch files, processes and the network.
# Looks at: kernel extensions loaded from outside Apple's own folders, and system extensions activated without the management
#   server's consent (mdm_managed = 1 is left out). A kernel extension that calls itself com.apple outside Apple's folders
#   is told as a sign. The version is not asked for, so that an update is no news.
# False positives: drivers, VPN and virtualisation programs that somebody approved by hand.

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
| (.name // "") as $name
| (.path // "") as $path
| (.kind // "kernel extension") as $kind
| ($name | startswith("com.apple.")) as $apple
| select($name != "" and $name != "__kernel__")
| select(.mdm_managed != "1")
| select($path | test("^(/System/|/Library/Apple/)") | not)
| select(($apple and $path == "") | not)      # built into the kernel
| select($kind != "system extension" or .state == null or (.state | startswith("activated")))
| (if $apple then ["has Apple's name outside Apple's folders"] else [] end) as $signs
| {
    title: "New \($kind) on \($host): \($name)",
    body: ([
        "\($name) from \(if $path != "" then $path else "an unknown place" end)",
        (.team // "" | if . != "" then "signed by team \(.)" else empty end),
        $signs[]
      ] | join("; ")),
    kind: $kind,
    name: $name,
    team: (.team // ""),
    signs: $signs
  }
