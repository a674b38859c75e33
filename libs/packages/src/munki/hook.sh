#!/bin/sh
# zentral: runs the hook that was here before, then tells the hub. Only the former decides what Munki hears.
hook=@HOOK@
here=${ZENTRAL_ROOT:-}/usr/local
code=0
if [ -x "$here/munki/$hook.before-zentral" ]; then
    "$here/munki/$hook.before-zentral" "$@" || code=$?
fi
if [ -f "$here/zentral/munki/agent" ]; then
    /bin/sh "$here/zentral/munki/agent" "$hook" "$@" </dev/null || :
fi
exit "$code"
