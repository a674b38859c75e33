# The flags of before; those that somebody else has written since then stay.
give_back() {
    if ours; then
        rm -f "$flags"
        if [ -e "$flags.before-zentral" ]; then
            mv -f "$flags.before-zentral" "$flags"
            say "the flags of before are in $flags again"
        fi
    fi
    if [ -n "$root" ]; then return 0; fi
    # What runs reads them; what does not run is not started.
    if [ "$dir" = /var/osquery ]; then
        launchctl kickstart -k system/io.osquery.agent >/dev/null 2>&1 || :
    elif command -v systemctl >/dev/null 2>&1 && systemctl cat osqueryd.service >/dev/null 2>&1; then
        systemctl try-restart osqueryd.service || :
    elif [ -x /etc/init.d/osqueryd ]; then
        /etc/init.d/osqueryd restart || :
    fi
}
