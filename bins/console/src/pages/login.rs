//! Signing in and out: with a password, or by the link that lets somebody choose one.

use askama::Template;
use event::Time;
use hyper::header::RETRY_AFTER;
use pipe::config::is_name;
use registry::db::DbError;
use registry::users::sessions::Way;
use registry::users::{self, links, sessions, tries};
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::{Asked, local};
use crate::cookies::Cookie;
use crate::{password, text};

#[derive(Template, Serialize)]
#[template(path = "login.html")]
struct Login {
    #[serde(skip)]
    head: Head,
    #[serde(skip)]
    next: String,
    #[serde(skip)]
    name: String,
    error: String,
    /// Nobody is known yet: the page says how the first user is made.
    #[serde(skip)]
    empty: bool,
    /// Where single sign-on begins, and the host that it asks.
    #[serde(skip)]
    sign_on: Option<(String, String)>,
}

#[derive(Template, Serialize)]
#[template(path = "link.html")]
struct Link {
    #[serde(skip)]
    head: Head,
    #[serde(skip)]
    secret: String,
    name: String,
    error: String,
}

/// The form.
pub fn form(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    // Whom a group lets in need not be known before.
    let by_group = app.live().conf.oidc.as_ref().is_some_and(|oidc| oidc.by_group());
    let empty = app.registry(users::list)?.is_empty() && !by_group;
    page(app, asked, asked.word("next"), "", "", empty)
}

/// The form again, above it what went wrong.
pub fn again(app: &App, asked: &Asked, next: &str, name: &str, error: &str) -> Result<Answer, Wrong> {
    page(app, asked, next, name, error, false)
}

fn page(app: &App, asked: &Asked, next: &str, name: &str, error: &str, empty: bool) -> Result<Answer, Wrong> {
    let (next, name, error) = (local(next).to_owned(), name.to_owned(), error.to_owned());
    // It begins where it ends: a cookie of another name would not come back with the person.
    let sign_on = app.live().conf.oidc.as_ref().map(|oidc| {
        let query = text::query(&[("next", &next)]);
        (format!("{}/login/oidc?{query}", app.live().base(asked)), oidc.host().to_owned())
    });
    // Its forms come back here, whatever was asked.
    let head = Head { address: "/login".to_owned(), ..Head::new(asked, "Sign in") };
    Answer::page(asked, &Login { head, next, name, error, empty, sign_on })
}

/// A name and a password.
pub fn enter(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = asked.field("name").trim().to_lowercase();
    let again =
        |status: u16, error: &str| again(app, asked, asked.field("next"), &name, error).map(|page| page.status(status));
    // What is no name is nobody's; it counts for the address all the same.
    let account = if is_name(&name) { name.as_str() } else { "" };
    let address = network(asked.client);
    if !app.write(|tx, now| tries::count(tx, account, &address, now))? {
        let minutes = tries::WITHIN / 60_000;
        let error = format!("Too many tries. Wait {minutes} minutes, or ask an admin for a link.");
        return Ok(again(429, &error)?.header(RETRY_AFTER, &(tries::WITHIN / 1000).to_string()));
    }
    let hash = app.registry(|db| users::password(db, account))?;
    let right = {
        let _turn = app.hashing();
        password::is_right(asked.field("password"), hash.as_deref())
    };
    let ip = asked.client.to_string();
    if !right {
        app.write(|tx, now| tries::failed(tx, account, &ip, now))?;
        return again(401, "Name or password is wrong.");
    }
    let secret = app.write(|tx, now| {
        tries::forgive(tx, account)?;
        sessions::begin(tx, account, Way::Password, Some(ip), now)
    })?;
    Ok(Answer::to(local(asked.field("next"))).cookie(Cookie::Session, &secret, asked.secure))
}

/// Whose tries count together: an address, of IPv6 its /64, which one household has.
pub fn network(client: std::net::IpAddr) -> String {
    match client {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Signs out.
pub fn leave(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    if let Some(secret) = &asked.session {
        app.write(|tx, now| sessions::end(tx, secret, &asked.by(), now))?;
    }
    Ok(Answer::to("/login").cookie(Cookie::Session, "", asked.secure))
}

fn gone() -> Wrong {
    let advice = "A link holds for an hour and for once. `zentral user link NAME`, or an admin on the page Access, makes another.";
    Wrong::new(410, "This link does not hold any more.", advice)
}

/// The form of a link.
pub fn link(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let secret = asked.part("secret");
    let name = app.registry(|db| links::whose(db, secret, Time::now()))?.ok_or_else(gone)?;
    let head = Head { address: "/".to_owned(), ..Head::new(asked, "Choose a password") };
    Answer::page(asked, &Link { head, secret: secret.to_owned(), name, error: String::new() })
}

/// A new password by a link; whoever has it has signed in.
pub fn take(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (secret, chosen) = (asked.part("secret"), asked.field("password"));
    let name = app.registry(|db| links::whose(db, secret, Time::now()))?.ok_or_else(gone)?;
    if let Some(error) = password::wrong(chosen, asked.field("again"), &name) {
        let head = Head { address: "/".to_owned(), ..Head::new(asked, "Choose a password") };
        let page = Link { head, secret: secret.to_owned(), name, error };
        return Ok(Answer::page(asked, &page)?.status(400));
    }
    let hash = {
        let _turn = app.hashing();
        password::hash(chosen).map_err(|why| Wrong::new(500, why, ""))?
    };
    let ip = Some(asked.client.to_string());
    let session = app.write(|tx, now| {
        let Some(name) = links::take(tx, secret, &hash, ip.clone(), now)? else { return Ok(None) };
        Ok::<_, DbError>(Some(sessions::begin(tx, &name, Way::Link, ip.clone(), now)?))
    })?;
    Ok(Answer::to("/").cookie(Cookie::Session, &session.ok_or_else(gone)?, asked.secure))
}

/// Chooses dark or light.
pub fn theme(_: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let theme = ["dark", "light"].into_iter().find(|word| *word == asked.field("theme"));
    let theme = theme.ok_or_else(|| Wrong::new(400, "There is a dark and a light theme.", ""))?;
    Ok(Answer::to(local(asked.field("next"))).cookie(Cookie::Theme, theme, asked.secure))
}

/// The address of a link, for the person who is to have it.
pub fn address(base: &str, secret: &str) -> String {
    format!("{base}/link/{}", text::part(secret))
}
