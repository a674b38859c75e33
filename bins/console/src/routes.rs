//! All there is, in one table: the router is made of it, so nothing can be asked that does not stand here with the least
//! role that may ask it.

use registry::users::Role;
use schemars::JsonSchema;

use crate::answer::{Answer, Wrong};
use crate::api::shapes::Done;
use crate::api::{Answers, Told, Word, openapi, shape};
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
    /// What programs are told of it; a route without is not finished, see the test below.
    pub told: Option<Told>,
}

const fn get(path: &'static str, least: Option<Role>, area: Area, page: Page) -> Route {
    Route { method: Method::Get, path, least, area, page, told: None }
}

const fn post(path: &'static str, least: Option<Role>, area: Area, page: Page) -> Route {
    Route { method: Method::Post, path, least, area, page, told: None }
}

impl Route {
    /// Answers a program JSON: `T` is the type that is serialised.
    const fn tells<T: JsonSchema>(self, what: &'static str) -> Self {
        self.told(Told::new(what, Answers::Json(200, shape::<T>)))
    }

    /// Makes something, which it answers with 201: `T` is the type that is serialised.
    const fn makes<T: JsonSchema>(self, what: &'static str) -> Self {
        self.told(Told::new(what, Answers::Json(201, shape::<T>)))
    }

    /// Does something, and answers that it is done.
    const fn does(self, what: &'static str) -> Self {
        self.tells::<Done>(what)
    }

    /// Answers a file of one of these types.
    const fn file(self, kinds: &'static [&'static str], what: &'static str) -> Self {
        self.told(Told::new(what, Answers::File(kinds)))
    }

    /// Has nothing for programs; why.
    const fn people(self, why: &'static str) -> Self {
        self.told(Told::new(why, Answers::People))
    }

    const fn told(self, told: Told) -> Self {
        Self { told: Some(told), ..self }
    }

    /// Takes these words in its query.
    const fn asks(self, words: &'static [Word]) -> Self {
        match self.told {
            Some(told) => self.told(Told { asks: words, ..told }),
            None => self,
        }
    }

    /// Takes these words in its body.
    const fn takes(self, words: &'static [Word]) -> Self {
        match self.told {
            Some(told) => self.told(Told { takes: words, ..told }),
            None => self,
        }
    }

    /// May answer with this status and type, too.
    const fn or<T: JsonSchema>(self, status: u16) -> Self {
        match self.told {
            Some(told @ Told { others: [None, _], .. }) => {
                self.told(Told { others: [Some((status, shape::<T>)), None], ..told })
            }
            Some(told @ Told { others: [first, _], .. }) => {
                self.told(Told { others: [first, Some((status, shape::<T>))], ..told })
            }
            None => self,
        }
    }

    /// Refuses with one of these as well, besides what is refused at the door.
    const fn wrong(self, statuses: &'static [u16]) -> Self {
        match self.told {
            Some(told) => self.told(Told { wrong: statuses, ..told }),
            None => self,
        }
    }
}

const ANYBODY: Option<Role> = None;
const VIEWER: Option<Role> = Some(Role::Viewer);
const EDITOR: Option<Role> = Some(Role::Editor);
const ADMIN: Option<Role> = Some(Role::Admin);
const CSV: &str = "text/csv";
/// Why programs do not come by the door.
const DOOR: &str = "programs have tokens";

/// All of them.
pub static ROUTES: &[Route] = &[
    get("/", VIEWER, Area::Status, overview::show)
        .tells::<overview::Overview>("What runs, what is wrong, machines and events of the last day"),
    get("/status", VIEWER, Area::Status, status::show)
        .tells::<status::Status>("What `zentral status` tells")
        .or::<status::Status>(503),
    get("/start", VIEWER, Area::Status, start::show)
        .tells::<start::Start>("What a new hub needs, and what of it is done"),
    get("/machines", VIEWER, Area::Machines, machines::list)
        .tells::<machines::Machines>("Machines, searched and sorted")
        .asks(machines::WORDS),
    get("/machines.csv", VIEWER, Area::Machines, machines::csv)
        .file(&[CSV], "All of them for a spreadsheet; what would be a formula there has a `'` before it")
        .asks(machines::CSV_WORDS),
    get("/machines/{key}", VIEWER, Area::Machines, machine::show).tells::<machine::Machine>(
        "What `zentral machine show` tells, and the probes, packs and rules that are for it",
    ),
    get("/machines/{key}/history", VIEWER, Area::Machines, machine::history::show)
        .tells::<machine::history::History>("What changed on it, snapshot by snapshot, the newest first")
        .asks(machine::history::WORDS),
    get("/machines/{key}/compare", VIEWER, Area::Machines, machine::compare::show)
        .tells::<machine::compare::Compare>("What is another between two times")
        .asks(machine::compare::WORDS),
    get("/machines/{key}/things/{kind}", VIEWER, Area::Machines, machine::things::show)
        .tells::<machine::things::Things>("All that it has of a kind")
        .asks(machine::things::WORDS),
    post("/machines/{key}/tags", EDITOR, Area::Machines, machine::edit::tag)
        .does("Gives and takes tags")
        .takes(machine::edit::TAG_WORDS),
    post("/machines/{key}/sync", EDITOR, Area::Machines, machine::edit::sync)
        .does("Orders a clean sync of its Santa")
        .takes(machine::edit::SYNC_WORDS)
        .wrong(&[409]),
    post("/machines/{key}/approve", EDITOR, Area::Machines, machine::edit::approve)
        .does("Lets in what waits to enrol as this machine")
        .takes(machine::edit::APPROVE_WORDS)
        .wrong(&[409]),
    get("/machines/{key}/forget", ADMIN, Area::Machines, machine::forget::ask)
        .tells::<machine::forget::Forget>("What goes and what stays if it is forgotten"),
    post("/machines/{key}/forget", ADMIN, Area::Machines, machine::forget::forget)
        .tells::<machine::forget::Forget>("Forgets it"),
    get("/events", VIEWER, Area::Events, events::search)
        .tells::<events::Search>("Events, newest first, and how many by a field and over time")
        .asks(events::WORDS),
    get("/events/{id}", VIEWER, Area::Events, event::show).tells::<event::Event>("One event"),
    get("/events/{id}/raw", VIEWER, Area::Events, event::raw)
        .tells::<::event::Event>("The event as it lies in the store"),
    get("/events/{id}/explain", VIEWER, Area::Probes, explain::show)
        .tells::<explain::Page>("Why filters matched it, or did not, clause by clause")
        .asks(explain::WORDS),
    get("/probes", VIEWER, Area::Probes, probes::list)
        .tells::<probes::Probes>("Probes, searched and sorted")
        .asks(probes::WORDS)
        .wrong(&[404]),
    get("/probes/{name}", VIEWER, Area::Probes, probe::show)
        .tells::<probe::Probe>("One, with its filter, examples and latest matches")
        .asks(probe::WORDS),
    get("/probes/{name}/edit", EDITOR, Area::Probes, play::form)
        .people("a form; the filter is in `GET /probes/{name}`"),
    post("/probes/{name}/try", EDITOR, Area::Probes, play::tried)
        .tells::<play::Bench>("Runs a filter over stored events, beside the one that runs")
        .takes(play::TRY_WORDS)
        .or::<play::Bench>(400)
        .wrong(&[413, 429, 500]),
    post("/probes/{name}/save", EDITOR, Area::Probes, play::save)
        .tells::<play::Saved>("Writes the filter, over the text that was seen")
        .takes(play::SAVE_WORDS)
        .or::<play::Bench>(400)
        .or::<play::Theirs>(409),
    get("/playground", EDITOR, Area::Probes, play::form)
        .tells::<play::Bench>("What a trial tells, before anything is tried"),
    post("/playground", EDITOR, Area::Probes, play::tried)
        .tells::<play::Bench>("Runs a filter of no probe over stored events")
        .takes(play::TRY_WORDS)
        .or::<play::Bench>(400)
        .wrong(&[413, 429, 500]),
    post("/playground/file", EDITOR, Area::Probes, play::file).people("gives back the text that it got"),
    get("/examples", EDITOR, Area::Probes, example::form)
        .tells::<example::Page>("What a probe's filter says of an event")
        .asks(example::ASK_WORDS)
        .wrong(&[404, 413]),
    post("/examples", EDITOR, Area::Probes, example::add)
        .makes::<example::Added>("Adds an event to the examples of a filter")
        .takes(example::ADD_WORDS)
        .wrong(&[404, 409, 413]),
    get("/shipped", VIEWER, Area::Probes, shipped::list)
        .tells::<shipped::Shelf>("The probes that ship")
        .asks(shipped::WORDS),
    get("/shipped/{name}", VIEWER, Area::Probes, shipped::one::show)
        .tells::<shipped::one::One>("One of them, with its query, filter and examples"),
    get("/shipped/{name}/files/{file}", VIEWER, Area::Probes, shipped::one::file)
        .file(&["text/plain"], "One of its files"),
    post("/shipped/{name}/take", EDITOR, Area::Probes, shipped::one::take)
        .tells::<shipped::one::Taken>("Writes its files, with `edit = true`")
        .takes(shipped::one::TAKE_WORDS)
        .wrong(&[409]),
    get("/incidents", VIEWER, Area::Incidents, incidents::list)
        .tells::<incidents::Incidents>("Incidents, the last seen first")
        .asks(incidents::WORDS),
    get("/incidents/{id}", VIEWER, Area::Incidents, incident::show).tells::<incident::Page>("One, with its history"),
    post("/incidents/{id}/take", EDITOR, Area::Incidents, incident::take)
        .does("Takes it")
        .takes(incident::WORDS)
        .wrong(&[409]),
    post("/incidents/{id}/comment", EDITOR, Area::Incidents, incident::comment)
        .does("Comments on it")
        .takes(incident::COMMENT_WORDS)
        .wrong(&[409]),
    post("/incidents/{id}/close", EDITOR, Area::Incidents, incident::close)
        .does("Closes it")
        .takes(incident::WORDS)
        .wrong(&[409]),
    get("/actions", VIEWER, Area::Actions, actions::list)
        .tells::<actions::Actions>("What became of deliveries in the last day, what waits, what is dead")
        .asks(actions::WORDS),
    get("/connect", EDITOR, Area::Actions, connect::list).tells::<connect::Kinds>("The kinds of action that there are"),
    get("/connect/{kind}", EDITOR, Area::Actions, connect::show)
        .tells::<connect::One>("The table of a kind to paste, and where its secret goes")
        .asks(connect::WORDS)
        .or::<connect::One>(400),
    get("/actions/{name}", VIEWER, Area::Actions, action::show)
        .tells::<action::Page>("One, with its dead letters")
        .asks(action::WORDS),
    post("/actions/{name}/mute", EDITOR, Area::Actions, action::mute)
        .does("Holds back the messages of an action, or of a probe, for a time")
        .takes(action::MUTE_WORDS),
    post("/actions/{name}/resume", EDITOR, Area::Actions, action::resume)
        .does("Lets an action that stopped or is muted, or a probe, go on"),
    post("/actions/{name}/try", EDITOR, Area::Actions, action::try_it)
        .does("Sends once, marked as a test")
        .takes(action::TRY_WORDS),
    post("/actions/{name}/retry", EDITOR, Area::Actions, action::retry)
        .does("Sends dead letters again: one, or the oldest 10,000 that were dead then")
        .takes(action::LETTER_WORDS)
        .wrong(&[409]),
    post("/actions/{name}/drop", EDITOR, Area::Actions, action::forget)
        .does("Drops dead letters: one, or the oldest 10,000 that were dead then")
        .takes(action::LETTER_WORDS)
        .wrong(&[409]),
    get("/query", EDITOR, Area::Query, queries::form)
        .tells::<queries::Form>("What was asked of machines, the newest first")
        .asks(queries::WORDS),
    post("/query", EDITOR, Area::Query, queries::ask)
        .tells::<queries::Sure>("Asks machines; without `sure` it tells how many it would reach")
        .takes(queries::ASK_WORDS)
        .or::<queries::Sent>(201),
    get("/query/{id}", EDITOR, Area::Query, query::show)
        .tells::<query::Page>("One, with the rows that have come")
        .asks(query::WORDS),
    get("/query/{id}/rows.csv", EDITOR, Area::Query, query::csv)
        .file(&[CSV], "All rows that have come, at most 100,000, for a spreadsheet")
        .wrong(&[413]),
    post("/query/{id}/cancel", EDITOR, Area::Query, query::cancel).does("Ends it").wrong(&[409]),
    get("/sources", VIEWER, Area::Sources, sources::list)
        .tells::<sources::Sources>("Who speaks, and when machines were heard"),
    get("/sources/{name}", VIEWER, Area::Sources, sources::show)
        .tells::<sources::Source>("One; with `santa`, `munki` or `pulled` if it is one of these"),
    get("/sources/santa/try", VIEWER, Area::Sources, sources::trial::show)
        .tells::<sources::trial::Trial>("What a new rule of Santa's would have blocked")
        .asks(sources::trial::WORDS),
    get("/enrol", VIEWER, Area::Enrol, enrol::list)
        .tells::<enrol::Enrol>("Enrolments, those that let machines in first, and how many came")
        .asks(enrol::WORDS),
    post("/enrol", EDITOR, Area::Enrol, enrol::make)
        .makes::<enrol::Made>("Makes an enrolment; the answer holds its secret")
        .takes(enrol::MAKE_WORDS)
        .wrong(&[409]),
    get("/enrol/{id}", VIEWER, Area::Enrol, enrol::one::show).tells::<enrol::one::One>("One, and who came by it"),
    post("/enrol/{id}/package", EDITOR, Area::Enrol, enrol::one::package)
        .file(enrol::one::TYPES, "Its package, which holds the secret")
        .takes(enrol::one::PACKAGE_WORDS)
        .wrong(&[409]),
    post("/enrol/{id}/revoke", EDITOR, Area::Enrol, enrol::one::revoke).does("Lets nobody in by it any more"),
    get("/users", ADMIN, Area::Users, users::list).tells::<users::Access>("People and tokens"),
    post("/users", ADMIN, Area::Users, users::add)
        .makes::<users::Link>("Adds somebody; the link is for them to choose a password")
        .takes(users::ADD_WORDS)
        .wrong(&[409]),
    post("/users/{name}/role", ADMIN, Area::Users, users::role)
        .does("Gives another role")
        .takes(users::ROLE_WORDS)
        .wrong(&[409]),
    post("/users/{name}/email", ADMIN, Area::Users, users::email)
        .does("Says by which address single sign-on knows them")
        .takes(users::EMAIL_WORDS)
        .wrong(&[409]),
    post("/users/{name}/link", ADMIN, Area::Users, users::link)
        .makes::<users::Link>("Makes a link by which they choose a password")
        .wrong(&[409]),
    post("/users/{name}/remove", ADMIN, Area::Users, users::remove)
        .does("Removes somebody; their sessions end")
        .wrong(&[409]),
    post("/tokens", ADMIN, Area::Users, tokens::make)
        .makes::<tokens::Made>("Makes a token, which is told this once")
        .takes(users::TOKEN_WORDS),
    post("/tokens/{id}/revoke", ADMIN, Area::Users, tokens::revoke).does("Ends a token"),
    get("/login", ANYBODY, Area::Door, login::form).people(DOOR),
    post("/login", ANYBODY, Area::Door, login::enter).people(DOOR),
    get("/login/oidc", ANYBODY, Area::Door, sign_on::begin).people(DOOR),
    get("/login/oidc/callback", ANYBODY, Area::Door, sign_on::finish).people(DOOR),
    get("/link/{secret}", ANYBODY, Area::Door, login::link).people(DOOR),
    post("/link/{secret}", ANYBODY, Area::Door, login::take).people(DOOR),
    post("/logout", VIEWER, Area::Door, login::leave).people(DOOR),
    post("/theme", ANYBODY, Area::Door, login::theme).people(DOOR),
    get("/assets/{name}", ANYBODY, Area::Files, assets::serve).people("files of the pages"),
    get("/healthz", ANYBODY, Area::Files, assets::health).tells::<assets::Health>("Whether the console is there"),
    get("/openapi.json", ANYBODY, Area::Files, openapi::serve)
        .tells::<serde_json::Map<String, serde_json::Value>>("This description"),
];
