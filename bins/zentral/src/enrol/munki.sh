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
home=$root/usr/local/zentral/munki
hooks=$root/usr/local/munki

say() { printf 'zentral: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -s)" = Darwin ] || die "this script is for macOS"
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    die "this must run as root: sudo sh $0"
fi

new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM

# put MODE FILE: stdin becomes this file in one step.
put() {
    new=$2.zentral-new
    rm -f "$new"
    cat >"$new"
    chmod "$1" "$new"
    # Munki runs a hook only if it is root's.
    if [ -z "$root" ]; then chown root:wheel "$new"; fi
    mv -f "$new" "$2"
    new=
}

ours() { [ -f "$1" ] && [ "$(sed -n 2p "$1" | cut -c 1-10)" = "# zentral:" ]; }

uninstall() {
    for hook in preflight postflight; do
        if ours "$hooks/$hook"; then rm -f "$hooks/$hook"; fi
        if [ ! -e "$hooks/$hook" ] && [ -e "$hooks/$hook.before-zentral" ]; then
            mv "$hooks/$hook.before-zentral" "$hooks/$hook"
        fi
    done
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

for dir in "$root/usr/local" "$root/usr/local/zentral" "$hooks"; do
    if [ ! -d "$dir" ]; then
        mkdir -p "$dir"
        chmod 755 "$dir"
    fi
done
mkdir -p "$home"
chmod 700 "$home"

# A token is of the hub that gave it.
if [ -f "$home/hub" ] && [ "$(head -n 1 "$home/hub")" != "@BASE@" ]; then
    rm -f "$home/token" "$home/job.plist"
fi
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

# A hook that somebody else put here is called by ours; it is the one that Munki listens to.
hook() {
    if [ -e "$hooks/$1" ] && ! ours "$hooks/$1"; then
        if [ -e "$hooks/$1.before-zentral" ]; then
            mv -f "$hooks/$1.before-zentral" "$hooks/$1.before-zentral.old"
        fi
        mv "$hooks/$1" "$hooks/$1.before-zentral"
        say "the $1 of before is called from now on as $hooks/$1.before-zentral"
    fi
    sed "s|@HOOK@|$1|" <<'ZENTRAL_END' | put 755 "$hooks/$1"
@HOOKS@
ZENTRAL_END
}

hook preflight
hook postflight

if [ -n "$root" ]; then
    say "written below $root; nothing was run"
    exit 0
fi
/bin/sh "$home/agent" preflight manualcheck
if [ -f "$home/token" ]; then
    say "this Mac is enrolled"
else
    die "the files are in place, but this Mac is not enrolled yet; Munki tries again at its next run"
fi
