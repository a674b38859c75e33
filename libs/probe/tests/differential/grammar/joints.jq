C and C
C and C
C and C
C and C
C and C and C
C or C
C or C
C or C or C
C | not
(C and C) | not
(C or C) | not
C and (C | not)
C or (C | not)
(C | not) and (C | not)
(C | not | not)
if C then C else C end
if C then true else false end
if C then false else true end
if C then C else empty end
if C then empty else C end
if C then C elif C then C else false end
if C then C end
if (C, C) then C else C end
if empty then C else C end
if C then error else C end
select(C)
select(C) | C
select(C) | select(C)
select(C) | true
select(C and C) | C
select(C | not) | C
select(C, C) | C
(select(C), select(C)) | C
select(C) // C
select(select(C))
[select(C)] | length > 0
[select(C)] | length == 0
isempty(select(C)) | not
isempty(select(C))
first(select(C))
select(C) | not
select(C) == .
select(C) | P == V
any(select(C); true)
C // C
(C)? // C
C // error
C // empty
(C)?
(C)? and C
try C
try C catch C
try C catch false
try C catch true
try error catch C
try error(P) catch . == V
(C)?, C
try (C and C) catch true
try (C | not) catch C
(C | not)?
[C]  | any
[C, C] | all
[C, C] | any
(C, C)
(C, C) and (C, C)
C and (C, C)
(C, C) | not
(C, C) or C
first(C, C)
last(C, C)
limit(1; C, C)
false, C
null, C
C, empty
empty, C
C, false
C | ., .
C | . and true
C == true
C == false
C != true
C | . == true
C as $c | $c
C as $c | C as $d | $c and $d
C as $c | $c | not
. as $e | $e | C
. as $e | P | $e | C
C as $c | if $c then C else false end
[C] == [true]
[C][0]
[.] | .[0] | C
[.][] | C
{e: .} | .e | C
{e: .} | .e.type == W
reduce (C, C) as $c (false; . or $c)
reduce (C, C) as $c (true; . and $c)
label $f | if C then true, break $f else C end
label $f | (C, C) | ., break $f
def f: C; def g: C; f and g
def f: C; f or (f | not)
def f: C; . as $x | f
def f(g): select(g); f(C) | C
def f(g; h): g and h; f(C; C)
(. | C) and (. | C)
. | C
C | tostring == "true"
C | type == "boolean"
any(C, C; .)
all(C, C; .)
any(.; C)
all(.; C)
map_values(.) | C
del(.v) | C
with_entries(.) | C
P | tojson | fromjson | . == V
error or C
C or error
error and C
C and error
C and error("x")
empty and C
C and empty
empty or C
C or empty
error | not
empty | not
(error)? or C
(error)? // C
(P | error) or C
(P | keys) and C
C or (P | keys)
C and (P | keys)
(P | startswith(W)) or C
(P | test(R)) or (P | test(R))
(P | test(R)) and C
C and (P | test(R))
(P | startswith(W) | not) and C
(P | tonumber) > N or C
(P[] == V) or C
(P[] == V) and C
(P | .name) and C
(P | .name | .name) or C
(P.name == V) or C
(P | not) or C
(P | empty) // C
(P | select(. == V)) and C
(P | select(. == V)) or C
C and true
C or false
C and false
C or true
true and C
false or C
null or C
0 and C
"" and C
[] and C
C and null
1 | C
null | C
P | C
C, true
(C // true) == true
[C] == []
isempty(C)
isempty(C) or C
any(C, true; . == true)
(C | not), true
label $f | (try (if C then break $f else C end)), C
label $f | ((if C then break $f else C end)?), true
label $f | try (if C then break $f else false end) catch C
label $f | try (if C then break $f else error end) catch true
label $f | (if C then break $f else C end) // C
label $f | (if C then break $f else null end) // true
any(label $f | (try (if C then break $f else false end)), true; .)
all(label $f | (if C then break $f else false end)?, C; .)
label $f | any((if C then break $f else C end)?, C; .)
(label $f | (try (if C then break $f else false end)), true) | not
label $f | try (label $g | C | ., (break $g)?, break $f) , true
first(C, C) | select(. | not)
first(P, P) | select(. == V)
first(P, V) | if . == V then empty else true end
def f($x): x and C; f(C)
def f($type): P | type; f(C)
C, false, false, C
