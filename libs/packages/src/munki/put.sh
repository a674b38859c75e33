new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM

# put MODE FILE: stdin becomes this file in one step.
put() {
    new=$2.zentral-new
    rm -f "$new"
    cat >"$new"
    chmod "$1" "$new"
    # Munki runs a hook only if it is root's.
    if [ -z "$root" ]; then chown root:wheel "$new"; fi
    mv -f "$new" "$2"
    new=
}

for dir in "$root/usr/local" "$root/usr/local/zentral" "$hooks"; do
    if [ ! -d "$dir" ]; then
        mkdir -p "$dir"
        chmod 755 "$dir"
    fi
done
