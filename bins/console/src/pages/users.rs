//! Access: who may come in, with which role, and the links by which they choose a password.

use askama::Template;
use event::Time;
use pipe::config::is_name;
use registry::users::{self, Role, User, links, sign_on, tokens};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Head, login};
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::routes::Area;
use crate::text;

/// A user as the page shows one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserRow {
    pub name: String,
    pub role: &'static str,
    pub units: Vec<String>,
    pub active: bool,
    pub created: String,
    /// The address by which single sign-on knows them.
    pub email: Option<String>,
    /// They have come in by single sign-on.
    #[serde(skip)]
    pub bound: bool,
    /// Their groups at the provider say what they may.
    pub by_group: bool,
    #[serde(skip)]
    pub me: bool,
}

/// A token as the page shows one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub role: &'static str,
    pub units: Vec<String>,
    pub scopes: Vec<String>,
    pub created: String,
    pub expires: Option<String>,
    #[serde(skip)]
    pub ended: bool,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "users.html")]
pub struct Access {
    #[serde(skip)]
    pub head: Head,
    pub users: Vec<UserRow>,
    pub tokens: Vec<TokenRow>,
    /// A link or a token that was just made: for whom, and what.
    #[serde(skip)]
    pub made: Option<(String, String)>,
    #[serde(skip)]
    pub roles: Vec<&'static str>,
    #[serde(skip)]
    pub units: Vec<String>,
    #[serde(skip)]
    pub scopes: Vec<&'static str>,
    /// There is single sign-on.
    #[serde(skip)]
    pub sign_on: bool,
}

const NAME: Word = Word::new("name", Kind::Text(63), "Made of a-z, 0-9 and -").needed();
const ROLE: Word =
    Word::new("role", Kind::OneOf(&["viewer", "editor", "admin"]), "What they may do").needed().like("viewer");
const EMAIL: Word =
    Word::new("email", Kind::Text(254), "By which single sign-on knows them; none").like("somebody@example.com");
const UNITS: Word = Word::new("units", Kind::List, "The units that they are kept to; all");
/// What is taken of somebody new.
pub const ADD_WORDS: &[Word] = &[NAME, ROLE, UNITS, EMAIL];
/// What is taken of an address.
pub const EMAIL_WORDS: &[Word] = &[EMAIL];
/// What is taken of a role.
pub const ROLE_WORDS: &[Word] = &[ROLE, UNITS];
/// What is taken of a token.
pub const TOKEN_WORDS: &[Word] = &[
    NAME,
    ROLE,
    UNITS,
    Word::new("scopes", Kind::List, "The parts of the console that it is for; all").like("machines,events"),
    Word::new("expires", Kind::Age, "When it ends, from now on; when it is revoked").like("90d"),
];

/// A link that was just made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Link {
    user: String,
    /// By which they choose a password.
    link: String,
    /// For how long.
    holds: &'static str,
}

/// The page, and above the lists what was just made.
pub fn page(app: &App, asked: &Asked, made: Option<(String, String)>) -> Result<Answer, Wrong> {
    let (users, tokens) = app.registry(|db| Ok((users::list(db)?, tokens::list(db)?)))?;
    let me = asked.who.as_ref().filter(|who| who.token.is_none()).map(|who| who.name.clone());
    let (now, at) = (Time::now().ms(), |ms| Time::from_ms(ms).to_string());
    let user = |User { name, role, units, active, created, email, bound, by_group }: User| {
        let me = me.as_ref() == Some(&name);
        UserRow { name, role: role.word(), units, active, created: at(created), email, bound, by_group, me }
    };
    let token = |t: tokens::Token| TokenRow {
        ended: t.expires.is_some_and(|end| end <= now),
        expires: t.expires.map(at),
        created: at(t.created),
        role: t.role.word(),
        id: t.id,
        name: t.name,
        units: t.units,
        scopes: t.scopes,
    };
    let page = Access {
        head: Head { address: "/users".to_owned(), ..Head::new(asked, "Access") },
        users: users.into_iter().map(user).collect(),
        tokens: tokens.into_iter().map(token).collect(),
        made,
        roles: Role::ALL.map(Role::word).to_vec(),
        units: app.live().config.units.keys().cloned().collect(),
        scopes: Area::SCOPES.map(Area::word).to_vec(),
        sign_on: app.live().conf.oidc.is_some(),
    };
    Answer::page(asked, &page)
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    page(app, asked, None)
}

/// The role that a form names.
pub fn role_of(asked: &Asked) -> Result<Role, Wrong> {
    let wrong = || Wrong::new(400, "A role is viewer, editor or admin.", "");
    Role::of(asked.field("role")).ok_or_else(wrong)
}

/// Words with commas or spaces between them, each of which must be known.
pub fn words_of(asked: &Asked, field: &str, what: &str, known: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Wrong> {
    let words = asked.field(field).split([',', ' ']).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    match words.iter().find(|word| !known(word)) {
        Some(odd) => Err(Wrong::new(400, format!("There is no {what} `{}`.", text::short(odd)), "")),
        None => Ok(words),
    }
}

fn units_of(app: &App, asked: &Asked) -> Result<Vec<String>, Wrong> {
    let config = app.live().config.clone();
    words_of(asked, "units", "unit", &|unit| config.units.contains_key(unit))
}

/// What was made: for a person above the page, for a program alone.
pub fn tell(app: &App, asked: &Asked, whom: String, secret: String, what: &impl Serialize) -> Result<Answer, Wrong> {
    if asked.json {
        return Ok(Answer::json(what)?.status(201));
    }
    page(app, asked, Some((whom, secret)))
}

fn told(app: &App, asked: &Asked, name: &str, secret: &str) -> Result<Answer, Wrong> {
    let base = app.live().base(asked);
    let link = login::address(&base, secret);
    let what = Link { user: name.to_owned(), link: link.clone(), holds: "1h" };
    tell(app, asked, format!("The link for {name}, good for one hour and for once"), link, &what)
}

pub fn add(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = asked.field("name").trim().to_lowercase();
    if !is_name(&name) {
        return Err(Wrong::new(400, "A name is made of a-z, 0-9 and -, at most 63 of them.", ""));
    }
    let (role, units, by) = (role_of(asked)?, units_of(app, asked)?, asked.by());
    let secret = app.write(|tx, now| {
        users::add(tx, &name, role, &units, &by, now)?;
        if let Some(email) = email_of(asked) {
            sign_on::set_email(tx, &name, Some(email), &by, now)?;
        }
        links::make(tx, &name, &by, now)
    })?;
    told(app, asked, &name, &secret)
}

/// The address by which single sign-on knows somebody; none: it does not.
fn email_of(asked: &Asked) -> Option<&str> {
    Some(asked.field("email").trim()).filter(|email| !email.is_empty())
}

pub fn email(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    app.write(|tx, now| sign_on::set_email(tx, asked.part("name"), email_of(asked), &asked.by(), now))?;
    done(asked)
}

pub fn link(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = asked.part("name");
    let secret = app.write(|tx, now| links::make(tx, name, &asked.by(), now))?;
    told(app, asked, name, &secret)
}

pub fn role(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (role, units) = (role_of(asked)?, units_of(app, asked)?);
    app.write(|tx, now| users::set_role(tx, asked.part("name"), role, &units, &asked.by(), now))?;
    done(asked)
}

pub fn remove(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    app.write(|tx, now| users::remove(tx, asked.part("name"), &asked.by(), now))?;
    done(asked)
}

/// Back to the list; a program hears that it is done.
pub fn done(asked: &Asked) -> Result<Answer, Wrong> {
    Ok(Answer::done(asked, "/users"))
}
