//! The way from the first page along every link, so that a page that is new is walked by itself.

use std::collections::{BTreeMap, VecDeque};

use crate::chromium::Chromium;
use crate::plain::{Browser, Reply};

/// Pages of one kind (the same route and the same words in the query) that are opened; the rest look alike.
pub const OF_A_KIND: usize = 2;
/// Pages that are opened at most: a walk ends.
const PAGES_MAX: usize = 1600;

/// Stands for the route of a page that is not what was asked.
pub const REFUSED: &str = "/refused";

/// Links, and what forms that only look would ask.
const LINKS: &str = r##"const links = [...document.querySelectorAll("a[href]")].map(a => a.href);
    for (const form of document.querySelectorAll("form:not([method=post])")) {
        const url = new URL(form.action);
        url.search = new URLSearchParams(new FormData(form));
        links.push(url.href);
    }
    return links.map(link => link.split("#")[0]);"##;

/// The route of the console's table that answers a path.
fn route(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let names: Vec<&str> = template.split('/').collect();
        names.len() == parts.len() && names.iter().zip(&parts).all(|(name, part)| name.starts_with('{') || name == part)
    };
    // A route without variable parts goes first.
    let mut all: Vec<&'static str> =
        console::routes().iter().filter(|r| r.0 == "GET" && fits(r.1)).map(|r| r.1).collect();
    all.sort_by_key(|template| template.matches('{').count());
    all.first().copied()
}

/// What is alike: the route, and which words its query has.
fn kind(route: &str, query: &str) -> String {
    let mut keys: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, _)| k)
        .collect();
    keys.sort_unstable();
    format!("{route}?{}", keys.join("&"))
}

/// What a walk met: how often each route was opened, as a page or as a file, and what was wrong where.
#[derive(Default)]
pub struct Met {
    pub pages: BTreeMap<&'static str, usize>,
    pub files: BTreeMap<&'static str, usize>,
    pub wrong: Vec<String>,
}

impl Met {
    pub fn note(&mut self, place: &str, wrong: Vec<String>) {
        self.wrong.extend(wrong.into_iter().map(|why| format!("{place}: {why}")));
    }

    /// Routes that somebody may look at and that no link led to.
    pub fn missed(&self) -> Vec<&'static str> {
        let all = console::routes();
        let looks = all.iter().filter(|(method, _, least, _)| *method == "GET" && least.is_some()).map(|r| r.1);
        looks.filter(|path| !self.pages.contains_key(path) && !self.files.contains_key(path)).collect()
    }
}

/// Walks from these paths on, each page opened once. `chromium` and `plain` are both signed in: what is no page is only
/// asked for by `plain`. `look` gets the route and how often it was met before.
pub fn walk(
    chromium: &Chromium,
    plain: &mut Browser,
    starts: &[String],
    of_a_kind: impl Fn(&str) -> usize,
    mut look: impl FnMut(&Chromium, &str, usize) -> Vec<String>,
    file: impl Fn(&Reply) -> Vec<String>,
) -> Met {
    let base = format!("http://127.0.0.1:{}", plain.port);
    let (mut met, mut kinds) = (Met::default(), BTreeMap::<String, Vec<String>>::new());
    let mut ahead: VecDeque<(String, String)> =
        starts.iter().map(|path| (format!("{base}{path}"), "start".into())).collect();
    while let Some((url, from)) = ahead.pop_front() {
        // Links to elsewhere are for `look` to judge.
        let Some(address) = url.strip_prefix(&base) else { continue };
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let known = route(path).or((from == "start").then_some(REFUSED));
        let Some(mut route) = known else {
            met.wrong.push(format!("{from}: a link to {address}, which is no route"));
            continue;
        };
        let alike = kinds.entry(kind(route, query)).or_default();
        // Whoever stands at the start is named, and so is opened.
        if alike.contains(&url) || (alike.len() >= of_a_kind(route) && from != "start") {
            continue;
        }
        alike.push(url.clone());
        let reply = plain.get(address);
        if reply.status != 200 && from != "start" {
            met.wrong.push(format!("{from}: a link to {address}, which answers {}", reply.status));
            continue;
        }
        if !reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            *met.files.entry(route).or_default() += 1;
            met.note(address, file(&reply));
            continue;
        }
        if reply.status != 200 {
            route = REFUSED;
        }
        let before = met.pages.entry(route).or_default();
        chromium.open(&url);
        let wrong = look(chromium, route, *before);
        *before += 1;
        met.note(address, wrong);
        if met.pages.values().sum::<usize>() >= PAGES_MAX {
            met.wrong.push(format!("the walk does not end: {:?}", met.pages));
            break;
        }
        // Its links and its form lead to itself again.
        if route == REFUSED {
            continue;
        }
        let links = chromium.run(LINKS);
        ahead.extend(
            links.as_array().unwrap().iter().map(|link| (link.as_str().unwrap().to_owned(), address.to_owned())),
        );
    }
    met
}
