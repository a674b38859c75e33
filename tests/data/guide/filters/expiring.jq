# A certificate ends within two weeks
column("ca") == "0" and (column("not_valid_after") | expires_within("14d"))
