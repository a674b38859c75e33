# Of an authority that is not believed any more nothing is to be left.
rm -f "$root/usr/local/zentral/munki/ca.pem"
