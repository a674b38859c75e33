# osquery is outdated
#
# Why: an old agent has known faults and lacks tables, and queries written for new ones fail in silence: the machine looks quiet.
# Looks at: the version that osquery tells of itself, once a day, against the oldest that you allow (`oldest`, below: change it).
# To do: bring it up to date; if the package did come, osqueryd was not started again.
# False positives: none, but a machine that has just been installed from an old image.

def oldest: "5.15.0";

select(is_new)
| machine_name as $host
| first(rows | select((.version | version_lt(oldest))?))
| {
    title: "osquery on \($host) is outdated: \(.version | line)",
    body: "osquery \(.version | line) is older than \(oldest)",
    version: (.version | line),
    oldest: oldest
  }
