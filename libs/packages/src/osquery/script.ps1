# Makes the osqueryd of this machine speak to @URL@
# (enrolment @ID@, unit @UNIT@). Run it as an administrator:
#   powershell -ExecutionPolicy Bypass -File @FILE@
# It may be run again at any time; -Uninstall takes it away again and puts back the flags that were there before.
#
# It holds a secret: hand it on with care, and `zentral enrol revoke @ID@` when it got into wrong hands.
param([switch] $Uninstall)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

function Say([string] $text) { Write-Host "zentral: $text" }

# Where osquery's installer puts it, also for a PowerShell of 32 bits.
$programs = if ($env:ProgramW6432) { $env:ProgramW6432 } else { $env:ProgramFiles }
$folder = Join-Path $programs 'osquery'
$flagsFile = Join-Path $folder 'osquery.flags'
$before = "$flagsFile.before-zentral"
$script:changed = $false

$me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Say 'this must run as an administrator'
    exit 1
}

function Test-Ours {
    (Test-Path -LiteralPath $flagsFile) -and ((Get-Content -LiteralPath $flagsFile -TotalCount 1) -eq '# zentral')
}

# The text becomes this file, if it differs. Only the system and administrators read a private one, from its first byte on.
function Put([string] $name, [string] $text, [switch] $Private) {
    $target = Join-Path $folder $name
    $text = $text.Replace("`r`n", "`n").Replace('@DIR@', $folder).TrimEnd("`n") + "`n"
    if ((Test-Path -LiteralPath $target) -and ([IO.File]::ReadAllText($target) -ceq $text)) { return }
    $new = "$target.zentral-new"
    [IO.File]::WriteAllText($new, '')
    if ($Private) {
        & icacls.exe $new /inheritance:r /grant:r '*S-1-5-18:F' '*S-1-5-32-544:F' | Out-Null
        if ($LASTEXITCODE -ne 0) { throw "icacls: $LASTEXITCODE" }
    }
    # Without a byte order mark: osquery would take it for a flag.
    [IO.File]::WriteAllText($new, $text, (New-Object Text.UTF8Encoding $false))
    Move-Item -LiteralPath $new -Destination $target -Force
    $script:changed = $true
}

function Get-Osqueryd { Get-Service -Name osqueryd -ErrorAction SilentlyContinue }

if ($Uninstall) {
    if (Test-Ours) {
        # The service does not start without the file.
        if (Test-Path -LiteralPath $before) { Move-Item -LiteralPath $before -Destination $flagsFile -Force }
        else { [IO.File]::WriteAllText($flagsFile, '') }
    }
    foreach ($name in 'zentral.secret', 'zentral-ca.pem') {
        $target = Join-Path $folder $name
        if (Test-Path -LiteralPath $target) { Remove-Item -LiteralPath $target -Force }
    }
    $service = Get-Osqueryd
    if ($service -and $service.Status -eq 'Running') { Restart-Service -Name osqueryd }
    Say 'it is as it was before'
    exit 0
}

@TEXTS@

if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
if ((Test-Path -LiteralPath $flagsFile) -and -not (Test-Ours)) {
    if (Test-Path -LiteralPath $before) { Move-Item -LiteralPath $before -Destination "$before.old" -Force }
    Copy-Item -LiteralPath $flagsFile -Destination $before
    Say "the flags of before are kept in $before"
}
Put 'zentral.secret' $secret -Private
if ($authorities) { Put 'zentral-ca.pem' $authorities }
Put 'osquery.flags' $flags

if (-not (Get-Osqueryd)) {
    Say 'osqueryd is not installed as a service here: install it, and it will enrol when it starts'
} elseif ($script:changed -or (Get-Osqueryd).Status -ne 'Running') {
    Restart-Service -Name osqueryd
    Say 'osqueryd was restarted and enrols now'
} else {
    Say 'everything is as it should be'
}
