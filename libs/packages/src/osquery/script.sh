#!/bin/sh
# Makes the osqueryd of this machine speak to @URL@
# (enrolment @ID@, unit @UNIT@). Linux and macOS; run it as root. It may be run again at any time.
# `--uninstall` takes it away again and puts back the flags that were there before.
#
# It holds a secret: hand it on with care, and `zentral enrol revoke @ID@` when it got into wrong hands.
#
# ZENTRAL_ROOT=/some/root writes below that folder instead, for images: nothing is restarted then, and root is not
# needed. The paths in the flags file are those of the machine that is made from it.
set -eu
umask 077

root=${ZENTRAL_ROOT:-}
failed=1

@WHERE@

@KEEP@

@GIVE_BACK@

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    say "this must run as root: sudo sh $0"
    exit 1
fi
case ${1:-} in
'') ;;
--uninstall)
    give_back
    rm -f "$root$dir/zentral.secret" "$root$dir/zentral-ca.pem"
    say "it is as it was before"
    exit 0
    ;;
*)
    say "there is only --uninstall"
    exit 1
    ;;
esac

changed=no
new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM

# put MODE NAME: stdin becomes $dir/NAME in one step, if it differs. In a text @DIR@ stands for $dir.
put() {
    target=$root$dir/$2
    new=$target.zentral-new
    rm -f "$new"
    sed "s|@DIR@|$dir|" >"$new"
    chmod "$1" "$new"
    if [ -f "$target" ] && cmp -s "$new" "$target"; then
        chmod "$1" "$target"
        rm -f "$new"
    else
        mv -f "$new" "$target"
        changed=yes
    fi
    new=
}

if [ ! -d "$root$dir" ]; then
    mkdir -p "$root$dir"
    chmod 755 "$root$dir"
fi
keep

put 600 zentral.secret <<'ZENTRAL_END'
@SECRET@
ZENTRAL_END

@CA@
put 644 osquery.flags <<'ZENTRAL_END'
@FLAGS@
ZENTRAL_END

@START@
