# Munki fails to install or remove something
#
# Why: an update that never gets in leaves the old version, with its holes, on the machine.
# Looks at: installations and removals of which Munki reports a status that is not 0 (told again with every run that fails).
# To do: `zentral search 'type:munki_install_failed AND machine.serial_number:…'`, and Munki's own log on the Mac.
# False positives: machines that are short of disk space or are closed in the middle.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type | IN("munki_install_failed", "munki_removal_failed"))
| host as $host
| (if .type == "munki_removal_failed" then "removed" else "installed" end) as $done
| .payload? | objects
| ([.display_name, .name | line | select(. != "")][0] // "an item") as $name
| (.version | line) as $version
| {
    title: "Munki cannot get \($name) \($done) on \($host)",
    body: "\(if $version != "" then "version \($version), " else "" end)status \(.status | line)",
    item: (.name | line),
    version: $version
  }
