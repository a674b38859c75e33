# Firefox is older than it may be
column("name") == "Firefox.app" and (column("bundle_short_version") | test("[0-9]") and version_lt("128.5"))
