.a | IN("…", "y")
IN(.a; "…", "y")
.a == ("y", "…")
any("…", "y"; . == "y")
any("…"; . != "y")
all("…"; . != "y")
.a as $a | any("…", "y"; . == $a)
def known: "…", "y"; .a as $a | any(known; . == $a)
def known: "…", "y"; .a | IN(known)
first("y", "…") == .a
any(("…", "y") as $k | .a == $k; .)
any(.a == ("…", "y"); .)
.a | . as $a | ("…", "y") | select(. == $a)
["y", "…"] | contains(["y"])
(false, ….a == "y")
((false, …false) and true), .a == "y"
((false, …false) | false), .a == "y"
select((false, …true)) | (false, .a == "y")
if (false, …true) then .a == "y" else false end
((false, …null) // false), .a == "y"
try (false, …error) catch (.a? // true)
(false, …null, .a) | . == "y"
