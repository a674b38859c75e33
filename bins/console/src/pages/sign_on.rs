//! Single sign-on: to the provider, and back.

use event::Time;
use hyper::header::RETRY_AFTER;
use registry::users::sessions::{self, Way};
use registry::users::{By, random, sign_on, tries};

use super::login;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::{Asked, local};
use crate::cookies::Cookie;
use crate::oidc::{self, Begun, Provider, Trouble};

/// Bytes of an address to come back to; longer ones are forgotten.
const NEXT_MAX: usize = 2048;
/// Characters of what the provider answers that the page shows.
const SAID_MAX: usize = 300;

fn provider(app: &App) -> Result<std::sync::Arc<Provider>, Wrong> {
    app.live().provider.clone().ok_or_else(|| Wrong::not_found("page"))
}

/// Where the provider sends people.
fn back(app: &App, asked: &Asked) -> String {
    format!("{}/login/oidc/callback", app.live().base(asked))
}

/// What went wrong with the provider, for whoever waits; the log says more.
fn trouble(app: &App, asked: &Asked, next: &str, trouble: &Trouble) -> Result<Answer, Wrong> {
    tracing::warn!("single sign-on: {trouble}");
    let (status, text) = match trouble {
        Trouble::Away(why) => {
            (503, format!("Single sign-on does not answer ({why}). Try again soon, or use a password."))
        }
        Trouble::Odd(_) => {
            (502, "The answer of single sign-on cannot be trusted. The log of the console says why.".into())
        }
    };
    Ok(login::again(app, asked, next, "", &text)?.status(status))
}

/// To the provider.
pub fn begin(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let provider = provider(app)?;
    let next = local(asked.word("next"));
    // The cookie that forms before signing in are bound to: this browser has it, and no other.
    let visit = match (&asked.visit, &asked.new_visit) {
        (Some(visit), _) | (None, Some(visit)) => visit.clone(),
        (None, None) => random()?,
    };
    let begun = Begun {
        state: random()?,
        nonce: random()?,
        verifier: random()?,
        visit: visit.clone(),
        next: if next.len() <= NEXT_MAX { next.to_owned() } else { "/".to_owned() },
        network: login::network(asked.client),
        at: Time::now().ms(),
    };
    match provider.begin(&begun, &back(app, asked)) {
        Ok(to) => {
            app.waiting().add(begun);
            let answer = Answer::to(&to);
            Ok(if asked.visit.is_none() { answer.cookie(Cookie::Visit, &visit, asked.secure) } else { answer })
        }
        Err(why) => trouble(app, asked, next, &why),
    }
}

/// And back.
pub fn finish(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let provider = provider(app)?;
    let Some(begun) = app.waiting().take(asked.word("state"), asked.visit.as_deref()) else {
        // Whatever else this address says was not asked for by this browser.
        let minutes = oidc::HOLDS.as_secs() / 60;
        let text =
            format!("This sign-in was not begun here, took longer than {minutes} minutes, or was used. Begin anew.");
        return Ok(login::again(app, asked, "/", "", &text)?.status(400));
    };
    let again = |status: u16, text: &str| Ok(login::again(app, asked, &begun.next, "", text)?.status(status));
    let (network, ip) = (login::network(asked.client), asked.client.to_string());
    if !app.write(|tx, now| tries::count_sign_on(tx, &network, now))? {
        let minutes = tries::WITHIN / 60_000;
        let page: Result<_, Wrong> = again(429, &format!("Too many tries that failed. Wait {minutes} minutes."));
        return Ok(page?.header(RETRY_AFTER, &(tries::WITHIN / 1000).to_string()));
    }
    let refused = asked.word("error");
    if !refused.is_empty() {
        let said = [refused, asked.word("error_description")].into_iter().filter(|word| !word.is_empty());
        let said = oidc::bounded(&said.collect::<Vec<_>>().join(": "), SAID_MAX);
        app.write(|tx, now| sign_on::failed(tx, None, &said, &ip, now))?;
        return again(403, &format!("{} answers: {said}", provider.conf().host()));
    }
    let came = oidc::Asked {
        code: asked.word("code"),
        issuer: asked.word("iss"),
        back: &back(app, asked),
        now: Time::now().ms(),
    };
    let (identity, given) = match provider.finish(&begun, &came) {
        Ok(found) => found,
        Err(why) => {
            app.write(|tx, now| sign_on::failed(tx, None, &why.to_string(), &ip, now))?;
            return trouble(app, asked, &begun.next, &why);
        }
    };
    let by = By { who: Way::SignOn.word().to_owned(), ip: Some(ip.clone()) };
    let entered =
        app.write::<_, registry::db::DbError>(|tx, now| match sign_on::find(tx, &identity, given, &by, now)? {
            Ok(user) => {
                tries::signed_on(tx, &network)?;
                Ok(Ok(sessions::begin(tx, &user.name, Way::SignOn, Some(ip.clone()), now)?))
            }
            Err(denied) => {
                sign_on::failed(tx, Some(&identity), &denied.to_string(), &ip, now)?;
                Ok(Err(denied))
            }
        })?;
    match entered {
        Ok(secret) => Ok(Answer::to(&begun.next).cookie(Cookie::Session, &secret, asked.secure)),
        Err(denied) => again(403, &format!("You may not come in: {denied}. An admin can let you in.")),
    }
}
