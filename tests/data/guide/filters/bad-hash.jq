# A program whose hash is on a list
import "bad-hashes" as $bad;
select(is_new and (column("sha256") | IN($bad[])))
| {title: "Known bad program on \(machine_name): \(column("path") | line)", sha256: column("sha256")}
