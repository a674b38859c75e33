# A service is installed whose program lies nowhere that programs lie
is_new and (column("path") | strings | under("/usr", "/opt", "/snap", "/nix/store") | not)
