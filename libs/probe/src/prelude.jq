# Definitions that every filter sees, beside the core language.

# Events. docs/prelude.md is the manual of everything down to "Types". What is a simple condition is written as one here:
# the engine looks through these definitions for what it can index.

# The key of a machine: serial number, else hardware UUID, else host name.
def machine_key: .machine.serial_number // .machine.hardware_uuid // .machine.hostname;
def columns: .payload.columns;
def column($name): .payload.columns[$name];
def rows: (.payload.columns, .payload.snapshot[]?) | select(isobject);
def is_new: .payload.action == "added" or .payload.action == "snapshot";
def is_removed: .payload.action == "removed";
def is_first_run: .payload.counter == 0;
def is_on: . == "1" or . == 1 or . == "true" or . == true;
def is_off: . == "0" or . == 0 or . == "false" or . == false;

# Text for people
def text: if isstring then . elif isnumber then tostring else "" end;
def machine_name: [.machine | .hostname?, .serial_number? | select(isstring and . != "")][0] // "unknown machine" | line;

# Versions
def version_eq($v): version_cmp($v) == 0;
def version_lt($v): version_cmp($v) < 0;
def version_le($v): version_cmp($v) <= 0;
def version_gt($v): version_cmp($v) > 0;
def version_ge($v): version_cmp($v) >= 0;

# Addresses
def is_public_ip: is_private_ip | not;

# Times
def age: now - unix_time;
def older_than($length): age > ($length | duration);
def within($length): age | fabs <= ($length | duration);
def expires_within($length): -age <= ($length | duration);
def hour: unix_time | (. - (. / 86400 | floor) * 86400) / 3600 | floor;
def weekday: unix_time / 86400 | floor | ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(. % 7 + 7) % 7];

# Types
def values: select(. != null);
def nulls: select(. == null);
def booleans: select(isboolean);
def numbers: select(isnumber);
def strings: select(isstring);
def arrays: select(isarray);
def objects: select(isobject);
def iterables: select(isarray or isobject);
def scalars: select(isarray or isobject | not);
def finites: select(isinfinite or isnan | not);
def normals: select(isnormal);
def toarray: if isarray then . else [.] end;
def abs: if isnumber and . < 0 then -. else . end;
def gamma: lgamma;
def have_literal_numbers: true;
def have_decnum: true;
def get_search_list: [];

# Membership
def in($xs): . as $x | $xs | has($x);
def inside($xs): . as $x | $xs | contains($x);
def IN(s): . as $x | any(s; . == $x);
def IN(src; s): any(src == s; .);
def index($x): indices($x) | .[0];
def rindex($x): indices($x) | .[-1:][0];
def INDEX(s; key): reduce s as $row ({}; .[$row | key | tostring] |= $row);
def INDEX(key): INDEX(.[]; key);

# Arrays and objects
def add(f): reduce f as $x (null; . + $x);
def unique_by(f): [group_by(f)[] | .[0]];
def flatten($depth):
  def go($d): reduce .[] as $x ([]; if ($x | isarray) and $d > 0 then . + ($x | go($d - 1)) else . + [$x] end);
  if $depth < 0 then error("flatten depth must not be negative") else go($depth) end;
def flatten: flatten(1e9);
def transpose: . as $rows | [range([.[] | length] | max // 0) as $i | [$rows[][$i]]];
def from_entries: reduce .[] as $e ({};
  . + {
    ($e
      | [.key, .k, .name, .Name, .K, .Key]
      | map(values) | .[0]
      | if isstring then . elif isnumber or isboolean or . == null then tojson
        else error("an entry's key must be a string") end):
      ($e | if has("value") then .value elif has("v") then .v else .Value end)
  });
def with_entries(f): to_entries | map(f) | from_entries;
def leaf_paths: paths(scalars);
def del(f): delpaths([path(f)]);
def to_entries: [keys_unsorted[] as $key | {$key, value: .[$key]}];
def pick(f): . as $whole | reduce path(f) as $p (null; setpath($p; $whole | getpath($p)));

# Streams
# What is counted cannot be negative. The first two hand on to jaq's functions of the same names.
def limited($n; f): limit($n; f);
def skipped($n; f): skip($n; f);
def limit($n; f): if $n < 0 then error("limit doesn't support negative count") else limited($n; f) end;
def skip($n; f): if $n < 0 then error("skip doesn't support negative count") else skipped($n; f) end;
def nth($n; f): if $n < 0 then error("nth doesn't support negative indices") else first(skip($n; f)) end;
def tostream:
  def go($at):
    if (isarray or isobject) and length > 0 then
      keys_unsorted as $keys
      | ($keys[] as $key | .[$key] | go($at + [$key])),
        [$at + [$keys[-1]]]
    else [$at, .] end;
  go([]);
def fromstream(f):
  foreach f as $event ({};
    (if .done then {} else . end)
    | ($event[0] | length) as $depth
    | if ($event | length) == 2 then
        (if $depth == 0 then {done: true, value: $event[1]}
         else .value |= setpath($event[0]; $event[1]) end)
      elif $depth <= 1 then .done = true
      else . end;
    if .done then .value else empty end);
def truncate_stream(s): . as $n | null | s | if (.[0] | length) > $n then .[0] |= .[$n:] else empty end;

# Text
def todate: strftime("%Y-%m-%dT%H:%M:%SZ");
def todateiso8601: todate;
def fromdate: fromdateiso8601;
def localtime: gmtime;
def strflocaltime($format): strftime($format);
def splits($re; $flags): split($re; $flags)[];
def splits($re): splits($re; null);
def sub($re; f; $flags): reduce pieces($re; $flags)[] as $piece (""; . + ($piece | if isstring then . else f end));
def sub($re; f): sub($re; f; "");
def gsub($re; f; $flags): sub($re; f; $flags + "g");
def gsub($re; f): sub($re; f; "g");
def @json: tojson;
