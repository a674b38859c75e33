PATH=$PATH:/usr/libexec
home=$root/usr/local/zentral/santa

say() { printf 'zentral: %s\n' "$*" >&2; }
