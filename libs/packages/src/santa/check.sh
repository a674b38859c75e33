# Another profile that says where to sync would contradict this one, and nobody could tell which of them holds.
for domain in com.northpolesec.santa com.google.santa; do
    managed="$root/Library/Managed Preferences/$domain.plist"
    [ -f "$managed" ] || continue
    other=$(PlistBuddy -c 'Print :SyncBaseURL' "$managed" 2>/dev/null) || continue
    case $other in
    '' | @BASE@/public/santa/sync*) ;;
    *)
        say "Santa syncs with $other already: take that out of its profile first; nothing was changed"
        exit 1
        ;;
    esac
done
