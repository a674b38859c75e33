# Flags that somebody else wrote are kept aside.
keep() {
    if [ ! -f "$flags" ] || ours; then return 0; fi
    if [ -e "$flags.before-zentral" ]; then mv -f "$flags.before-zentral" "$flags.before-zentral.old"; fi
    cp -p "$flags" "$flags.before-zentral"
    say "the flags of before are kept in $flags.before-zentral"
}
