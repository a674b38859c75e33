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
    "disk-encryption-off"
    "kernel-extension"
    "new-administrator"
    "new-browser-extension"
    "new-launch-daemon"
    "new-listening-port"
    "package-outside-manager"
    "remote-login-on"
    "shell-history-tampering"
    "sip-or-gatekeeper-off"
    "sudoers-change"
    "usb-device"
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
