#!/bin/sh
# Takes away what the package of @URL@ brought, and puts back what was there before. Run it as root.
set -eu

root=${ZENTRAL_ROOT:-}

@WHERE@

@UNINSTALL@

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    say "this must run as root: sudo sh $0"
    exit 1
fi
uninstall
