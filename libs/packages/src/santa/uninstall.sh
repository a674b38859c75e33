uninstall() {
    if [ -z "$root" ]; then
        profiles remove -identifier @PROFILE_IDENTIFIER@ >/dev/null 2>&1 ||
            say "if the profile @PROFILE_IDENTIFIER@ was installed by hand or by an MDM, it has to be removed there"
        pkgutil --forget @IDENTIFIER@ >/dev/null 2>&1 || :
    fi
    rm -rf "$home"
    say "it is as it was before"
}
