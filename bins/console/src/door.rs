//! The way of a request: is it meant for us, who asks, may they, what is the answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::routing::{MethodFilter, on};
use event::Time;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST};
use hyper::http::request::Parts;
use hyper::service::Service as _;
use hyper::{HeaderMap, Response};
use hyper_util::service::TowerToHyperService;
use registry::db::DbError;
use registry::users::{sessions, tokens};

use crate::answer::{Answer, JSON, Wrong};
use crate::api::judge::judge;
use crate::app::App;
use crate::ask::{Asked, Who, kind_is};
use crate::headers;
use crate::routes::{Area, Method, ROUTES, Route};
use crate::text;

/// Bytes of a form.
const BODY_MAX: usize = 64 << 10;
/// How long a form may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers requests.
pub struct Door {
    app: Arc<App>,
    router: TowerToHyperService<Router>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

impl Door {
    pub fn new(app: Arc<App>) -> Self {
        let mut router = Router::new();
        for route in ROUTES {
            let method = match route.method {
                Method::Get => MethodFilter::GET,
                Method::Post => MethodFilter::POST,
            };
            let app = app.clone();
            let answer = move |path: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
                answer(app.clone(), route, path, request)
            };
            router = router.route(route.path, on(method, answer));
        }
        let (missing, other) = (app.clone(), app.clone());
        let router = router
            .fallback(move |request: Request| refuse(missing.clone(), request, Wrong::not_found("page")))
            .method_not_allowed_fallback(move |request: Request| {
                refuse(other.clone(), request, Wrong::new(405, "That is not asked in this way.", ""))
            });
        Self { app, router: TowerToHyperService::new(router) }
    }

    /// The answer, with the headers that every answer has.
    pub async fn answer(&self, peer: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
        request.extensions_mut().insert(Peer(peer));
        let (tls, meant) = (self.app.live().conf.secure(), is_for_us(&self.app, request.headers()));
        let mut response = if meant {
            match self.router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        } else {
            // A name that an attacker points at this address must not be a way in (DNS rebinding).
            let text = "{\"error\":\"this console has another name: see `url` of [stage.console]\"}\n";
            Answer::file("application/json", text.into()).status(421).response()
        };
        headers::secure(&mut response, tls);
        response
    }
}

/// Whether the browser calls us by a name that nobody else can point at us: that of `url`, an address, or `localhost`.
fn is_for_us(app: &App, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| is_ours(host, app.live().conf.url.as_ref().map(|url| url.host.as_str())))
}

fn is_ours(host: &str, url: Option<&str>) -> bool {
    if url.is_some_and(|url| url.eq_ignore_ascii_case(host)) {
        return true;
    }
    let name = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok() || name.eq_ignore_ascii_case("localhost")
}

async fn answer(
    app: Arc<App>,
    route: &'static Route,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response<Body> {
    let Ok(path) = path else { return refuse(app, request, Wrong::new(400, "This address is no text.", "")).await };
    let path: BTreeMap<String, String> = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect());
    let body = match route.method {
        Method::Get => Ok(Vec::new()),
        Method::Post => match read.await {
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                Err(Wrong::new(413, "The form is too large.", format!("At most {} kB are taken.", BODY_MAX >> 10)))
            }
            Ok(Err(_)) => Err(Wrong::new(400, "The form could not be read.", "")),
            Err(_) => Err(Wrong::new(408, "The form took too long to arrive.", "")),
        },
    };
    let body = body.and_then(|body| if body.is_empty() || is_form(&parts.headers) { Ok(body) } else { Err(no_form()) });
    made(app, parts, path, body, move |app, asked| {
        match admit(app, route, asked) {
            // A name of a thing is text, and no text that is kept anywhere holds a NUL.
            Ok(()) if asked.path.values().any(|value| value.contains('\0')) => Err(Wrong::not_found("thing")),
            Ok(()) => {
                if let (true, Some(told)) = (asked.json && route.area != Area::Files, &route.told) {
                    judge(told, asked)?;
                }
                (route.page)(app, asked)
            }
            // A person who opens a page signs in and comes back to it.
            Err(wrong) if wrong.status == 401 && route.method == Method::Get && !asked.json => {
                Ok(Answer::to(&format!("/login?{}", text::query(&[("next", &asked.address)]))))
            }
            Err(wrong) => Err(wrong),
        }
    })
    .await
}

/// Whether a body is said to be what is read: a form, or an object in its place.
fn is_form(headers: &HeaderMap) -> bool {
    ["application/x-www-form-urlencoded", JSON].iter().any(|known| kind_is(headers, known))
}

fn no_form() -> Wrong {
    let advice = "Send application/json or application/x-www-form-urlencoded.";
    Wrong::new(415, "The body is neither a JSON object nor a form.", advice)
}

async fn refuse(app: Arc<App>, request: Request, wrong: Wrong) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let allow = (wrong.status == 405).then(|| allowed(parts.uri.path()));
    let mut response = made(app, parts, BTreeMap::new(), Ok(Vec::new()), |app, asked| {
        asked.who = who(app, asked).unwrap_or_default();
        Err(wrong)
    })
    .await;
    if let Some(allow) = allow.and_then(|allow| allow.parse().ok()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// How a path that is there may be asked.
fn allowed(path: &str) -> &'static str {
    let like = |route: &&Route| {
        let (a, b) = (route.path.split('/'), path.split('/'));
        a.clone().count() == b.clone().count() && a.zip(b).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let has = |method| ROUTES.iter().filter(like).any(|route| route.method == method);
    match (has(Method::Get), has(Method::Post)) {
        (true, true) => "GET, HEAD, POST",
        (false, true) => "POST",
        _ => "GET, HEAD",
    }
}

/// Pages look at files, sockets and databases: they are made where a thread may wait.
async fn made(
    app: Arc<App>,
    parts: Parts,
    path: BTreeMap<String, String>,
    body: Result<Vec<u8>, Wrong>,
    page: impl FnOnce(&App, &mut Asked) -> Result<Answer, Wrong> + Send + 'static,
) -> Response<Body> {
    let done = tokio::task::spawn_blocking(move || {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        let mut asked = Asked::read(&app.live(), peer, &parts, path, body.as_deref().unwrap_or_default());
        let made = body.and_then(|_| page(&app, &mut asked));
        made.unwrap_or_else(|wrong| wrong.answer(&asked)).response()
    });
    done.await.unwrap_or_else(|e| {
        tracing::error!("a page ended: {e}");
        Answer::file("application/json", b"{\"error\":\"the page could not be made\"}\n".to_vec())
            .status(500)
            .response()
    })
}

/// Finds out who asks, and whether they may.
fn admit(app: &App, route: &Route, asked: &mut Asked) -> Result<(), Wrong> {
    if route.area == Area::Files {
        return Ok(());
    }
    asked.who = match who(app, asked) {
        // What anybody may have is there without a registry, too.
        Err(_) if route.least.is_none() => None,
        found => found?,
    };
    if let Some(least) = route.least {
        let Some(who) = &asked.who else { return Err(Wrong::new(401, "Sign in first.", "")) };
        if who.role < least {
            let text = format!("That takes the role {}, and you are {}.", least.word(), who.role.word());
            return Err(Wrong::new(403, text, "An admin can give it to you."));
        }
        let scoped = route.area == Area::Door || who.scopes.is_empty();
        if !scoped && !who.scopes.iter().any(|scope| scope == route.area.word()) {
            return Err(Wrong::new(403, format!("This token has not the scope {}.", route.area.word()), ""));
        }
    }
    // A browser sends cookies with every form; a token is only sent by whoever means it.
    let by_token = asked.who.as_ref().is_some_and(|who| who.token.is_some());
    if route.method == Method::Post && !by_token && !asked.is_ours() {
        return Err(Wrong::new(
            403,
            "This form is not of this page, or too old.",
            "Go back, load the page again and try once more.",
        ));
    }
    Ok(())
}

fn who(app: &App, asked: &Asked) -> Result<Option<Who>, Wrong> {
    let now = Time::now();
    if let Some(bearer) = &asked.bearer {
        let found = app.registry(|db| tokens::find(db, bearer, now))?;
        let token = found.ok_or_else(|| Wrong::new(401, "This token is not valid.", "See `zentral token list`."))?;
        let tokens::Token { id, name, role, units, scopes, .. } = token;
        return Ok(Some(Who { name, role, units, token: Some(id), scopes }));
    }
    let Some(secret) = &asked.session else { return Ok(None) };
    let Some(session) = app.registry(|db| sessions::find(db, secret, now))? else { return Ok(None) };
    if session.stale {
        app.write(|tx, now| sessions::used(tx, secret, now).map_err(|e: DbError| e))?;
    }
    let user = session.user;
    Ok(Some(Who { name: user.name, role: user.role, units: user.units, token: None, scopes: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_ours() {
        let url = Some("hub.example.com:8443");
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "[::1]", "192.0.2.7", "localhost:1", "LOCALHOST", "Hub.example.com:8443"]
        {
            assert!(is_ours(host, url), "{host}");
        }
        for host in [
            "evil.example.com",
            "localhost.evil.example.com:8080",
            "hub.example.com",
            "",
            "1.2.3.4.evil.example.com",
            ":80",
        ] {
            assert!(!is_ours(host, url), "{host}");
        }
        assert!(!is_ours("hub.example.com:8443", None));
    }

    #[test]
    fn how_a_path_may_be_asked() {
        for (path, want) in [
            ("/users", "GET, HEAD, POST"),
            ("/users/x/role", "POST"),
            ("/", "GET, HEAD"),
            ("/events/x/raw", "GET, HEAD"),
        ] {
            assert_eq!(allowed(path), want, "{path}");
        }
    }
}
