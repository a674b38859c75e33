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

PATH=$PATH:/usr/libexec
root=${ZENTRAL_ROOT:-}
home=$root/usr/local/zentral/santa
profile=$home/zentral-santa.mobileconfig
identifier=io.zentral.santa

say() { printf 'zentral: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -s)" = Darwin ] || die "this script is for macOS"
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    die "this must run as root: sudo sh $0"
fi

uninstall() {
    if [ -z "$root" ]; then
        profiles remove -identifier "$identifier" >/dev/null 2>&1 ||
            say "if the profile $identifier was installed by hand or by an MDM, it has to be removed there"
    fi
    rm -rf "$home"
    say "it is as it was before"
}

case ${1:-} in
'') ;;
--uninstall)
    uninstall
    exit 0
    ;;
*) die "there is only --uninstall" ;;
esac

# Another profile that says where to sync would contradict this one, and nobody could tell which of them holds.
for domain in com.northpolesec.santa com.google.santa; do
    managed="$root/Library/Managed Preferences/$domain.plist"
    [ -f "$managed" ] || continue
    other=$(PlistBuddy -c 'Print :SyncBaseURL' "$managed" 2>/dev/null) || continue
    case $other in
    '' | @BASE@/public/santa/sync*) ;;
    *) die "Santa syncs with $other already: take that out of its profile first; nothing was changed" ;;
    esac
done

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

if [ -n "$root" ]; then
    say "written below $root; nothing was run"
    exit 0
fi
if profiles install -path="$profile" >/dev/null 2>&1; then
    say "the profile is installed"
    if command -v santactl >/dev/null 2>&1; then
        santactl sync || say "Santa has not synced; it tries again by itself"
    else
        say "Santa is not installed here: install it, and it will sync"
    fi
else
    say "hand this profile to your MDM, or open it and let the user approve it: $profile"
fi
