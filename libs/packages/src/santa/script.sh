#!/bin/sh
# Makes the Santa of this Mac sync with @URL@
# (enrolment @ID@, unit @UNIT@). Run it as root; it may be run again at any time. `--uninstall` takes it away again.
#
# Santa believes nothing but profiles, and since macOS 11 none can be installed without its user or an MDM: then the
# profile lies ready, and this script says where.
#
# It holds a secret: hand it on with care, and `zentral enrol revoke @ID@` when it got into wrong hands.
#
# ZENTRAL_ROOT=/some/root writes below that folder instead, for images: nothing is run then, and root is not needed.
set -eu
umask 077

root=${ZENTRAL_ROOT:-}

@WHERE@

@UNINSTALL@

die() { say "$*"; exit 1; }

[ "$(uname -s)" = Darwin ] || die "this script is for macOS"
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    die "this must run as root: sudo sh $0"
fi
profile=$home/@FILE@
case ${1:-} in
'') ;;
--uninstall)
    uninstall
    exit 0
    ;;
*) die "there is only --uninstall" ;;
esac

@CHECK@

new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
for dir in "$root/usr/local" "$root/usr/local/zentral"; do
    if [ ! -d "$dir" ]; then
        mkdir -p "$dir"
        chmod 755 "$dir"
    fi
done
mkdir -p "$home"
chmod 700 "$home"
new=$profile.zentral-new
cat >"$new" <<'ZENTRAL_END'
@PROFILE@
ZENTRAL_END
mv -f "$new" "$profile"
new=

@START@
