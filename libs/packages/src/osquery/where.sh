say() { printf 'zentral: %s\n' "$*" >&2; }

# Where osquery looks for its flags.
case $(uname -s) in
Linux) dir=/etc/osquery ;;
Darwin) dir=/var/osquery ;;
*)
    say "this is for Linux and macOS only"
    exit 1
    ;;
esac
flags=$root$dir/osquery.flags

# Flags that a package or a script of ours brought, whatever was done to them since.
ours() {
    [ "$(readlink "$flags" || :)" = zentral.flags ] ||
        { [ -f "$flags" ] && [ "$(head -n 1 "$flags")" = "# zentral" ]; }
}
