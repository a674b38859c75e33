#!/bin/sh
# Makes the Munki of this Mac tell @URL@ what it does
# (enrolment @ID@, unit @UNIT@). Run it as root; it may be run again at any time.
# `--uninstall` takes it away again and puts back the hooks that were there before.
#
# It holds a secret: hand it on with care, and `zentral enrol revoke @ID@` when it got into wrong hands.
#
# ZENTRAL_ROOT=/some/root writes below that folder instead, for images: nothing is run then, and root is not needed.
set -eu
umask 077

root=${ZENTRAL_ROOT:-}
failed=1

@WHERE@

@UNINSTALL@

die() { say "$*"; exit 1; }

[ "$(uname -s)" = Darwin ] || die "this script is for macOS"
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    die "this must run as root: sudo sh $0"
fi
case ${1:-} in
'') ;;
--uninstall)
    uninstall
    exit 0
    ;;
*) die "there is only --uninstall" ;;
esac

@PUT@

mkdir -p "$home"
chmod 700 "$home"

put 600 "$home/hub" <<'ZENTRAL_END'
@BASE@
ZENTRAL_END

put 600 "$home/secret" <<'ZENTRAL_END'
@SECRET@
ZENTRAL_END

rm -f "$home/ca.pem"
@CA@
put 700 "$home/agent" <<'ZENTRAL_END'
@AGENT@
ZENTRAL_END

@START@
