P == V
P == V
P == V
P == V
V == P
P != V
P == P
P < V
P <= V
P > V
P >= V
V < P
P | . == V
P as $x | $x == V
P as $x | V as $y | $x == $y
[P] == [V]
{a: P} == {a: V}
P == V and P == V
P == V or P == V
P == (V, V)
(P, P) == V
P == W
P
P | not
P == null
P != null
P == false
P == true
P == []
P == {}
P == ""
null == P
P < null
P > {}
P | IN(V, V)
P | IN(V, V, V)
P | IN()
P | IN(empty)
IN(P; V, V)
P | IN(P)
P | IN(V[])
P as $x | [V, V] | index($x)
P as $x | [V, V] | any(. == $x)
P as $x | any(V, V; . == $x)
[V, V] | contains([P])
[P] | inside([V, V])
P | . == V or . == V
[V, V] | index([P]) != null
P as $x | V | has($x)
{(W): 1, (W): 2}[P]
{(W): true}[P | strings]
P | in({(W): 0})
P | startswith(W)
P | startswith(W)
P | endswith(W)
P | contains(W)
P | contains(W)
P | startswith("")
P | endswith("")
P | contains("")
P | contains(V)
P | inside(W)
W | startswith(P)
W | contains(P)
W | endswith(P)
P | ltrimstr(W) != .
P | ltrimstr(W) == W
P | rtrimstr(W) | startswith(W)
P | ascii_downcase == W
P | ascii_upcase == W
P | ascii_downcase | contains(W)
P | tostring == W
P | tojson | contains(W)
tojson | contains(W)
tostring | test(R)
P | split("/") | .[-1] == W
P | split(W) | length > N
P | .[0:N] == W
P | .[N:] == W
P | .[-N:] | endswith(W)
P | explode | .[0] == N
"\(P)" == W
"\(P)/\(P)" | test(R)
"x\(P)" | startswith("x" + W)
P + "x" == W
(W + P) | contains(W)
P | length > N
P | length == 0
P | utf8bytelength >= N
P | index(W)
P | index(W) == 0
P | indices(W) | length > 0
P | @text == W
P | @base64 | contains(W)
P | join(",") | contains(W)
P | ascii_downcase | test(R)
P * 2 | contains(W)
P | ascii_downcase == (P | ascii_downcase)
P | test(R)
P | test(R)
P | test(R)
P | test(R; "i")
P | test(R; "ix")
P | test(R; null)
P | test(R; "n")
P | test([R, "i"])
P | test(W)
P | test("^" + R)
P | test("(" + R + ")|x")
P | test(R) | not
P | match(R).string == W
P | [match(R; "g")] | length > N
P | capture(R) | length > 0
P | [scan(R)] | length > 0
P | sub(R; "") == W
P | gsub(R; "-") | contains("-")
P as $p | [R, R] | any(. as $r | $p | test($r))
P | test(R; "x")
P | test(R; "p")
P | splits(R) == W
P | test("^\(W)")
P > N
P >= N
P < N
P <= N
P == N
P != N
P > N and P < N
P >= N and P <= N
N < P
P + 1 > N
-P < N
P % 2 == 0
P * 2 == N
P / 2 > N
P - 1 == N
P | tonumber > N
P | tonumber? // 0 | . > N
(P | tonumber? // 0) as $n | $n > N and $n < N
P | floor == N
P | tostring | tonumber == N
P == nan
P < nan
nan < P
[P] == [nan]
P | . > W
P > "a" and P < "n"
P >= W
P | length < N
P == N or P == "N"
P | type == "string"
P | type == "number"
P | type != "object"
P | type | IN("array", "object")
P | isstring
P | isarray
P | isobject
P | isnumber
P | isboolean
P | strings == W
(P | strings) as $s | $s | startswith(W)
P | numbers > N
P | objects | length > N
P | arrays | length > N
P | scalars
P | values == V
P | nulls
P | booleans
P | iterables | length == 0
type == "object" and P == V
P | has(W)
has(W)
has("payload")
W | in(P)
P | has(N)
P | keys | index(W)
P | keys[] | startswith(W)
P | to_entries | any(.value == V)
P | with_entries(select(.key == W)) | length > 0
P | map_values(. == V) | any
P | keys == [W]
P | del(.name) == P
P | paths == [W]
P | [leaf_paths] | length > N
P | any
P | all
P | add == V
P | to_entries[] | select(.value == V) | .key == W
P[W] == V
P[W]? == V
P | .[W]
P[P] == V
P[P]? == V
P | getpath([W, W])
any(P[]; . == V)
any(P[]?; . == V)
P | any(. == V)
P | any(.[]; . == V)
P | any(C)
all(P[]; . != V)
P | all(. == V)
all(P[]?; . == V)
[P[] | . == V] | any
P | map(. == V) | any
P | map(select(. == V)) | length > 0
P | index(V)
P | index(V) != null
P | contains([V])
P | contains([W])
P | inside([V, V, V])
[P[]?] | length > N
[P[]? | select(. == V)] | length > 0
first(P[]?) == V
first(P[] | select(. == V))
P[0] == V
P[-1] == V
P[N] == V
P[0:1] == [V]
P[] == V
P[]? == V
P[]?.name? == W
any(P[]?; .name? == W)
any(P[]; .name == W and .uid == W)
any(P[]; startswith(W))
any(P[]?; strings | test(R))
P | sort | .[0] == V
P | unique | length == 1
P | reverse | .[0] == V
P | flatten | index(V)
P | min == V
P | last == V
P | first == V
P | group_by(.) | length > N
isempty(P[])
isempty(P[]? | select(. == V)) | not
P - [V] != P
P + [V] == P
[P[]?, V] | unique | length < N
any(P[], P[]; . == V)
any(P; . == V)
all(P; . == V)
any((P, P); . == V)
all((P, P); . == V)
any(empty; true)
all(empty; false)
[limit(N; P[]?)] | contains([V])
P | nth(N) == V
any(P[]?; any(.[]?; . == V))
P | any(.[]?; type == "string" and contains(W))
.. == V
.. | select(. == V)
[..] | index(V)
[.. | strings] | any(. == W)
any(..; . == V)
[.. | strings | select(startswith(W))] | length > 0
any(.. | strings; test(R))
[.[]?] | length > N
any(.[]; . == V)
.[] == V
[paths] | length > N
P | .. | .name? == W
..|.name? == W
first(.. | select(. == V))
[recurse(.payload? | objects)] | length > N
any(.payload[]?; . == V)
any(.payload.columns[]?; contains(W)?)
.payload.columns | any(.[]; . == V)
any(.payload.columns | .[]?; tostring == W)
P // V
(P // V) == V
(P // "") == W
(P // "" | contains(W))
P // empty | . == V
(P // P) == V
(P // empty) as $x | $x == V
P // false
first(P, P | values) == V
(P? // "none") != V
(P | startswith(W))? // false
[P, P | values][0] == V
[P, P | select(. != null and . != "")][0] == V
machine_key == W
machine_key | startswith(W)
machine_key
[machine_key] | inside([W, W])
.machine | .serial_number // .hostname | . == W
P as {name: $n} | $n == W
. as {type: $t} | $t == W
. as {payload: {name: $n, action: $a}} | $n == W and $a == W
P as [$a, $b] | $a == V or $b == V
. as {$type, $source} | $type == W and $source == W
[P, P] as [$a, $b] | $a == V and $b == V
P as $x | ($x == V) as $c | $c and C
reduce P[]? as $x (false; . or $x == V)
reduce (P, P) as $x (0; . + 1) | . > N
foreach P[]? as $x (0; . + 1; $x == V)
label $f | (P[]? | if . == V then true, break $f else empty end)
label $f | P == V | ., break $f
def f: P; f == V
def f: C; f
def f: C; f and f
def f($x): P == $x; f(V)
def f(g): g; f(C)
def f(g): P | g; f(. == V)
def f(x): . == x; P | f(V)
def is($x; $y): $x == $y; is(P; V)
def f: def g: P; g == V; f
def f: if . == null then false else . == V end; P | f
def contains($x): . == $x; P | contains(W)
def test(f): f; test(P == V)
(P = V) | P == V
(P |= 1) | P == 1
del(P) | P == null
. + {type: W} | .type == W
P |= V | . == .
{t: P, s: P} | .t == V and .s == V
{a: P} | .a == V
[P] | .[0] == V
{type: P} | .type == V
[P, P] | .[1] == V
P + P == V
(P | tojson | fromjson) == V
P as $p | $p.name? == W
with_entries(.) | P == V
to_entries | map(select(.key == W)) | .[0].value == V
{"type": .type} == {"type": W}
{type, source} == {type: W, source: W}
P | limit(1; .) == V
P | first(., .) == V
P | (., .) == V
P | [., .] | .[0] == V
now > N
P | fromdate? // 0 | . > N
(P | now) > N
P == (now | todate)
column(W) == V
column("name") | startswith(W)
column("port") | tonumber > N
is_new
is_new and C
is_removed
is_removed or C
is_new | not
is_first_run
P | is_on
P | is_off
any(rows; .name == W)
any(rows; .name == W and .uid == W)
rows | .name == W
first(rows | select(.name == W))
[rows | .name] | index(W)
machine_name == W
machine_name | contains(W)
P | version_lt(W)
P | version_ge("15.1")
P | version_eq("15.10")
P | version_cmp(W) > 0
P | is_ip
P | in_cidr("10.0.0.0/8")
P | in_cidr("203.0.113.0/24", "::1/128")
P | is_private_ip
P | is_public_ip
P | is_loopback_ip
P | url_host == W
P | in_domain("example.com")
P | basename == W
P | dirname == "/usr/bin"
P | under("/tmp", "/usr/local")
P | under(W)
P | has_extension(".exe")
P | in_home
P | in_temp
P | is_hidden
P | older_than("1d")
P | within("7d")
.received | hour > N
.received | weekday | IN("Sat", "Sun")
P | text == W
P | text | test(R)
P | line | contains(W)
P | unix_time > N
columns | has(W)
columns.name == W
