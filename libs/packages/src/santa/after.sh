@WHERE@

profile=$home/@FILE@
@START@
