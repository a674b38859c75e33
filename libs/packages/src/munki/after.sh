umask 077
failed=0

@WHERE@

@PUT@

@START@
