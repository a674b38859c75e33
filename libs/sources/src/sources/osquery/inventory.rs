//! The query of the inventory: one snapshot whose rows say by the column `table_name` what they are of.
//!
//! osquery runs several statements of one query one after the other and gives the rows of all, so each keeps its own
//! columns. One table that a platform does not have fails all of them: only what every platform has is asked before the
//! platform is known.

mod rows;
mod windows;

pub use rows::{is_inventory, snapshot};

use super::query::Query;

/// Its name in the schedule.
pub const NAME: &str = "ztl-inv";
/// Its name in the configurations of an older hub.
pub const LEGACY: &str = "__default_zentral_inventory_query__";
/// The column that says which table a row is of.
pub const TABLE: &str = "table_name";
/// Seconds between two runs where nothing else is said.
pub const INTERVAL: u32 = 3600;

/// When it runs, and what it asks beyond the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Seconds between two runs.
    pub interval_s: u32,
    /// The tables of Amazon EC2 are asked, which call its metadata service.
    pub ec2: bool,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { interval_s: INTERVAL, ec2: false }
    }
}

/// The table that says when each query was last run and what it cost; it is no part of the machine's inventory.
pub const SCHEDULE: &str = "osquery_schedule";
/// What is asked of it: columns that every osquery has. `denylisted` came with 4.5 (`blacklisted` before); where the table has
/// none the name in the inner statement is that of the outer one's column, so the statement holds there, too.
const RUNS: &str = "s.name, s.last_executed, s.executions, s.user_time, s.system_time, s.average_memory, s.output_size, \
    s.name in (select name from osquery_schedule where denylisted > 0) as denylisted \
    from osquery_schedule s, (select 0 as denylisted) where s.name like 'zentral/%'";

const ANY: [(&str, &str); 5] = [
    ("os_version", "name, version, major, minor, patch, build, platform from os_version"),
    (
        "system_info",
        "computer_name, hostname, hardware_model, hardware_serial, hardware_vendor, uuid, cpu_type, cpu_subtype, \
         cpu_brand, cpu_physical_cores, cpu_logical_cores, physical_memory from system_info",
    ),
    ("uptime", "total_seconds from uptime"),
    (SCHEDULE, RUNS),
    (
        "network_interface",
        "d.interface, d.mac, a.address, a.mask, a.broadcast from interface_details d join interface_addresses a \
         on d.interface = a.interface where d.mac <> '00:00:00:00:00:00'",
    ),
];
const POSIX: [(&str, &str); 3] = [
    ("users", "uid, gid, username, description, directory, shell from users"),
    ("groups", "gid, groupname from groups"),
    ("mounts", "device, path, type, blocks_size, blocks, blocks_available from mounts"),
];
const MACOS: [(&str, &str); 3] = [
    (
        "apps",
        "bundle_identifier as bundle_id, bundle_name, bundle_version as version, \
         bundle_short_version as version_str, path as bundle_path from apps",
    ),
    (
        "certificates",
        "common_name, subject, issuer, not_valid_before, not_valid_after, serial, sha1, path from certificates \
         where path like '/Library/Keychains/%'",
    ),
    (
        "company_portal",
        "key, value from plist where path like '/Users/%/Library/Preferences/com.microsoft.CompanyPortalMac.plist' \
         and key in ('aadUserId', 'aadUPN')",
    ),
];
const LINUX: [(&str, &str); 2] = [
    ("deb_packages", "name, version, source, size, arch, revision, status from deb_packages"),
    ("rpm_packages", "name, version, release, source, size, sha1, arch from rpm_packages"),
];
const WINDOWS: [(&str, &str); 6] = [
    (
        "programs",
        "name, version, install_location, install_source, language, publisher, uninstall_string, install_date, \
         identifying_number from programs",
    ),
    (
        "windows_build",
        "name, data from registry where path in \
         ('HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\UBR', \
         'HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\CurrentBuild')",
    ),
    ("disks", "device_id as name, size, free_space from logical_drives"),
    (
        "certificates",
        "common_name, subject, issuer, not_valid_before, not_valid_after, serial, sha1, path from certificates \
         where store = 'Personal'",
    ),
    ("users", "uid, gid, username, description, directory, shell, uuid from users"),
    ("groups", "gid, groupname from groups"),
];
const EC2: [(&str, &str); 2] = [
    (
        "ec2_instance_metadata",
        "instance_id, instance_type, architecture, region, availability_zone, ami_id, account_id, iam_arn, \
         security_groups from ec2_instance_metadata",
    ),
    ("ec2_instance_tags", "key, value from ec2_instance_tags"),
];

/// Tables and the rest of their statements.
type Tables = &'static [(&'static str, &'static str)];

/// What is asked of a platform beyond what all have.
fn own(platform: Option<&str>) -> [Tables; 2] {
    match platform {
        Some("macos") => [&POSIX, &MACOS],
        Some("linux") => [&POSIX, &LINUX],
        Some("freebsd") => [&POSIX, &[]],
        Some("windows") => [&WINDOWS, &[]],
        _ => [&[], &[]],
    }
}

/// The names of those tables.
fn platform_tables(platform: Option<&str>) -> Vec<&'static str> {
    own(platform).into_iter().flatten().map(|(table, _)| *table).collect()
}

impl Inventory {
    /// The query for machines of this platform.
    pub fn query(&self, platform: Option<&str>) -> Query {
        let own = own(platform);
        let ec2: &[_] = if self.ec2 && platform == Some("linux") { &EC2 } else { &[] };
        let tables = ANY.iter().chain(own.into_iter().flatten()).chain(ec2);
        let statements: Vec<String> =
            tables.map(|(table, rest)| format!("select '{table}' as {TABLE}, {rest};")).collect();
        Query { sql: statements.join(" "), interval_s: self.interval_s, snapshot: true, ..Query::default() }
    }
}
