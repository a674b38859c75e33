PATH=$PATH:/usr/libexec

say() { printf 'zentral: %s\n' "$*" >&2; }

@CHECK@
