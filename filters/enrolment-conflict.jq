# A machine enrols that is somebody else
#
# Why: a serial number that comes with other hardware, or from another unit, is a copied disk image, a board that was exchanged, or
#   somebody who wants to speak as a machine that is not theirs.
# Looks at: enrolment_conflict. The machine was turned away; what is known under its name stays.
# To do: if it is right that it changed, forget the old one (`zentral machine forget KEY`); it enrols at its next try.
# False positives: repaired machines; virtual machines that were cloned.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "enrolment_conflict")
| host as $host
| (.request?.ip? | line) as $ip
| (.payload? | objects | .why | line) as $why
| {
    title: "Somebody enrols as \($host)",
    body: ([
        {"hardware": "its hardware is another", "unit": "it comes from another unit"}[$why] // "it is not the machine that is known",
        (if $ip != "" then "from \($ip)" else empty end)
      ] | join(", ")),
    ip: $ip
  }
