[ -d "$root/Applications/Santa.app" ] || say "Santa is not installed here: install it, and it will sync"
if [ -n "$root" ]; then
    say "written below $root; nothing was run"
    exit 0
fi
if profiles install -path="$profile" >/dev/null 2>&1; then
    say "the profile is installed"
    if command -v santactl >/dev/null 2>&1; then
        santactl sync || say "Santa has not synced; it tries again by itself"
    fi
else
    say "hand this profile to your MDM, or open it and let the user approve it: $profile"
fi
