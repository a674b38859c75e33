//! All there is, in one table: the router is made of it, so nothing can be asked that does not stand here with the least
//! role that may ask it.

use registry::users::Role;

use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::pages::{
    action, actions, assets, connect, enrol, event, events, example, explain, incident, incidents, login, machine,
    machines, overview, play, probe, probes, queries, query, shipped, sign_on, sources, start, status, tokens, users,
};

/// What answers.
pub type Page = fn(&App, &Asked) -> Result<Answer, Wrong>;

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Looks; HEAD is answered alike.
    Get,
    /// Changes something.
    Post,
}

/// A part of the console: what a token may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Files and signs of life; who asks is not looked up.
    Files,
    /// Signing in and out; no token is for it.
    Door,
    /// How the hub is.
    Status,
    /// Machines.
    Machines,
    /// Events.
    Events,
    /// Probes and their filters.
    Probes,
    /// Incidents.
    Incidents,
    /// Actions.
    Actions,
    /// Live queries.
    Query,
    /// Who speaks, and what each source knows.
    Sources,
    /// Enrolments and their packages.
    Enrol,
    /// Who may come in.
    Users,
}

impl Area {
    /// Those that are scopes of tokens.
    pub const SCOPES: [Self; 10] = [
        Self::Status,
        Self::Machines,
        Self::Events,
        Self::Probes,
        Self::Incidents,
        Self::Actions,
        Self::Query,
        Self::Sources,
        Self::Enrol,
        Self::Users,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Door => "door",
            Self::Status => "status",
            Self::Machines => "machines",
            Self::Events => "events",
            Self::Probes => "probes",
            Self::Incidents => "incidents",
            Self::Actions => "actions",
            Self::Query => "query",
            Self::Sources => "sources",
            Self::Enrol => "enrol",
            Self::Users => "users",
        }
    }
}

/// One way in.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: Method,
    /// With the names of its variable parts in braces.
    pub path: &'static str,
    /// Who may ask at least; none: anybody, signed in or not.
    pub least: Option<Role>,
    pub area: Area,
    pub page: Page,
}

const fn get(path: &'static str, least: Option<Role>, area: Area, page: Page) -> Route {
    Route { method: Method::Get, path, least, area, page }
}

const fn post(path: &'static str, least: Option<Role>, area: Area, page: Page) -> Route {
    Route { method: Method::Post, path, least, area, page }
}

const ANYBODY: Option<Role> = None;
const VIEWER: Option<Role> = Some(Role::Viewer);
const EDITOR: Option<Role> = Some(Role::Editor);
const ADMIN: Option<Role> = Some(Role::Admin);

/// All of them.
pub static ROUTES: &[Route] = &[
    get("/", VIEWER, Area::Status, overview::show),
    get("/start", VIEWER, Area::Status, start::show),
    get("/status", VIEWER, Area::Status, status::show),
    get("/machines", VIEWER, Area::Machines, machines::list),
    get("/machines.csv", VIEWER, Area::Machines, machines::csv),
    get("/machines/{key}", VIEWER, Area::Machines, machine::show),
    get("/machines/{key}/history", VIEWER, Area::Machines, machine::history::show),
    get("/machines/{key}/compare", VIEWER, Area::Machines, machine::compare::show),
    get("/machines/{key}/things/{kind}", VIEWER, Area::Machines, machine::things::show),
    post("/machines/{key}/tags", EDITOR, Area::Machines, machine::edit::tag),
    post("/machines/{key}/sync", EDITOR, Area::Machines, machine::edit::sync),
    post("/machines/{key}/approve", EDITOR, Area::Machines, machine::edit::approve),
    get("/machines/{key}/forget", ADMIN, Area::Machines, machine::forget::ask),
    post("/machines/{key}/forget", ADMIN, Area::Machines, machine::forget::forget),
    get("/events", VIEWER, Area::Events, events::search),
    get("/events/{id}", VIEWER, Area::Events, event::show),
    get("/events/{id}/raw", VIEWER, Area::Events, event::raw),
    get("/events/{id}/explain", VIEWER, Area::Probes, explain::show),
    get("/probes", VIEWER, Area::Probes, probes::list),
    get("/probes/{name}", VIEWER, Area::Probes, probe::show),
    get("/probes/{name}/edit", EDITOR, Area::Probes, play::form),
    post("/probes/{name}/try", EDITOR, Area::Probes, play::tried),
    post("/probes/{name}/save", EDITOR, Area::Probes, play::save),
    get("/playground", EDITOR, Area::Probes, play::form),
    post("/playground", EDITOR, Area::Probes, play::tried),
    post("/playground/file", EDITOR, Area::Probes, play::file),
    get("/shipped", VIEWER, Area::Probes, shipped::list),
    get("/shipped/{name}", VIEWER, Area::Probes, shipped::one::show),
    get("/shipped/{name}/{file}", VIEWER, Area::Probes, shipped::one::file),
    post("/shipped/{name}/take", EDITOR, Area::Probes, shipped::one::take),
    get("/examples", EDITOR, Area::Probes, example::form),
    post("/examples", EDITOR, Area::Probes, example::add),
    get("/incidents", VIEWER, Area::Incidents, incidents::list),
    get("/incidents/{id}", VIEWER, Area::Incidents, incident::show),
    post("/incidents/{id}/take", EDITOR, Area::Incidents, incident::take),
    post("/incidents/{id}/comment", EDITOR, Area::Incidents, incident::comment),
    post("/incidents/{id}/close", EDITOR, Area::Incidents, incident::close),
    get("/actions", VIEWER, Area::Actions, actions::list),
    get("/actions/{name}", VIEWER, Area::Actions, action::show),
    post("/actions/{name}/mute", EDITOR, Area::Actions, action::mute),
    post("/actions/{name}/resume", EDITOR, Area::Actions, action::resume),
    post("/actions/{name}/try", EDITOR, Area::Actions, action::try_it),
    post("/actions/{name}/retry", EDITOR, Area::Actions, action::retry),
    post("/actions/{name}/drop", EDITOR, Area::Actions, action::forget),
    get("/connect", EDITOR, Area::Actions, connect::list),
    get("/connect/{kind}", EDITOR, Area::Actions, connect::show),
    get("/query", EDITOR, Area::Query, queries::form),
    post("/query", EDITOR, Area::Query, queries::ask),
    get("/query/{id}", EDITOR, Area::Query, query::show),
    get("/query/{id}/rows.csv", EDITOR, Area::Query, query::csv),
    post("/query/{id}/cancel", EDITOR, Area::Query, query::cancel),
    get("/sources", VIEWER, Area::Sources, sources::list),
    get("/sources/{name}", VIEWER, Area::Sources, sources::show),
    get("/sources/santa/try", VIEWER, Area::Sources, sources::trial::show),
    get("/enrol", VIEWER, Area::Enrol, enrol::list),
    post("/enrol", EDITOR, Area::Enrol, enrol::make),
    get("/enrol/{id}", VIEWER, Area::Enrol, enrol::one::show),
    post("/enrol/{id}/package", EDITOR, Area::Enrol, enrol::one::package),
    post("/enrol/{id}/revoke", EDITOR, Area::Enrol, enrol::one::revoke),
    get("/users", ADMIN, Area::Users, users::list),
    post("/users", ADMIN, Area::Users, users::add),
    post("/users/{name}/role", ADMIN, Area::Users, users::role),
    post("/users/{name}/email", ADMIN, Area::Users, users::email),
    post("/users/{name}/link", ADMIN, Area::Users, users::link),
    post("/users/{name}/remove", ADMIN, Area::Users, users::remove),
    post("/tokens", ADMIN, Area::Users, tokens::make),
    post("/tokens/{id}/revoke", ADMIN, Area::Users, tokens::revoke),
    get("/login", ANYBODY, Area::Door, login::form),
    post("/login", ANYBODY, Area::Door, login::enter),
    get("/login/oidc", ANYBODY, Area::Door, sign_on::begin),
    get("/login/oidc/callback", ANYBODY, Area::Door, sign_on::finish),
    get("/link/{secret}", ANYBODY, Area::Door, login::link),
    post("/link/{secret}", ANYBODY, Area::Door, login::take),
    post("/logout", VIEWER, Area::Door, login::leave),
    post("/theme", ANYBODY, Area::Door, login::theme),
    get("/assets/{name}", ANYBODY, Area::Files, assets::serve),
    get("/healthz", ANYBODY, Area::Files, assets::health),
];
