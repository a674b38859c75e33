home=$root/usr/local/zentral/munki
hooks=$root/usr/local/munki

say() { printf 'zentral: %s\n' "$*" >&2; }

ours() { [ -f "$1" ] && [ "$(sed -n 2p "$1" | cut -c 1-10)" = "# zentral:" ]; }
