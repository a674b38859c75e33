# New browser extension
#
# Why: an extension reads what its user reads, passwords and internal pages included, and changes owner without a word.
# Looks at: new rows of Chrome's relatives and Firefox. The version is not asked for, so that an update is no news; permissions
#   are, so that an update that asks for more is. `signs` names a source outside the store and wide permissions.
#   The extensions that Chrome brings itself are left out.
# False positives: extensions installed by policy, the same one on every machine.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

# Chrome's own: PDF viewer, web store, payments, cast, hangouts, docs offline, feedback, cryptotoken, network speech
def built_in: . as $id | [
    "mhjfbmdgcfjbbpaeojofohoefgiehjai", "ahfgeienlihckogmohjhadlkjgocpleb", "nmmhkkegccagdldgiimedpiccmgmieda",
    "pkedcjkdefgpdelpbcmbmeomcjbeemfm", "nkeimhogjdpnpccoofpliimaahmaaome", "ghbmnnjooekpmoecnnnilnnbdlolhkhi",
    "gfdkimpbcpahaombhbimeihdjnejgicl", "kmendfapggjehodndflmmgagdbamhnfd", "neajdppkdcdipfabeoofebfddakdcjhd"
  ] | any(.[]; . == $id);

host as $host
| .payload? | objects | select(.action == "added")
| .columns | objects
| (.permissions | text) as $permissions
| map_values(line)
| (.identifier // "") as $id
| select($id != "" and ($id | built_in | not))
| ([.name, $id | select(. != null and . != "")][0]) as $name
| ([.browser | select(. != null and . != "")][0] // "browser") as $browser
| [
    (if .from_webstore == "false" or .from_webstore == "0" then "not from the browser's store" else empty end),
    (if $permissions | test("<all_urls>|\\*://\\*/|https?://\\*/") then "may read and change every page" else empty end),
    (if $permissions | test("nativeMessaging|debugger|proxy|management") then "may reach beyond the page (native programs, proxy, other extensions)" else empty end)
  ] as $signs
| {
    title: "New \($browser) extension on \($host): \($name)",
    body: ([
        "\($name) (\($id))" + (.username // "" | if . != "" then " for \(.)" else "" end),
        $signs[]
      ] | join("; ")),
    browser: $browser,
    identifier: $id,
    user: (.username // ""),
    signs: $signs
  }
