#!/bin/sh
# Deletes one folder of this Mac, if FileVault is off at this moment. Run as root: by Munki (the same text stands in
# DeleteConfidential-1.0.plist) or by a policy of Jamf's. It ends with 0 if the folder is gone or may stay.
folder=/Users/Shared/Confidential
fdesetup=/usr/bin/fdesetup

fail() { echo "$folder: $1; nothing was deleted" >&2; exit 1; }

[ -e "$folder" ] || [ -L "$folder" ] || exit 0
case $("$fdesetup" status 2>/dev/null) in
"FileVault is Off."*) ;;
*) echo "FileVault is not off: nothing was deleted"; exit 0 ;;
esac
case $folder in
*/../* | */./* | */ | *//* | */.. | */.) fail "is no plain path" ;;
/*/*/*) ;;
*) fail "is too near to the root" ;;
esac
# A link leads elsewhere, and so does a link on the way.
[ -d "$folder" ] && [ ! -L "$folder" ] || fail "is no folder"
[ "$(cd "$folder" && pwd -P)" = "$folder" ] || fail "is reached by a link"
# What is mounted there is another disk.
if mount | grep -qF -e " on $folder " -e " on $folder/"; then fail "a disk is mounted there"; fi
/bin/rm -rf "$folder" || fail "cannot be deleted whole"
