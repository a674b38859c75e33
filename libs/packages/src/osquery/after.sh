failed=0
changed=yes

@WHERE@

@KEEP@

keep
# A link, so that who changes zentral.flags changes what osquery reads.
if [ "$(readlink "$flags" || :)" != zentral.flags ]; then
    ln -sf zentral.flags "$flags.zentral-new"
    mv -f "$flags.zentral-new" "$flags"
fi

@START@
