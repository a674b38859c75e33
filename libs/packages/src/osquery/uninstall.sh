#!/bin/sh
# Takes away what the package of @URL@ brought, and puts back the flags that were there before. Run it as root.
set -eu

root=${ZENTRAL_ROOT:-}

@WHERE@

@GIVE_BACK@

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    say "this must run as root: sudo sh $0"
    exit 1
fi
give_back
rm -f "$root$dir/zentral.flags" "$root$dir/zentral.secret" "$root$dir/zentral-ca.pem"
rm -rf "$root/usr/local/zentral/osquery"
if [ -z "$root" ]; then pkgutil --forget @IDENTIFIER@ >/dev/null 2>&1 || :; fi
say "it is as it was before"
