# A program starts another one in its stead
#
# Why: the registry can name a "debugger" that Windows starts instead of a program, or when one ends. For sethc.exe or utilman.exe that is a
#   shell as SYSTEM before anybody has logged in; for a scanner it is its end.
# Looks at: new values Debugger and MonitorProcess below Image File Execution Options and SilentProcessExit.
# To do: delete the value; if it is one of the login screen's programs, treat the machine as taken over.
# False positives: developers with a real debugger; Process Explorer that replaces the task manager.

def of_login_screen: "sethc.exe", "utilman.exe", "osk.exe", "magnify.exe", "narrator.exe", "displayswitch.exe", "atbroker.exe";

select(is_new)
| machine_name as $host
| columns | objects
| select(.name | strings | ascii_downcase | IN("debugger", "monitorprocess"))
| select((.data | strings) != "")
| select(.key | strings | ascii_downcase | test("\\\\(image file execution options|silentprocessexit)\\\\[^\\\\]+$"))
| (.key | basename | ascii_downcase) as $program
| [
    (if $program | IN(of_login_screen) then "anybody can start it from the login screen" else empty end),
    (if .data | ascii_downcase | test("(^|[\\\\\\s\"])(cmd|powershell|pwsh|explorer)(\\.exe)?(\"|\\s|$)") then "opens a shell" else empty end),
    (if .data | in_temp // false then "runs from a folder for passing files" else empty end)
  ] as $signs
| {
    title: "\($program | line) on \($host) starts \(.data | line)",
    body: (["\(.key | line)\\\(.name | line) is \(.data | line)", $signs[]] | join("; ")),
    program: $program,
    starts: (.data | line),
    signs: $signs
  }
