# Login from the internet
#
# Why: a machine that lets somebody in from an address of the internet is reachable for everybody who guesses or steals a password or key.
# Looks at: new logins whose origin is not a private address. `signs`: root, at night or at the weekend (UTC: change the hours below for your site).
# To do: ask whether it was them; if not, end the session, change the password, look at authorized_keys.
# False positives: administrators away from home; bastions, which a tag and `not_tags` in the probe's scope leave out. Where the origin is a
#   host name instead of an address nothing is told.

select(is_new)
| machine_name as $host
| columns | objects
| select(.host | is_ip)
| select(.host | is_public_ip)
| [
    (if .username == "root" then "as root" else empty end),
    (if (.time | between("20:00"; "05:00"))? // false then "at night" else empty end),
    (if (.time | weekday | IN("Sat", "Sun"))? // false then "at the weekend" else empty end)
  ] as $signs
| {
    title: "Login from the internet on \($host): \(.username | line | if . != "" then . else "an unknown account" end) from \(.host | line)",
    body: ([
        "\(.username | line) on \(.tty | line | if . != "" then . else "no terminal" end)" + ((.time | unix_time | floor | todate | " at \(.)")? // ""),
        $signs[]
      ] | join("; ")),
    username: (.username | line),
    address: (.host | line),
    signs: $signs
  }
