include "common"; C and is_added
include "common"; column("name") == W
import "common" as c; c::is_added and C
import "common" as c; c::named(W) | select(C) | {a: 1}
import "names" as $n; P | IN($n[][])
import "names" as $n; any($n[][]; . == "sshd") and C
import "names" as $n; P as $x | $n[0] | index($x) | . != null
include "common"; select(either(C; C))
import "deep/more" as m; m::both(C; C)
import "deep/more" as m; m::known and C
