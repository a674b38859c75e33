# Where osquery's own packages put it.
daemon=/opt/osquery/bin/osqueryd
if [ "$dir" = /var/osquery ]; then daemon=/opt/osquery/lib/osquery.app/Contents/MacOS/osqueryd; fi

if [ -n "$root" ]; then
    [ -x "$root$daemon" ] || say "osqueryd is not installed there: with it the machine will enrol"
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
*1)
    if [ -x "$daemon" ]; then
        say "osqueryd is no service here: it will enrol when it starts"
    else
        say "osqueryd is not installed here: install it, and it will enrol when it starts"
    fi
    ;;
*)
    say "the files are in place, but osqueryd does not start"
    exit "$failed"
    ;;
esac
