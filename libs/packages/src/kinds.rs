//! Whom packages are for, and of which form.

/// Who speaks with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// osquery 5.
    Osquery,
    /// Munki 3 to 7.
    Munki,
    /// Santa, of today and of before 2025.
    Santa,
}

impl Agent {
    /// The agent of a source, if it is one that packages are made for.
    pub fn of(source: &str) -> Option<Self> {
        [Self::Osquery, Self::Munki, Self::Santa].into_iter().find(|agent| agent.name() == source)
    }

    /// Its source's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Osquery => "osquery",
            Self::Munki => "munki",
            Self::Santa => "santa",
        }
    }

    /// The forms that its machines take. osquery reads its flags from a file only, so there is no profile for it; Munki
    /// and Santa are of macOS.
    pub fn formats(self) -> &'static [Format] {
        use Format::{Deb, Mobileconfig, Pkg, Ps1, Rpm, Sh, Zip};
        match self {
            Self::Osquery => &[Pkg, Deb, Rpm, Sh, Ps1, Zip],
            Self::Munki | Self::Santa => &[Pkg, Mobileconfig, Sh],
        }
    }
}

/// Form of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Installer of macOS, flat.
    Pkg,
    /// Debian, Ubuntu.
    Deb,
    /// Red Hat, Fedora, SUSE.
    Rpm,
    /// Shell script for Linux and macOS.
    Sh,
    /// PowerShell script for Windows, all in one file.
    Ps1,
    /// The same for Windows with its files beside it.
    Zip,
    /// Profile of macOS.
    Mobileconfig,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Pkg, Self::Deb, Self::Rpm, Self::Sh, Self::Ps1, Self::Zip, Self::Mobileconfig];

    /// Its word on the command line, and the end of the file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pkg => "pkg",
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Sh => "sh",
            Self::Ps1 => "ps1",
            Self::Zip => "zip",
            Self::Mobileconfig => "mobileconfig",
        }
    }

    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Pkg => "Installer of macOS",
            Self::Deb => "Debian, Ubuntu",
            Self::Rpm => "Red Hat, Fedora, SUSE",
            Self::Sh => "Shell script for Linux and macOS",
            Self::Ps1 => "PowerShell script for Windows",
            Self::Zip => "PowerShell script for Windows, its files beside it",
            Self::Mobileconfig => "Profile of macOS",
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pkg => "application/octet-stream",
            Self::Deb => "application/vnd.debian.binary-package",
            Self::Rpm => "application/x-rpm",
            Self::Sh => "text/x-shellscript; charset=utf-8",
            Self::Ps1 => "text/plain; charset=utf-8",
            Self::Zip => "application/zip",
            Self::Mobileconfig => "application/x-apple-aspen-config",
        }
    }
}
