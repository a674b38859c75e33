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

[ -x "$hooks/managedsoftwareupdate" ] || say "Munki is not installed here: install it, and this Mac will tell what it does"
if [ -n "$root" ]; then
    say "written below $root; nothing was run"
    exit 0
fi
/bin/sh "$home/agent" preflight manualcheck
if [ -f "$home/token" ]; then
    say "this Mac is enrolled"
else
    say "the files are in place, but this Mac is not enrolled yet; Munki tries again at its next run"
    exit "$failed"
fi
