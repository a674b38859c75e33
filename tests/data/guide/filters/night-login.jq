# Somebody logs in at night, between 22:00 and 06:00 in UTC
is_new and column("type") == "user" and (.time | between("22:00"; "06:00"))
