# New launch daemon or agent
#
# Why: the usual way to survive a restart on macOS is a property list that launchd reads at boot or at login.
# Looks at: new rows of launchd outside /System, which is sealed. `signs` names what looks wrong: Apple's name on a file that
#   is not Apple's, a program in a place that anybody can write to or that is hidden, a shell or downloader instead of a program.
# False positives: every installer that brings a background helper, and updates that change its arguments; those have no signs.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects
| (([.program, .program_arguments | text | select(. != "")] | join(" "))[:4096]) as $whole
| map_values(line)
| (.path // "") as $path
| select($path != "" and ($path | startswith("/System/") | not))
| ([.label, .name, $path | select(. != null and . != "")][0]) as $job
| ($whole | line) as $command
| (if $path | contains("/LaunchAgents/") then "agent" else "daemon" end) as $kind
| [
    (if ($job | startswith("com.apple.")) and ($path | startswith("/Library/Apple/") | not)
     then "has Apple's name outside /System" else empty end),
    (if $whole | test("(^|\\s)(/private)?(/tmp|/var/tmp|/Users/Shared)/")
     then "runs from a folder that anybody can write to" else empty end),
    (if ($whole | test("(^|\\s)/\\S*/\\.[^./\\s]")) or ($path | test("/\\.[^/]*$"))
     then "is hidden" else empty end),
    (if $whole | test("(^|[\\s/])(sh|bash|zsh|curl|osascript|perl|ruby|python[0-9.]*)(\\s|$)")
     then "runs an interpreter or a downloader" else empty end)
  ] as $signs
| {
    title: "New launch \($kind) on \($host): \($job)",
    body: ([
        "\($path) starts \(if $command != "" then $command else "an unknown program" end)",
        (if .run_at_load == "1" or .run_at_load == "true" then "at load" else empty end),
        (.username // "" | if . != "" then "as \(.)" else empty end),
        ($signs[])
      ] | join("; ")),
    job: $job,
    path: $path,
    signs: $signs
  }
