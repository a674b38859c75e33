# The hosts file leads somewhere else
#
# Why: an entry in the hosts file beats every DNS server: it sends a login page to somebody else, or updates and scanners to nowhere.
# Looks at: new entries. It matches if one names a site that is worth it (`watched`, below: add your own), or leads to an address of the internet.
# To do: ask the user; most entries are made by hand. Remove it, and look for what else was changed at that time.
# False positives: developers, advertisement blockers (which lead to 0.0.0.0 and name none of the watched), local clusters.

def watched: "apple.com", "icloud.com", "microsoft.com", "windowsupdate.com", "windows.com", "live.com", "office.com", "google.com", "googleapis.com",
  "mozilla.org", "ubuntu.com", "debian.org", "redhat.com", "fedoraproject.org", "github.com", "okta.com", "duosecurity.com";

select(is_new)
| machine_name as $host
| columns | objects
| select(.address | is_ip)
| [.hostnames | strings | .[:8192] | splits("\\s+") | select(. != "")][:100] as $names
| select($names != [])
| [$names[] | select(in_domain(watched))] as $known
| (.address | is_public_ip and (in_cidr("224.0.0.0/4", "255.255.255.255", "fe00::/9", "ff00::/8") | not)) as $outside
| select($known != [] or $outside)
| {
    title: "The hosts file of \($host) leads \($known + $names | .[0] | line) to \(.address | line)",
    body: ([
        "\(.address | line): \($names | join(" ") | line)",
        (if $known != [] then "names a site that is worth it" else empty end),
        (if $outside then "leads to an address of the internet" else empty end)
      ] | join("; ")),
    address: (.address | line),
    names: ($names | map(line))
  }
