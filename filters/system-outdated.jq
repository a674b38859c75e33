# The operating system gets no security updates
#
# Why: a system without updates keeps every hole that is found from now on.
# Looks at: name and version of the system, once a day, against the oldest that you allow (`oldest`, below: look at it every few months).
#   Windows is judged by its build. Systems that are not in the list are not told of.
# To do: upgrade, or take the machine off the network; for what must stay as it is, a tag and `not_tags` in the probe's scope.
# False positives: long-term support that you pay for.

def oldest: {
    darwin: "15", ubuntu: "22.04", debian: "12", rhel: "8", rocky: "8", almalinux: "8", fedora: "42", amzn: "2023",
    windows: "10.0.26100", "windows server": "10.0.17763"
  };

select(is_new)
| machine_name as $host
| first(
    rows
    | (if .platform == "windows" and (.name | text | contains("Server")) then "windows server" else .platform end | text) as $system
    | oldest[$system] as $oldest
    | select($oldest != null)
    | select((.version | version_lt($oldest))?)
    | {
        title: "The system of \($host) gets no updates: \(.name | line) \(.version | line)",
        body: "\(.name | line) \(.version | line) is older than \($oldest)",
        system: $system,
        version: (.version | line),
        oldest: $oldest
      }
  )
