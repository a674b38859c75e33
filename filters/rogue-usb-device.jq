# Unknown USB device plugged in
#
# Why: whoever plugs in what nobody gave out carries data away, brings malware in, or has found a stick in the car park.
# Looks at: new rows of usb_devices that are not in the list below: put the devices in it that you give out. Hubs, root hubs and what is
#   soldered in (macOS: removable = 0) are left out.
# Not seen: a device that comes and goes between two runs of the query; one that says it is another (only a serial number tells two of a
#   model apart, and a device made for that says any).
# False positives: every device that is not in the list yet. Run it without actions for a week first.

# Vendor, vendor:model, or vendor:model:serial number, in lower case but for the serial number.
def allowed: [
  "05ac",                                     # Apple
  "046d:c52b",                                # Logitech's receiver
  "0781:5583:4C530001230916117320"            # one stick, no other of its model
];

select(is_new)
| machine_name as $host
| (.machine.user | line) as $user
| columns | objects | map_values(line)
| select(.removable != "0" and (.class | IN("9", "09") | not) and .vendor_id != "1d6b")
| (.vendor_id // "" | ascii_downcase) as $vendor
| "\($vendor):\(.model_id // "" | ascii_downcase)" as $model
| "\($model):\(.serial // "")" as $device
| select(any(allowed[]; IN($vendor, $model, $device)) | not)
| ([.vendor, .model | select(. != null and . != "")] | join(" ")) as $name
| select($name != "" or $vendor != "")
| {
    title: "Unknown USB device on \($host): \(if $name != "" then $name else $model end)",
    body: "\($device | rtrimstr(":")), \(if $user != "" then "in the hands of \($user)" else "nobody is known as the machine's user" end)",
    user: $user,
    device: $device
  }
