# Software is slated for removal, or is not any more
#
# Why: whoever uses the machine should know before it is gone, and how to keep it.
# Looks at: what actions of the kind munki have done to `managed_uninstalls`: so nobody is told of what could not be done, or was a dry run.
# False positives: none; a removal that somebody writes into the manifest by hand is not seen.

def names: [arrays | .[] | strings | line | select(. != "")];

select(.type == "action_done" and .payload.kind == "munki" and .payload.dry_run != true)
| machine_name as $host
| .payload.ref | objects | select(.list == "managed_uninstalls")
| (.added | names | join(", ")) as $added
| (.removed | names | join(", ")) as $removed
| if $added != "" then {
    title: "\($added) will be removed from \($host)",
    body: "It has not been used for 30 days. Use it, or say that you need it, and it stays.",
    items: (.added | names)
  } elif $removed != "" then {
    title: "\($removed) is no longer to be removed from \($host)",
    body: "It was used, somebody asked for it, or it is gone already.",
    items: (.removed | names)
  } else empty end
