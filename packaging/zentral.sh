#!/bin/sh
# The programs of the stages lie beside it, out of PATH: their names (filter, act) are too short for it.
exec /usr/lib/zentral/zentral "$@"
