C
C
C
C
C
C
select(C)
select(C) | {title: P}
select(C) | {title: "\(P) on \(P)", body: W}
if C then {title: W} else empty end
if C then {a: P} else null end
select(C) | P
select(C), (select(C) | {b: P})
(select(C) | {a: 1}), (select(C) | {b: 2})
P as $x | select(C) | {x: $x, y: P}
select(C) | {key: machine_key}
C | if . then {c: .} else . end
select(C) | [P]
select(C) | false
select(C) | null, {late: true}
{c: C} | select(.c)
{title: P} | select(.title == V)
select(C) | . as {type: $t} | {$t}
C and C | select(.) | {and: .}
select(C) | tojson | fromjson
(select(C) | {a: P}) // (select(C) | {b: P})
[C, C] | select(all) | {n: length}
first(select(C) | {a: 1}, {b: 2})
select(C) | {n: nan}
select(C) | error({a: 1})
try (select(C) | error({a: 1})) catch .
select(C) | {e: .}
select(C) | .payload
select(C) | .payload.columns
select(C) | .machine
select(C) | {now: now}
if C then {a: 1} elif C then {b: 2} else false end
P | objects | select(.name == W) | {n: .name}
P | objects | select(.action == "added") | .columns | objects | select(C) | {t: .name}
.payload? | objects | select(.action == "added") | .columns | objects | select(.path // "" | test(R)) | {p: .path}
[.payload.columns[]? | select(. == V)] | select(length > 0) | {found: .}
select(C) | {(P | tostring): 1}
select(C) | {a: P, b: P, c: {d: [P]}}
