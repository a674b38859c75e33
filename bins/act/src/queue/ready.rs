//! Which actions are in force, and which of them cannot be made ready: who waits is told.

use std::collections::BTreeMap;

use super::Queue;
use crate::conf::Ready;

impl Queue {
    /// Other actions are in force.
    pub fn reload(&mut self, actions: BTreeMap<String, Ready>, url: Option<String>) {
        (self.actions, self.url) = (actions, url);
        (self.look_for_gone, self.wake_at) = (true, i64::MIN);
        self.tell_waiting();
    }

    /// These are as they are now; the others stay.
    pub fn update(&mut self, actions: Vec<(String, Ready)>) {
        self.actions.extend(actions);
        self.wake_at = i64::MIN;
        self.tell_waiting();
    }

    /// Tells of those that wait and of those that wait no more; in the log what is new.
    pub(super) fn tell_waiting(&mut self) {
        let waits = |(name, ready): (&String, &Ready)| Some((name.clone(), ready.waits.clone()?));
        let now: BTreeMap<String, String> = self.actions.iter().filter_map(waits).collect();
        for (name, why) in &now {
            self.counts.waiting.with_label_values(&[name]).set(1);
            if self.waiting.get(name) != Some(why) {
                tracing::error!("action {name} waits: {why}; what it is asked for waits as well");
            }
            self.counts.wrong.set(Some(name), why);
        }
        for name in self.waiting.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!("action {name} waits no more");
            let _ = self.counts.waiting.remove_label_values(&[name]);
            self.counts.wrong.clear(Some(name));
        }
        self.waiting = now;
    }
}
