//! What an agent is told about itself at preflight.

use serde_json::{Map, Value};

use super::rules::Version;
use super::sync::Kind;

/// A pattern that matches nothing. An empty one takes the old pattern away in new versions, and in old ones it matches
/// everything.
pub const NEVER: &str = "(?!)";

/// What Santa does with what no rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum ClientMode {
    Monitor,
    Lockdown,
    Standalone,
}

impl ClientMode {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("MONITOR", Self::Monitor), ("LOCKDOWN", Self::Lockdown), ("STANDALONE", Self::Standalone)];

    /// The word of the protocol.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, own)| *own == self).map_or("", |(word, _)| word)
    }
}

/// The settings of one machine; what is none is left to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What becomes of the unknown.
    pub client_mode: ClientMode,
    /// Events in one upload, and rules in one page.
    pub batch_size: u32,
    /// Seconds between two syncs.
    pub full_sync_interval: u32,
    /// The same for agents that are told by push when there is something.
    pub push_notification_full_sync_interval: Option<u32>,
    /// Seconds in which all agents fetch a rule that was pushed.
    pub push_notification_global_rule_sync_deadline: Option<u32>,
    /// Whether what is blocked within a bundle is told with the hash of the bundle.
    pub enable_bundles: Option<bool>,
    /// Whether what a compiler makes is allowed.
    pub enable_transitive_rules: Option<bool>,
    /// Whether what was allowed by a rule is uploaded, too.
    pub enable_all_event_upload: Option<bool>,
    /// Whether what no rule is about is not uploaded.
    pub disable_unknown_event_upload: Option<bool>,
    /// Paths that are allowed, an ICU pattern.
    pub allowed_path_regex: Option<String>,
    /// Paths that are blocked, an ICU pattern.
    pub blocked_path_regex: Option<String>,
    /// Whether USB storage is kept out.
    pub block_usb_mount: bool,
    /// Or mounted with these flags.
    pub remount_usb_mode: Vec<String>,
    /// Rules for files are all taken as this says.
    pub override_file_access_action: Option<String>,
    /// Where people read about what was blocked.
    pub event_detail_url: Option<String>,
    /// What the button to there says.
    pub event_detail_text: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_mode: ClientMode::Monitor,
            batch_size: 50,
            full_sync_interval: 600,
            push_notification_full_sync_interval: None,
            push_notification_global_rule_sync_deadline: None,
            enable_bundles: None,
            enable_transitive_rules: None,
            enable_all_event_upload: None,
            disable_unknown_event_upload: None,
            allowed_path_regex: None,
            blocked_path_regex: None,
            block_usb_mount: false,
            remount_usb_mode: Vec::new(),
            override_file_access_action: None,
            event_detail_url: None,
            event_detail_text: None,
        }
    }
}

impl Settings {
    /// The reply to a preflight, in the words of this version.
    pub fn told(&self, version: Version, kind: Kind) -> Map<String, Value> {
        let mut told = Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|value| told.insert(name.to_owned(), value));
        let allowed = self.allowed_path_regex.as_deref().unwrap_or(NEVER);
        let blocked = self.blocked_path_regex.as_deref().unwrap_or(NEVER);
        put("client_mode", Some(self.client_mode.word().into()));
        put("sync_type", Some(kind.word(version).into()));
        put("batch_size", Some(self.batch_size.into()));
        put("full_sync_interval", Some(self.full_sync_interval.into()));
        put("push_notification_full_sync_interval", self.push_notification_full_sync_interval.map(Value::from));
        let deadline = self.push_notification_global_rule_sync_deadline;
        put("push_notification_global_rule_sync_deadline", deadline.map(Value::from));
        put("enable_bundles", self.enable_bundles.map(Value::from));
        put("enable_transitive_rules", self.enable_transitive_rules.map(Value::from));
        put("enable_all_event_upload", self.enable_all_event_upload.map(Value::from));
        put("disable_unknown_event_upload", self.disable_unknown_event_upload.map(Value::from));
        put("allowed_path_regex", Some(allowed.into()));
        put("blocked_path_regex", Some(blocked.into()));
        put("block_usb_mount", Some(self.block_usb_mount.into()));
        put("remount_usb_mode", Some(self.remount_usb_mode.clone().into()));
        put("override_file_access_action", self.override_file_access_action.clone().map(Value::from));
        put("event_detail_url", self.event_detail_url.clone().map(Value::from));
        put("event_detail_text", self.event_detail_text.clone().map(Value::from));
        if version < Version::SYNC_TYPE {
            put("clean_sync", Some((kind != Kind::Normal).into()));
        }
        if version < Version::ALLOW {
            put("whitelist_regex", Some(allowed.into()));
            put("blacklist_regex", Some(blocked.into()));
            put("bundles_enabled", self.enable_bundles.map(Value::from));
            put("enabled_transitive_whitelisting", self.enable_transitive_rules.map(Value::from));
        }
        told
    }
}
