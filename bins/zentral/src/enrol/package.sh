#!/bin/sh
# Makes the osqueryd of this machine speak to @URL@
# (enrolment @ID@, unit @UNIT@). Linux and macOS; run it as root. It may be run again at any time.
#
# It holds a secret: hand it on with care, and `zentral enrol revoke @ID@` when it got into wrong hands.
#
# ZENTRAL_ROOT=/some/root writes below that folder instead, for images: nothing is restarted then, and root is not
# needed. The paths in the flags file are those of the machine that is made from it.
set -eu
umask 077

root=${ZENTRAL_ROOT:-}

say() { printf 'zentral: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case $(uname -s) in
Linux) dir=/etc/osquery ;;
Darwin) dir=/var/osquery ;;
*) die "this script knows Linux and macOS only" ;;
esac

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    die "this must run as root: sudo sh $0"
fi

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

# Flags that somebody else wrote are kept aside, once.
flags=$root$dir/osquery.flags
if [ -f "$flags" ] && [ "$(head -n 1 "$flags")" != "# zentral" ] && [ ! -e "$flags.before-zentral" ]; then
    cp -p "$flags" "$flags.before-zentral"
    say "the flags of before are kept in $flags.before-zentral"
fi

put 600 zentral.secret <<'ZENTRAL_END'
@SECRET@
ZENTRAL_END

@CA@
put 644 osquery.flags <<'ZENTRAL_END'
@FLAGS@
ZENTRAL_END

if [ -n "$root" ]; then
    say "written below $root; nothing was restarted"
    exit 0
fi

# 1: there is no such service; 2: there is, and it does not start.
restart() {
    if [ "$dir" = /var/osquery ]; then
        plist=/Library/LaunchDaemons/io.osquery.agent.plist
        if [ -f "$plist" ]; then
            launchctl bootstrap system "$plist" 2>/dev/null || :
            if [ "$changed" = yes ]; then
                launchctl kickstart -k system/io.osquery.agent || return 2
            fi
        elif command -v osqueryctl >/dev/null 2>&1; then
            osqueryctl start >/dev/null 2>&1 || :
            if [ "$changed" = yes ]; then osqueryctl restart || return 2; fi
        else
            return 1
        fi
    elif command -v systemctl >/dev/null 2>&1 && systemctl cat osqueryd.service >/dev/null 2>&1; then
        systemctl enable osqueryd.service >/dev/null 2>&1 || :
        if [ "$changed" = yes ]; then verb=restart; else verb=start; fi
        systemctl "$verb" osqueryd.service || return 2
    elif [ -x /etc/init.d/osqueryd ]; then
        if [ "$changed" = yes ]; then verb=restart; else verb=start; fi
        /etc/init.d/osqueryd "$verb" || return 2
    else
        return 1
    fi
}

code=0
restart || code=$?
case $changed$code in
yes0) say "osqueryd was restarted and enrols now" ;;
no0) say "everything is as it should be" ;;
*1) say "osqueryd is not installed as a service here: install it, and it will enrol when it starts" ;;
*) die "the files are in place, but osqueryd does not start" ;;
esac
