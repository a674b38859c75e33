# Sudoers changed
#
# Why: one line in sudoers makes an ordinary account root, without a password if it says so.
# Looks at: rules added, and `Defaults` removed (a removed log or password prompt is a change for the worse; a removed rule is not).
#   Rules for root and the standard include of /etc/sudoers.d are left out. `signs` names the dangerous words.
# False positives: configuration management that rewrites the file; a package that brings its own file in /etc/sudoers.d.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
# One short line: no line breaks, control characters or marks that turn the direction of writing.
def line:
  text | .[:400]
  | gsub("[\\s\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]+"; " ") | ltrimstr(" ") | rtrimstr(" ")
  | if length > 200 then .[:200] + "…" else . end;
def host: [.machine?.hostname?, .machine?.serial_number? | strings | select(. != "")][0] // "unknown machine" | line;

host as $host
| .payload? | objects
| .action as $action
| .columns | objects
| (.rule_details | text) as $whole
| map_values(line)
| (.header // "") as $header
| (.rule_details // "") as $rule
| (.source // "") as $source
| ($header | startswith("Defaults")) as $default
| select($action == "added" or ($action == "removed" and $default))
| select($header != "" and $header != "root")
| select(($header | test("^[#@]?includedir$")) and ($rule | test("^(/private)?/etc/sudoers\\.d/?$")) | not)
| (if $action == "removed" then []
   else [
     (if $whole | test("NOPASSWD|!\\s*authenticate") then "no password is asked for" else empty end),
     (if $default and ($whole | test("!\\s*(syslog|logfile|log_input|log_output|use_pty|env_reset)")) then "less is logged or checked" else empty end),
     (if $default and ($whole | test("timestamp_timeout\\s*=\\s*-")) then "the password is asked for once and never again" else empty end),
     (if ($default | not) and ($whole | test("(^|[\\s:,])ALL\\s*$")) then "every command is allowed" else empty end)
   ] end) as $signs
| {
    title: (if $default then "Sudo setting \($action) on \($host): \($rule)"
            elif $header | test("^[#@]?include") then "Sudo rules included on \($host): \($rule)"
            else "Sudo rule added on \($host) for \($header)" end),
    body: (["\($header) \($rule)" + (if $source != "" then " in \($source)" else "" end), $signs[]] | join("; ")),
    change: $action,
    header: $header,
    source: $source,
    signs: $signs
  }
