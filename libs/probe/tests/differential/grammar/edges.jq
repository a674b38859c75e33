# Filters at the borders of what an analysis may conclude, one a line. Each once stood, or could stand, for a wrong conclusion.
# equality and what equals what
.payload.columns.port == 22
.payload.columns.port == 22.0
.payload.columns.port == "22"
.payload.columns.pid == 1000
.payload.columns.uid == 0
.payload.columns.uid == -0
.payload.columns.port == (22, "22")
.payload.counter == 100000000000000000000
.payload.counter == 9007199254740993
.payload.counter > 9007199254740992
.payload.columns.name == ""
.payload.columns.name == null
.payload.columns.name != "sshd"
.payload.columns.name == .payload.columns.vendor
.payload.columns.name == "\u0073shd"
.payload.columns.name == "\u00e9"
.payload.columns["na\"me"] == "sshd"
.payload.columns["name\":\"sshd"] == "x"
.payload.columns["back\\slash"] == "\\"
.payload.columns["new\nline"] == "\n"
.[""] == "empty"
.payload[""] == ""
.payload.list == ["a", "b"]
.payload.columns.name == {"a": 1}
.payload.columns == {}
.machine.tags == []
.payload.columns.port == nan
.payload.columns.port < nan
# errors in operands
(.payload.columns.name | startswith("s")) or .type == "osquery_result"
.type == "osquery_result" or (.payload.columns.name | startswith("s"))
(.payload.columns.name | startswith("s")) and .type == "osquery_result"
.type == "osquery_result" and (.payload.columns.name | startswith("s"))
(.payload.columns.name.x == 1) or .type == "osquery_result"
(.payload.columns.port | tonumber) > 20 or .type == "osquery_result"
(.payload.columns.name | test("^s")) or (.payload.columns.path | test("^/"))
(.payload.columns.name | startswith("s") | not)
(.payload.columns.name.x | not)
(.payload.name | contains("usb") | not) and .type == "osquery_result"
(.machine.tags | index("vip") | not)
(.payload.columns.name | empty) or .type == "osquery_result"
(.payload.columns.name | empty | not)
.type == "osquery_result" and empty
.type == "osquery_result" or error
error or .type == "osquery_result"
(.payload.columns.name | error)? // true
try error("x") catch true
try (.payload.columns.name | startswith(1)) catch (.type == null)
try (.type | error) catch . == "osquery_result"
(.type == "osquery_result")?
[.payload.columns.name | startswith("s")?] == []
.payload.columns.name? // "none" | . == "none"
(.payload.columns.name // "none") != "sshd"
(.payload.columns.name // empty) == "sshd"
(.payload.columns.name // .payload.columns.path) == "/tmp/.x"
.payload.numerics // true
(.payload.numerics // "d") == "d"
(.payload.columns.name? == "sshd"), true
(.payload.columns?.name == "sshd"), true
(.payload?.columns.name == "sshd"), true
(.payload.columns.name? // true) == true
(.payload?.columns.name // true) == true
[.payload.columns.name?] == []
[.payload.columns?.name] == []
isempty(.payload.columns.name?)
isempty(.payload?.columns.name)
(.payload.columns.name? | startswith("s")), true
any(.payload.columns.name?, true; . == true)
# several outputs
.type == "osquery_result", .type == "osquery_status"
(.type, .source) == "osquery"
(.type == "x", .source == "osquery") and (true, false)
false, null, .type == "osquery_result"
.tags[] == "osquery"
.tags[]? == "clock"
.payload.list[] == "b"
.payload.list[]?.a? == "a"
if (.type == "x", .source == "osquery") then true else false end
select(.type == "x", .source == "osquery")
.type | IN("osquery_result", "osquery_status")
(.type | IN(empty)), .type == "santa_event"
.type | IN(empty)
IN(.type; "osquery_result")
IN(.type, .source; "osquery", "x")
.payload.name | IN("usb_devices", null)
.payload.columns.port | IN(22, "22")
# members and arrays
any(.tags[]; . == "clock")
any(.tags[]?; . == "clock")
all(.tags[]; . != "clock")
all(.tags[]?; . == "osquery")
any(.payload.snapshot[]; .name == "sudo")
any(.payload.snapshot[]?; .name? == "sudo" and .uid? == "0")
all(.payload.snapshot[]?; .name == "sshd")
any(empty; true) or all(empty; false)
any(.payload.columns[]; . == "sshd")
any(.payload[]?; . == "usb_devices")
.machine.tags | any(. == "vip")
.machine.tags | index("vip")
.machine.tags | contains(["vip"])
.machine.tags | contains(["vi"])
.machine.tags | contains("vip")
.machine.tags | inside(["vip", "lab", "office"])
.machine.tags[0] == "vip"
.machine.tags[-1] == "office"
.machine.tags | has(0)
.payload | has("snapshot")
.payload.columns | has("name")
has("cause")
"name" | in(.payload.columns)
.payload.columns | keys | index("port")
.payload.columns | to_entries | any(.value == "22")
.payload.columns | to_entries[] | select(.key == "name") | .value == "sshd"
[.payload.snapshot[]? | select(.name == "sudo")] | length > 0
[.payload.snapshot[]? | select(.name == "sudo")] | length == 0
isempty(.payload.snapshot[]?)
first(.payload.snapshot[]? | select(.uid == "0")) | {name}
[.payload.columns.name, .payload.columns.path | strings | select(. != "")][0] == "/tmp/.x"
.payload.columns | contains({name: "ss"})
contains({payload: {columns: {name: "sshd"}}})
contains({type: "osquery"})
{payload: {name: "usb_devices"}} | inside({payload: {name: "x"}})
# strings
.payload.columns.cmdline | contains("\"")
.payload.columns.cmdline | contains("\\")
.payload.columns.cmdline | contains("\n")
.payload.columns.cmdline | contains("\t")
.payload.columns.cmdline | contains("/")
.payload.columns.cmdline | contains("\u0000")
.payload.columns.cmdline | contains("\u001f")
.payload.columns.cmdline | contains("😀")
.payload.columns.cmdline | contains("name\":\"usb")
.payload.columns.path | startswith("")
.payload.columns.path | startswith("/usr/")
.payload.columns.path | endswith(".exe")
.payload.columns.path | endswith("\\cmd.exe")
.payload.columns.path | ltrimstr("/usr/") == "bin/curl"
.payload.columns.path | ltrimstr("/usr/") != "bin/curl"
.payload.columns.path | rtrimstr("curl") | endswith("/")
"/usr/bin/curl" | startswith(.payload.columns.path)
"usb_devices,processes" | contains(.payload.name)
.payload.name | inside("usb_devices processes")
.payload.columns.name | ascii_downcase == "usb audio"
.payload.columns.name | ascii_upcase == "SSHD"
.payload.columns.name | ascii_downcase == "SSHD"
.payload.columns.username | ascii_downcase == "\u00e4da"
.payload.columns.port | tostring == "22"
.payload.columns.port | tostring | startswith("22")
.payload.columns.port | tonumber == 22
.payload.columns.port | tonumber? // 0 | . == 22
(.payload.columns.port | tonumber? // 0) as $p | $p > 20 and $p < 30
"\(.payload.columns.port)" == "22"
"\(.payload.name)/\(.payload.action)" == "usb_devices/added"
.payload.columns.name + "x" == "sshdx"
.payload.columns.name + null == "sshd"
.payload.columns.name | length == 4
.payload.columns.name | .[0:3] == "ssh"
.payload.columns.name | .[-2:] == "hd"
.payload.columns.name | explode == [115, 115, 104, 100]
.payload.columns.path | split("/") | .[-1] == "curl"
.payload.columns.path | split("/")[1] == "usr"
.payload.columns.name | tojson == "\"sshd\""
tojson | contains("\"name\":\"sshd\"")
tostring | contains("osquery_result")
.payload.columns.name >= "s" and .payload.columns.name < "t"
.payload.columns.name > 5
.payload.columns.port < "3"
# regular expressions
.payload.columns.name | test("")
.payload.columns.name | test("^$")
.payload.columns.name | test("$")
.payload.columns.name | test("^sshd$")
.payload.columns.name | test("shd$")
.payload.columns.name | test("^(sshd|curl)$")
.payload.columns.name | test("ssh|cur")
.payload.columns.name | test("SSHD"; "i")
.payload.columns.name | test("k"; "i")
.payload.columns.name | test("s"; "i")
.payload.columns.name | test("\u00c9"; "i")
.payload.columns.name | test("\u00df"; "i")
.payload.columns.name | test("(?i)KERNEL_TASK")
.payload.columns.name | test("k(?i)ernel_TASK")
.payload.columns.name | test("s s h d"; "x")
.payload.columns.name | test("s#c\nshd"; "x")
.payload.columns.name | test("x*"; "n")
.payload.columns.name | test(["sshd", "i"])
.payload.columns.name | test("ss?hd")
.payload.columns.name | test("s{2}hd")
.payload.columns.name | test("(ss|)hd")
.payload.columns.name | test("[s]shd")
.payload.columns.name | test("s\\x73hd")
.payload.columns.name | test("^s.+d")
.payload.columns.name | test("\\bsshd\\b")
.payload.columns.name | test("\\n$")
.payload.columns.cmdline | test("\\\\")
.payload.columns.cmdline | test("\"id\"")
.payload.columns.cmdline | test("\\t")
.payload.columns.cmdline | test("a\nb")
.payload.columns.cmdline | test("\\\\n")
.payload.columns.path | test("^(/private)?(/tmp|/var/tmp)/")
.payload.columns.path | test("/\\.[^/]")
.payload.columns.path | test("^/usr/(local/)?bin/")
.payload.columns.name | test("^s") and test("d$")
.payload.columns.name | test("^s") | not
.payload.columns.port | test("22")
.payload.columns | test("22")?
.payload.columns.name as $n | ["^ss", "^cu"] | any(. as $r | $n | test($r))
.payload.columns.name | capture("(?<a>ss)(?<b>h)") | .a == "ss"
.payload.columns.name | sub("s+"; "") == "hd"
.payload.columns.name | [match("s"; "g")] | length == 2
# structure
. as {payload: {name: $n}} | $n == "usb_devices"
.payload as {$name, $action} | $name == "usb_devices" and $action == "added"
.machine.tags as [$a] | $a == "vip"
.payload.name as $n | .type as $t | $n == "usb_devices" and $t == "osquery_result"
.payload as $p | $p.name == "usb_devices"
. as $e | .payload | $e.type == "osquery_result"
. as $x | .payload as $x | $x.name == "usb_devices"
def f: .payload.name; f == "usb_devices"
def f($x): .payload.name == $x; f("usb_devices", "processes")
def f(g): .payload | g; f(.name == "usb_devices")
def f: def f: .type; f; f == "osquery_result"
def contains(f): false; .payload.name | contains("usb")
def type: "mine"; type == "mine" and .type == "osquery_result"
def not: .; .type == "osquery_result" | not
def select(f): .; select(.type == "x") | .source == "osquery"
def any(f; g): true; any(.tags[]; . == "none")
def startswith($x): true; .payload.name | startswith("none")
def IN(f): true; .type | IN("none")
def test($x): . == $x; .payload.name | test("usb_devices")
def has($x): true; has("none")
def empty: true; .type == "none" or empty
def error: true; error or .type == "none"
def recurse_it: if type == "object" then (.[]? | recurse_it) else . end; any(recurse_it; . == "sshd")
label $f | .tags[]? | if . == "clock" then true, break $f else empty end
label $f | (.tags[]? | select(. == "clock") | (true, break $f)), false
reduce .tags[]? as $t (false; . or $t == "clock")
reduce .tags[]? as $t (.; .type = $t) | .type == "clock"
foreach .tags[]? as $t (0; . + 1; $t == "clock" and . == 2)
first(.. | select(. == "sshd")?)
.. == "sshd"
[.. | strings] | any(. == "sshd")
any(..; . == "clock")
any(.payload | .. | strings; startswith("/tmp"))
.payload | .name == "usb_devices"
.payload | select(.name == "usb_devices") | .action == "added"
.payload.name | select(. == "usb_devices")
.payload | objects | .name == "usb_devices"
.payload.columns.name | strings | . == "sshd"
.payload.columns.port | numbers | . > 20
.payload.columns.name | type == "string"
.payload.columns | type == "null"
.payload.columns.name | not
.payload.columns.name
.payload.numerics
.payload.numerics == false
.payload.snapshot
(.type = "x") | .type == "x"
.type |= "x" | .type == "osquery_result"
del(.type) | .type == null
{type: "osquery_result"} | .type == "osquery_result"
{type} == {type: "osquery_result"}
[.type, .source] == ["osquery_result", "osquery"]
{a: .payload.name} | select(.a == "usb_devices")
if .type == "osquery_result" then .payload.name == "usb_devices" else .source == "santa" end
if .type == "osquery_result" then false else true end
if .payload.columns.name then .type == "osquery_result" else .source == "santa" end
if .payload.columns.name | startswith("s") then true else true end
if .type == "x" then error else .source == "osquery" end
select(.type == "osquery_result" and .payload.name == "usb_devices") | {title: .payload.columns.vendor}
select(.type == "osquery_result") | select(.payload.action == "added") | {n: .payload.name, a: .payload.action}
(select(.type == "osquery_result") | {a: 1}), (select(.source == "osquery") | {b: 2})
(select(.payload.name == "none") | {a: 1}) // (select(.type == "osquery_result") | {b: 2})
select(.type == "osquery_result") | {n: nan}
select(.type == "osquery_result") | {e: .payload}
select(.type == "osquery_result") | .payload
select(.payload.columns.name == "sshd") | false, {late: true}
.payload.columns.name == "sshd" | select(.) | {ok: .}
machine_key == "ada-mbp"
machine_key | startswith("C02")
now > 1795287600
.payload.unixTime > now
{now: now} | select(.now < 2000000000)
(.payload.columns.name == "sshd") == (.payload.columns.port == "22")
(.payload.columns.name == "sshd") != true
(.payload.columns.name == "sshd" | not) == false
.payload.columns.name == "sshd" and .payload.columns.name == "curl"
.payload.columns.name == "sshd" or .payload.columns.name == "curl" or .payload.columns.name == "sshd"
.payload.columns.name as $x | ("sshd", "curl") as $y | $x == $y
[limit(1; .tags[]?)] == ["osquery"]
limit(1; .type == "x", .source == "osquery")
getpath(["payload", "name"]) == "usb_devices"
getpath(["payload", "columns", "name"]) | startswith("s")
.payload["na" + "me"] == "usb_devices"
.["payload"]["name"] == "usb_devices"
."payload"."name" == "usb_devices"
.payload[.type] == null
.payload.list[1:] == ["b"]
.payload.list[0]? == "a"
.payload.list.a? == "a"
.payload.name[0:3] == "usb"
.payload?.columns?.name? == "sshd"
.payload?.columns?.name? == null
(.payload.columns.name == "sshd")? // (.type == "osquery_result")
try (.payload.columns.name | if startswith("s") then error else . end) catch (. == "sshd")
# filed under the event itself, alone in a set
has("a")
.[] == 1
any(.[]; . == 1)
.[] | select(. == "x")
recurse == 1
# `break` is caught by nothing but its label
label $f | (try break $f), true
label $f | ((break $f)?), true
label $f | (try (break $f) catch true)
label $f | ((break $f) // true)
label $f | try (if .type == "osquery_result" then break $f else true end) catch true
label $f | (if .type == "osquery_result" then break $f else false end)?, true
label $f | any(try break $f, true; .)
any(label $f | try break $f, true; .)
any(label $f | try break $f, true; .) | not
label $f | (try error(break $f)), true
label $f | (label $g | try break $f), true
label $f | (label $g | try break $g), true
def g(h): try h; label $f | g(break $f), true
def g(h): h // true; label $f | g(.tags[]? | if . == "clock" then break $f else empty end)
label $f | all(try break $f, true; .) | not
[label $f | (try break $f), true] == []
(label $f | (try break $f), true) // .type == "x"
# the first output is followed by no other
first(1, 2) | select(. == 2)
first(.type, .source) | select(. == "osquery")
first(1, .type) | if . == 1 then empty else true end
first(.tags[]?) | select(. == "clock")
first(null, "xa") | strings | startswith("x")
first(false, true) | not
first(.tags[]?) == "clock" | not
# more outputs than are read
.tags[]? | (. == ("a", "clock"))
.tags[]? | (false, false, . == "clock")
.payload.snapshot[]? | (.name == "none", .name == "sudo")
(.tags[]? == "none") and true, .type == "x"
(.tags[]? | . == "none" | not | not), .type == "x"
if .tags[]? == "none" then true else false end, .type == "x"
select(.tags[]? != "none") | false, .type == "x"
# a parameter is a variable and a function
def f($type): type == "x"; f("x")
def f($type): .payload | type; f(.type) == "x"
def f($not): (.type == "x") | not; f(true)
def f($a; $b): a == $b and b == $a; f(.type; .source)
def f($x): def g($y): x == y; g(.type); f(.type)
def f($x): def x: false; x; f(true)
def f($x): .payload as $p | $p | x; f(.name) == "usb_devices"
