# Program that calls itself a part of Windows
#
# Why: malware takes the name of a program that runs on every Windows machine (svchost.exe, lsass.exe), or one that looks like it, because
#   nobody looks twice at it in the list of processes.
# Looks at: new processes with such a name whose program does not lie where Windows has it.
# To do: this is hardly ever harmless: isolate the machine, keep the file, see what started it.
# False positives: Windows on another drive than C:, copies of Windows' programs in developers' tools.

def names: "svchost.exe", "lsass.exe", "services.exe", "csrss.exe", "smss.exe", "wininit.exe", "winlogon.exe", "conhost.exe", "dllhost.exe",
  "spoolsv.exe", "taskhostw.exe", "sihost.exe", "runtimebroker.exe", "rundll32.exe", "lsm.exe", "explorer.exe", "userinit.exe";
def folders: "c:\\windows\\system32", "c:\\windows\\syswow64", "\\systemroot\\system32", "\\??\\c:\\windows\\system32";
# Names that only somebody who wants to be overlooked gives a program.
def alike: "scvhost.exe", "svhost.exe", "svchosts.exe", "svch0st.exe", "svchost32.exe", "lsas.exe", "lsasss.exe", "isass.exe", "1sass.exe",
  "csrs.exe", "crss.exe", "cssrs.exe", "winlogin.exe", "winlogonn.exe", "explorer32.exe", "iexplorer.exe", "servlces.exe", "dllh0st.exe";

select(is_new)
| machine_name as $host
| columns | objects
| select((.path | strings) != "")
| (.path | basename | ascii_downcase) as $name
| (.path | dirname | ascii_downcase) as $folder
| select($name | IN(names, alike))
| select(($name | IN(alike)) or ($folder | IN(folders) | not))
| select(($name == "explorer.exe" and $folder == "c:\\windows") | not)
| {
    title: "\($name | line) on \($host) is not Windows' own",
    body: ([
        "\(.path | line) runs",
        (.username | line | if . != "" then "as \(.)" else empty end),
        (if $name | IN(alike) then "its name looks like one of Windows' programs" else "Windows has its own in another folder" end)
      ] | join("; ")),
    name: $name,
    path: (.path | line)
  }
