//! The probes that ship, inside the binary. A test keeps the list in step with the folder.

macro_rules! filters {
    ($($name:literal)*) => {
        /// File name and text of every probe and its filter.
        pub const ALL: &[(&str, &str)] = &[$(
            (concat!($name, ".toml"), include_str!(concat!("../../../../filters/", $name, ".toml"))),
            (concat!($name, ".jq"), include_str!(concat!("../../../../filters/", $name, ".jq"))),
        )*];
    };
}

filters! {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    #[test]
    fn every_probe_of_the_folder_is_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/filters");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml") || name.ends_with(".jq"))
            .collect();
        let mut here: Vec<&str> = super::ALL.iter().map(|(name, _)| *name).collect();
        there.sort();
        here.sort_unstable();
        assert_eq!(here, there);
    }
}
