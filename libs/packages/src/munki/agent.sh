#!/bin/sh
# zentral: speaks with the hub for Munki. `agent preflight` enrols this Mac if need be and asks what is wanted of it,
# `agent postflight` tells what came of the run. Whatever goes wrong, it ends with 0: Munki is not to wait for the hub,
# let alone to fail because of it.
#
# ZENTRAL_ROOT=/some/root reads and writes below that folder; ZENTRAL_PATH says where programs are. Both are for tests.
set -u
umask 077
PATH=${ZENTRAL_PATH:-/usr/bin:/bin:/usr/sbin:/sbin:/usr/libexec}
export PATH

root=${ZENTRAL_ROOT:-}
home=$root/usr/local/zentral/munki
managed="$root/Library/Managed Installs"
# Seconds that a script check may take.
check_max=60
# Reports that are looked at; Munki keeps a hundred.
reports_max=101

say() { printf 'zentral: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 0; }

work=
pid=
# shellcheck disable=SC2317,SC2329 # the trap calls it
end() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    [ -z "$work" ] || rm -rf "$work"
}
trap end EXIT
trap 'exit 0' HUP INT TERM
work=$(mktemp -d "${TMPDIR:-/tmp}/zentral.XXXXXX") || give_up "no temporary folder"

# json TEXT: the text as a JSON string.
json() {
    printf '"'
    printf '%s' "$1" | tr '\t\r' '  ' | LC_ALL=C tr -d '\000-\010\013\014\016-\037' |
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
    printf '"'
}

# number TEXT: the text if it is a whole number, else 0.
number() {
    case $1 in
    '' | *[!0-9]*) printf 0 ;;
    *) printf '%s' "$1" ;;
    esac
}

# value FILE KEY…: the value at this place of a property list, nothing if there is none.
value() {
    # What it says of a key that is not there is not always on stderr.
    got=$(PlistBuddy -c "Print $2" "$1" 2>/dev/null) || return
    printf '%s\n' "$got"
}

# Who the hub is: a profile says it all, or what the package brought holds.
profile="$root/Library/Managed Preferences/io.zentral.munki.plist"
url=
if [ -f "$profile" ]; then url=$(value "$profile" :Hub); fi
if [ -n "$url" ]; then
    secret=$(value "$profile" :Secret)
    ca=$work/ca.pem
    value "$profile" :Authorities >"$ca" || ca=
else
    if [ -f "$home/hub" ]; then url=$(head -n 1 "$home/hub"); fi
    secret=
    if [ -f "$home/secret" ]; then secret=$(cat "$home/secret"); fi
    ca=
    if [ -f "$home/ca.pem" ]; then ca=$home/ca.pem; fi
fi
[ -n "$url" ] || give_up "no hub is configured"
# A token is of the hub that gave it.
if [ "$(cat "$home/token-of" 2>/dev/null)" != "$url" ]; then rm -f "$home/token" "$home/job.plist"; fi

# ask CALL BODY REPLY SECONDS [TOKEN]: posts a file; prints the status, 000 if there was no answer.
ask() {
    gzip -c "$2" >"$work/packed" || return
    # The token goes through stdin: what stands on a command line everybody can read.
    if [ -n "${5:-}" ]; then
        printf 'header = "Authorization: MunkiEnrolledMachine %s"\n' "$5"
    fi >"$work/headers"
    set -- --silent --connect-timeout 5 --max-time "$4" --output "$3" --write-out '%{http_code}' \
        --header 'Content-Type: application/json' --header 'Content-Encoding: gzip' --user-agent zentral-munki/1 \
        --data-binary "@$work/packed" "$url/public/munki/$1/"
    if [ -n "$ca" ]; then set -- --cacert "$ca" "$@"; fi
    curl --config - "$@" <"$work/headers" || :
}

platform() {
    ioreg -rd1 -c IOPlatformExpertDevice | awk -F'"' -v key="$1" '$2 == key { print $4; exit }'
}

serial=$(platform IOPlatformSerialNumber)
[ -n "$serial" ] || give_up "this machine has no serial number"

# A token of this machine in $token.
enrol() {
    token=
    if [ -f "$home/token" ]; then
        token=$(cat "$home/token")
        [ -z "$token" ] || return 0
    fi
    [ -n "$secret" ] || return 1
    {
        printf '{"secret":%s,' "$(json "$secret")"
        printf '"serial_number":%s,' "$(json "$serial")"
        printf '"uuid":%s}' "$(json "$(platform IOPlatformUUID)")"
    } >"$work/enrol"
    status=$(ask enroll "$work/enrol" "$work/enrolled" 10)
    if [ "$status" != 200 ]; then
        say "the hub does not enrol this machine ($status)"
        return 1
    fi
    plutil -convert xml1 -o "$work/enrolled.plist" "$work/enrolled" || return 1
    token=$(value "$work/enrolled.plist" :token)
    [ -n "$token" ] || return 1
    printf '%s\n' "$url" >"$home/token-of" || return 1
    printf '%s\n' "$token" >"$home/token.new" && mv -f "$home/token.new" "$home/token"
}

# What is wanted of this machine, in $home/job.plist.
job() {
    rm -f "$home/job.plist"
    enrol || return 1
    printf '{"machine_serial_number":%s,"os_version":%s,"arch":%s}' "$(json "$serial")" \
        "$(json "$(sw_vers -productVersion)")" "$(json "$(uname -m)")" >"$work/ask"
    status=$(ask job_details "$work/ask" "$work/job" 10 "$token")
    if [ "$status" = 403 ]; then
        # The hub does not know this token any more, or it is another machine's: a clone of a disk.
        rm -f "$home/token"
        enrol || return 1
        status=$(ask job_details "$work/ask" "$work/job" 10 "$token")
    fi
    if [ "$status" != 200 ]; then
        say "the hub does not say what is to be done ($status)"
        return 1
    fi
    plutil -convert xml1 -o "$home/job.plist" "$work/job"
}

# The reports behind the one that the hub has seen last, newest first; $found says whether that one is there.
reports() {
    last=$(value "$home/job.plist" :last_seen_sha1sum)
    found=false
    count=0
    comma=
    {
        if [ -f "$managed/ManagedInstallReport.plist" ]; then echo "$managed/ManagedInstallReport.plist"; fi
        if [ -d "$managed/Archives" ]; then
            find "$managed/Archives" -type f -name 'ManagedInstallReport*.plist' | sort -r
        fi
    } >"$work/reports"
    while IFS= read -r file; do
        count=$((count + 1))
        [ "$count" -le "$reports_max" ] || break
        sum=$(shasum "$file" | cut -c 1-40)
        if [ "$sum" = "$last" ]; then
            found=true
            break
        fi
        # What is binary becomes XML; what was cut off in the middle becomes nothing.
        plutil -convert xml1 -o "$work/report.plist" "$file" >/dev/null 2>&1 || continue
        printf '%s{"basename":%s,"sha1sum":"%s","plist":"' "$comma" "$(json "${file##*/}")" "$sum"
        base64 <"$work/report.plist" | tr -d '\n'
        printf '"}'
        comma=,
    done <"$work/reports"
}

# checks: runs the script checks that are due and prints what came of them.
checks() {
    i=0
    comma=
    while pk=$(value "$home/job.plist" ":script_checks:$i:pk") && [ -n "$pk" ]; do
        value "$home/job.plist" ":script_checks:$i:source" >"$work/check.zsh"
        began=$(date +%s)
        zsh "$work/check.zsh" </dev/null >"$work/out" 2>/dev/null &
        pid=$!
        (
            sleep "$check_max"
            kill -9 "$pid"
        ) >/dev/null 2>&1 &
        watch=$!
        status=200
        if wait "$pid" 2>/dev/null; then
            status=$(judge "$(value "$home/job.plist" ":script_checks:$i:type")" \
                "$(value "$home/job.plist" ":script_checks:$i:expected_result")" "$(cat "$work/out")")
        fi
        pid=
        kill "$watch" 2>/dev/null
        printf '%s{"pk":%s,"version":%s,"status":%s,"time":%s}' "$comma" "$(json "$pk")" \
            "$(number "$(value "$home/job.plist" ":script_checks:$i:version")")" "$status" $(($(date +%s) - began))
        comma=,
        i=$((i + 1))
    done
}

# judge TYPE EXPECTED PRINTED: 0 as expected, 300 not so, 200 no value of that type.
judge() {
    printed=$3
    case $1 in
    ZSH_INT)
        [ "$printed" -eq "$printed" ] 2>/dev/null || { echo 200; return; }
        if [ "$printed" -eq "$2" ]; then echo 0; else echo 300; fi
        return
        ;;
    ZSH_BOOL)
        case $printed in
        1 | true | True | yes) printed=true ;;
        0 | false | False | no) printed=false ;;
        *) echo 200; return ;;
        esac
        ;;
    esac
    if [ "$printed" = "$2" ]; then echo 0; else echo 300; fi
}

# snapshot: the members of what this machine is and has.
snapshot() {
    version=$(sw_vers -productVersion)
    IFS=. read -r major minor patch <<EOF
$version
EOF
    printf '"serial_number":%s,"os_version":{"name":"macOS","version":%s,"build":%s,"major":%s,"minor":%s,"patch":%s}' \
        "$(json "$serial")" "$(json "$version")" "$(json "$(sw_vers -buildVersion)")" \
        "$(number "$major")" "$(number "${minor:-}")" "$(number "${patch:-}")"
    printf ',"system_info":{"computer_name":%s,"hostname":%s,"hardware_model":%s,"hardware_serial":%s,"cpu_brand":%s' \
        "$(json "$(scutil --get ComputerName)")" "$(json "$(hostname)")" "$(json "$(sysctl -n hw.model)")" \
        "$(json "$serial")" "$(json "$(sysctl -n machdep.cpu.brand_string)")"
    printf ',"cpu_physical_cores":%s,"cpu_logical_cores":%s,"physical_memory":%s}' \
        "$(number "$(sysctl -n hw.physicalcpu)")" "$(number "$(sysctl -n hw.logicalcpu)")" "$(number "$(sysctl -n hw.memsize)")"

    printf ',"network_interfaces":['
    comma=
    for interface in $(ifconfig -l); do
        address=$(ipconfig getifaddr "$interface") || continue
        mac=$(ifconfig "$interface" | awk '$1 == "ether" { print $2; exit }')
        printf '%s{"interface":%s,"mac":%s,"address":%s}' "$comma" "$(json "$interface")" "$(json "$mac")" "$(json "$address")"
        comma=,
    done
    printf ']'

    if diskutil info -plist / >"$work/disk.plist" 2>/dev/null; then
        case $(fdesetup status 2>/dev/null) in
        'FileVault is On'*) vault=on ;;
        *) vault=off ;;
        esac
        printf ',"disks":[{"name":%s,"size":%s,"filevault":"%s"}]' "$(json "$(value "$work/disk.plist" :DeviceIdentifier)")" \
            "$(number "$(value "$work/disk.plist" :TotalSize)")" "$vault"
    fi

    # Only strings are in there, so it can be JSON.
    if plutil -convert json -o "$work/apps" "$managed/ApplicationInventory.plist" >/dev/null 2>&1; then
        case $(head -c 1 "$work/apps") in
        '[')
            printf ',"osx_app_instances":'
            cat "$work/apps"
            ;;
        esac
    fi

    case $(value "$home/job.plist" :principal_user_detection:sources) in
    *logged_in_user*)
        user=$(stat -f %Su /dev/console)
        # A short name is of no domain.
        domain=$(value "$home/job.plist" :principal_user_detection:domains:0)
        case $user in
        '' | root | loginwindow | _*) ;;
        *)
            if [ -z "$domain" ]; then
                printf ',"principal_user":{"source":{"type":"LOGGED_IN_USER"},"unique_id":%s,"principal_name":%s}' \
                    "$(json "$user")" "$(json "$user")"
            fi
            ;;
        esac
        ;;
    esac
}

post() {
    # A job of long ago does not say which report was seen last.
    if [ -z "$(find "$home/job.plist" -mmin -360 2>/dev/null)" ]; then
        job || return 0
    fi
    enrol || return 0
    reports >"$work/told" # not in a subshell: it says what it found
    {
        printf '{"machine_snapshot":{'
        snapshot
        printf '},"reports":['
        cat "$work/told"
        printf ']'
        if [ -n "$last" ]; then printf ',"last_seen_report_found":%s' "$found"; fi
        if [ -n "$(value "$home/job.plist" :script_checks:0:pk)" ]; then
            printf ',"script_check_results":['
            checks
            printf ']'
        fi
        printf '}'
    } >"$work/post"
    status=$(ask post_job "$work/post" "$work/posted" 60 "$token")
    case $status in
    200) rm -f "$home/job.plist" ;;
    403) rm -f "$home/job.plist" "$home/token" ;;
    esac
    [ "$status" = 200 ] || say "the hub does not take what there is to tell ($status)"
}

case ${1:-} in
preflight) job || : ;;
postflight) post ;;
*) say "agent preflight | postflight" ;;
esac
exit 0
