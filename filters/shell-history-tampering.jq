# Shell history tampering
#
# Why: deleting the record of what was typed is among the first things an intruder does, and few others have a reason to.
# Looks at: commands in bash, zsh and sh histories that empty, remove, redirect or switch off the history; history files that
#   have become a link or empty, which shows even when the command itself left no trace.
# Not seen: a shell that never wrote its history (`unset HISTFILE` in bash usually takes itself along); fish.
# False positives: a history moved into a synchronised folder by a link; somebody who deletes a password typed by mistake.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# Both ends of a very long command: what lies between costs time and is never typed.
def ends: if length > 8192 then .[:4096] + " ; " + .[-4096:] else . end;

# What a command line does to the history, or nothing. `start` is where a command can begin, so that
# `grep HISTFILE ~/.bashrc` and an option in quotes do not count.
def deed:
  "(^|[;&|({]|sudo)\\s*" as $start
  | "\\.(bash|zsh|sh|ksh)_(history|sessions)|\\.zhistory|/\\.history" as $file
  | if test($start + "history\\s+-[a-z]*[cd]") then "deleted history entries"
    elif test($start + "unset\\s+([A-Za-z_]+\\s+)*HIST(FILE|SIZE)") then "switched the history off"
    elif test($start + "set\\s+\\+o\\s+history") then "switched the history off"
    elif test($start + "((export|declare|typeset|local)\\s+(-[a-z]+\\s+)*)?HISTFILE=(/dev/null|[\"']{2}|[;&\\s]|$)")
    then "sent the history nowhere"
    elif test($start + "((export|declare|typeset|local)\\s+(-[a-z]+\\s+)*)?(HISTSIZE|HISTFILESIZE|SAVEHIST)=[\"']?0[\"']?([;&\\s]|$)")
    then "set the history to no lines"
    elif test($start + "(rm|shred|srm|unlink|truncate)\\s[^;&|]*(" + $file + ")") then "removed a history file"
    elif test("(^|[^>])>\\|?\\s*[^\\s;&|>]*(" + $file + ")") then "overwrote a history file"
    elif test($start + "(ln|cp|mv)\\s[^;&|]*/dev/null\\s+[^\\s;&|]*(" + $file + ")") then "overwrote a history file"
    else empty end;

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects
| (.command | text) as $command
| map_values(line)
| (.history_file // "") as $file
| (if .found == "link" then "history file is a link"
   elif .found == "empty" then "history file is empty"
   else $command | ends | deed end) as $what
| (.username // .uid // "" | if . == "" then "unknown user" else . end) as $user
| ((.time // "" | tonumber | floor | select(. > 0 and . < 253402300800) | todate)? // "") as $time
| {
    title: "Shell history on \($host): \($user): \($what)",
    body: ([
        (if $command != "" then ($command | line) else empty end),
        (if $file != "" then "in \($file)" else empty end),
        (if $time != "" then "at \($time)" else empty end)
      ] | join("; ")),
    user: $user,
    what: $what,
    history_file: $file
  }
