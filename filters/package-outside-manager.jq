# Package installed outside the package manager
#
# Why: what the package manager does not know gets no security updates, and nobody can say where it came from.
# Looks at: Linux. Distributions leave /usr/local to the administrator, so all that appears there came another way: programs in
#   bin and sbin (links are left out), Python packages by pip as root, Node packages by npm -g.
#   A program that is replaced is told again (its mtime is in the row). `signs` names dangerous permissions.
# False positives: configuration management that puts programs there. pip, setuptools and wheel are left out.
# On macOS /usr/local tells nothing of the kind, since installers put their programs there too.

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
| (.kind // "") as $kind
| (.path // "") as $path
| ([.name, $path | select(. != null and . != "")][0] // "") as $name
| (.version // "") as $version
| (.mode // "") as $mode
| select($kind != "" and ($path | startswith("/usr/local/")))
| select(($kind == "python package" and ($name | test("^(pip|setuptools|wheel)$"))) | not)
| [
    (if $mode | test("^[4567][0-7]{3}$") then "runs as its owner whoever starts it (setuid)" else empty end),
    (if $mode | test("^[0-7]{3}[2367]$") then "anybody may change it" else empty end)
  ] as $signs
| ((.mtime // "" | tonumber | floor | select(. > 0 and . < 253402300800) | todate)? // "") as $time
| {
    title: "Outside the package manager on \($host): \($kind) \($name)\(if $version != "" then " " + $version else "" end)",
    body: ([
        $path,
        (if $time != "" then "changed \($time)" else empty end),
        $signs[]
      ] | join("; ")),
    kind: $kind,
    name: $name,
    version: $version,
    path: $path,
    signs: $signs
  }
