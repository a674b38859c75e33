//! The table: each ticket service with its server and what an action says to reach it.

use std::thread;

use crate::fakes::tickets::{Desk, Ticket};
use crate::fakes::{Fake, Service, Trouble, freshdesk, github, jira, servicenow, trello, zendesk};
use crate::hub::Hub;

/// One service and what an action says to reach it.
pub struct Tracker {
    pub kind: &'static str,
    pub keys: String,
    pub desk: Desk,
    pub service: Option<Box<dyn Service>>,
    /// The status of what is closed.
    pub closed: &'static str,
    /// How the link begins; `{}` is the URL of the action.
    pub link: &'static str,
    /// Requests before the one that makes a ticket, and before the comment that closes it.
    pub before: (usize, usize),
}

pub fn tracker(kind: &'static str) -> Tracker {
    let (desk, service): (Desk, Box<dyn Service>) = match kind {
        "zendesk" => {
            let fake = zendesk::Zendesk::default();
            (fake.desk.clone(), Box::new(fake))
        }
        "freshdesk" => {
            let fake = freshdesk::Freshdesk::default();
            (fake.desk.clone(), Box::new(fake))
        }
        "jira" => {
            let fake = jira::Jira::cloud();
            (fake.desk.clone(), Box::new(fake))
        }
        "jira-data-center" => {
            let fake = jira::Jira::data_center();
            (fake.desk.clone(), Box::new(fake))
        }
        "github" => {
            let fake = github::GitHub::default();
            (fake.desk.clone(), Box::new(fake))
        }
        "trello" => {
            let fake = trello::Trello::default();
            (fake.desk.clone(), Box::new(fake))
        }
        kind => {
            let fake = servicenow::ServiceNow::default();
            let desk = if kind == "servicenow" { &fake.incidents } else { &fake.changes };
            (desk.clone(), Box::new(fake))
        }
    };
    let (keys, closed, link, before) = match kind {
        "zendesk" => {
            let keys = format!("email = \"{}\"\ntoken = \"{}\"\n", zendesk::EMAIL, zendesk::TOKEN);
            (keys, "solved", "{}/agent/tickets/35436", (1, 0))
        }
        "freshdesk" => {
            let keys = format!("email = \"hub@example.com\"\ntoken = \"{}\"\n", freshdesk::TOKEN);
            (keys, "4", "{}/a/tickets/1", (1, 1))
        }
        "jira" => {
            let keys = format!("email = \"{}\"\ntoken = \"{}\"\nproject = \"SEC\"\n", jira::EMAIL, jira::TOKEN);
            (keys, "Done", "{}/browse/SEC-1", (1, 2))
        }
        "jira-data-center" => {
            (format!("token = \"{}\"\nproject = \"SEC\"\n", jira::TOKEN), "Done", "{}/browse/SEC-1", (1, 2))
        }
        "github" => {
            let (owner, repo) = (github::OWNER, github::REPO);
            let keys = format!("owner = \"{owner}\"\nrepo = \"{repo}\"\ntoken = \"{}\"\n", github::TOKEN);
            (keys, "closed", "https://github.com/acme/alerts/issues/1", (1, 1))
        }
        "trello" => {
            let (key, token, list) = (trello::KEY, trello::TOKEN, trello::LIST);
            let keys = format!("key = \"{key}\"\ntoken = \"{token}\"\nlist = \"{list}\"\n");
            (keys, "complete", "https://trello.com/c/00000000", (1, 1))
        }
        kind => {
            let keys = format!("user = \"{}\"\npassword = \"{}\"\n", servicenow::USER, servicenow::PASSWORD);
            let incident = kind == "servicenow";
            let link = if incident { "{}/incident.do?sys_id=" } else { "{}/change_request.do?sys_id=" };
            (keys, if incident { "6" } else { "1" }, link, (1, 0))
        }
    };
    Tracker { kind, keys, desk, service: Some(service), closed, link, before }
}

pub const KINDS: [&str; 8] =
    ["zendesk", "freshdesk", "jira", "jira-data-center", "servicenow", "servicenow-change", "github", "trello"];

impl Tracker {
    pub fn fake(&mut self, troubles: Vec<Trouble>) -> Fake {
        Fake::start(self.service.take().unwrap(), troubles)
    }

    pub fn hub(&self, url: &str, more: &str) -> Hub {
        Hub::new(&format!("[action.a]\nkind = \"{}\"\nurl = \"{url}\"\n{}{more}\n", self.kind, self.keys))
    }

    pub fn only(&self) -> Ticket {
        let all = self.desk.all();
        assert_eq!(all.len(), 1, "{}: {all:?}", self.kind);
        all[0].clone()
    }
}

/// Runs `test` on every one, side by side.
pub fn each(test: impl Fn(Tracker) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        let running: Vec<_> = KINDS.map(|kind| (kind, scope.spawn(move || test(tracker(kind))))).into();
        for (kind, thread) in running {
            if let Err(why) = thread.join() {
                let said = why.downcast_ref::<String>().cloned().unwrap_or_default();
                panic!("{kind}: {said}");
            }
        }
    });
}
