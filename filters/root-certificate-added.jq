# New root certificate
#
# Why: whoever owns a root certificate that a machine trusts can read and change its encrypted connections, and sign programs for it.
# Looks at: new authorities that signed themselves in the machine's own store: the keychain of the system on macOS, the trusted roots on Windows.
#   `signs`: made within the last 30 days, valid for more than 20 years, no name.
# To do: find out which program brought it; only the management server should. Remove it and what brought it.
# False positives: proxies of your company, developers' tools (mkcert), roots that Windows fetches when it first needs them.

select(is_new)
| machine_name as $host
| columns | objects
| select((.ca | is_on) and (.self_signed | is_on))
| select(.path | strings | startswith("/Library/Keychains/") or contains("Trusted Root Certification Authorities"))
| [
    (if (.not_valid_before | within("30d"))? // false then "was made within the last 30 days" else empty end),
    (if ((.not_valid_after | unix_time) - (.not_valid_before | unix_time) > 20 * 366 * 86400)? // false
     then "is valid for more than 20 years" else empty end),
    (if .common_name | line == "" then "has no name" else empty end)
  ] as $signs
| (.common_name | line | if . != "" then . else "without a name" end) as $name
| {
    title: "New root certificate on \($host): \($name)",
    body: ([
        "\($name) is trusted (\(.path | line))",
        ((.not_valid_after | unix_time | floor | todate | "until \(.)")? // empty),
        $signs[]
      ] | join("; ")),
    sha1: (.sha1 | line),
    signs: $signs
  }
