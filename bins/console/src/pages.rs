//! The pages. Each is a struct that a template shows and that JSON tells; `head` is what surrounds all of them.

pub mod action;
pub mod actions;
pub mod assets;
pub mod chart;
pub mod connect;
pub mod enrol;
pub mod event;
pub mod events;
pub mod example;
pub mod explain;
pub mod incident;
pub mod incidents;
pub mod login;
pub mod machine;
pub mod machines;
pub mod overview;
pub mod play;
pub mod prices;
pub mod probe;
pub mod probes;
pub mod queries;
pub mod query;
pub mod shipped;
pub mod sign_on;
pub mod sources;
pub mod start;
pub mod status;
pub mod tokens;
pub mod users;

use registry::users::Role;

use crate::ask::Asked;

/// A part of the console in the menu.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub path: &'static str,
    pub name: &'static str,
    pub here: bool,
}

/// What surrounds a page.
#[derive(Debug, Default)]
pub struct Head {
    pub title: String,
    /// Who has signed in.
    pub user: Option<String>,
    pub role: &'static str,
    /// The units that they are kept to, with commas.
    pub units: String,
    /// What every form carries.
    pub csrf: String,
    /// `dark`, `light`, or empty: as the system has it.
    pub theme: &'static str,
    pub menu: Vec<Entry>,
    /// Where to come back to.
    pub address: String,
    /// A digest of the files, so that a new version's are loaded.
    pub version: &'static str,
}

impl Head {
    pub fn new(asked: &Asked, title: impl Into<String>) -> Self {
        let all = [
            ("/", "Overview", Role::Viewer),
            ("/machines", "Machines", Role::Viewer),
            ("/events", "Events", Role::Viewer),
            ("/probes", "Probes", Role::Viewer),
            ("/incidents", "Incidents", Role::Viewer),
            ("/actions", "Actions", Role::Viewer),
            ("/query", "Live query", Role::Editor),
            ("/sources", "Sources", Role::Viewer),
            ("/enrol", "Enrol", Role::Viewer),
            ("/status", "Status", Role::Viewer),
            ("/users", "Access", Role::Admin),
        ];
        let path = asked.address.split('?').next().unwrap_or("/");
        let role = asked.who.as_ref().map(|who| who.role);
        let entry = |(to, name, least): (&'static str, &'static str, Role)| {
            let here = if to == "/" { path == "/" } else { path == to || path.starts_with(&format!("{to}/")) };
            // Actions tell of machines of all units.
            let sees = to != "/actions" || asked.who.as_ref().is_some_and(|who| who.units.is_empty());
            role.is_some_and(|role| role >= least && sees).then_some(Entry { path: to, name, here })
        };
        Self {
            title: title.into(),
            user: asked.who.as_ref().map(|who| who.name.clone()),
            role: role.map_or("", Role::word),
            units: asked.who.as_ref().map(|who| who.units.join(", ")).unwrap_or_default(),
            csrf: asked.csrf(),
            theme: asked.theme.unwrap_or_default(),
            menu: all.into_iter().filter_map(entry).collect(),
            address: asked.address.clone(),
            version: assets::version(),
        }
    }
}

/// Whether whoever asks may change what belongs to machines, incidents and actions.
pub fn may_change(asked: &Asked) -> bool {
    asked.who.as_ref().is_some_and(|who| who.role >= Role::Editor)
}
