uninstall() {
    for hook in preflight postflight; do
        if ours "$hooks/$hook"; then rm -f "$hooks/$hook"; fi
        if [ ! -e "$hooks/$hook" ] && [ -e "$hooks/$hook.before-zentral" ]; then
            mv "$hooks/$hook.before-zentral" "$hooks/$hook"
        fi
    done
    rm -rf "$home"
    if [ -z "$root" ]; then pkgutil --forget @IDENTIFIER@ >/dev/null 2>&1 || :; fi
    say "it is as it was before"
}
