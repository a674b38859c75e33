//! The probes of `filters/`: each is a table, a filter and examples. A test keeps the list in step with the folder.

/// One probe that ships.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Its name, that of its table, and of its files without their ends.
    pub name: &'static str,
    /// `NAME.toml`: the table `[probe.NAME]`, ready to include.
    pub table: &'static str,
    /// `NAME.jq`: the filter.
    pub filter: &'static str,
    /// `NAME.ndjson`: events that must match and events that must not.
    pub examples: &'static str,
}

/// The one that `zentral init` lays into a new hub.
pub const FIRST: &str = "usb-device";

macro_rules! probes {
    ($($name:literal)*) => {
        /// All of them, by name.
        pub static PROBES: &[Probe] = &[$(
            Probe {
                name: $name,
                table: include_str!(concat!("../../../filters/", $name, ".toml")),
                filter: include_str!(concat!("../../../filters/", $name, ".jq")),
                examples: include_str!(concat!("../../../filters/", $name, ".ndjson")),
            },
        )*];
    };
}

probes! {
    "account-made-administrator"
    "bitlocker-off"
    "certificate-expires-soon"
    "cron-job-added"
    "disk-encryption-off"
    "enrolment-conflict"
    "filevault-off"
    "filevault-turned-off"
    "hosts-file-change"
    "jamf-api-deletion"
    "jamf-device-unenrolled"
    "kernel-extension"
    "login-from-internet"
    "machine-silent"
    "munki-install-failed"
    "munki-script-check-failed"
    "new-administrator"
    "new-application"
    "new-browser-extension"
    "new-launch-daemon"
    "new-listening-port"
    "osquery-outdated"
    "package-outside-manager"
    "profile-removed"
    "program-in-temp-folder"
    "remote-login-on"
    "removal-slated"
    "reverse-shell"
    "rogue-usb-device"
    "root-certificate-added"
    "santa-blocked-unknown"
    "santa-download-blocked"
    "santa-file-access-denied"
    "shell-history-tampering"
    "sip-or-gatekeeper-off"
    "ssh-key-added"
    "sudoers-change"
    "system-outdated"
    "systemd-unit-added"
    "unused-application"
    "usb-device"
    "windows-autorun"
    "windows-debugger-hijack"
    "windows-process-masquerade"
    "windows-scheduled-task"
    "windows-security-off"
    "windows-service"
    "windows-wmi-subscription"
}

/// The probe of this name.
pub fn probe(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
}

impl Probe {
    /// Its files: name and text. The table comes last, for where it lies the others are needed.
    pub fn files(&self) -> [(String, &'static str); 3] {
        let name = |end: &str| format!("{}.{end}", self.name);
        [(name("ndjson"), self.examples), (name("jq"), self.filter), (name("toml"), self.table)]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_probe_of_the_folder_is_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.retain(|name| name != "README.md");
        let mut here: Vec<String> = PROBES.iter().flat_map(Probe::files).map(|(name, _)| name).collect();
        there.sort();
        here.sort();
        assert_eq!(here, there);
        assert!(probe(FIRST).is_some() && probe("../x").is_none());
        assert!(PROBES.iter().all(|p| p.table.contains(&format!("\n[probe.{}]\n", p.name))), "the table has the name");
    }
}
