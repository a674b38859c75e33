# A mobile device left Jamf
#
# Why: a device that is not managed any more has no passcode policy, no remote lock, and its profiles go with it.
# Looks at: Jamf's webhook MobileDeviceUnEnrolled.
# False positives: devices that you retire yourself.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

select(.type == "jamf_mobile_device_unenrolled")
| host as $host
| .payload? | objects
| (if (.mobileDevice | type) == "object" then .mobileDevice else . end)
| ([.deviceName, .serialNumber | line | select(. != "")][0] // $host) as $name
| (.username | line) as $user
| (.modelDisplay // .model | line) as $model
| {
    title: "Left Jamf: \($name)",
    body: ([$model, (.serialNumber | line), (if $user != "" then "of \($user)" else "" end) | select(. != "")] | join(", ")),
    serial_number: (.serialNumber | line),
    user: $user
  }
