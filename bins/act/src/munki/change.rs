//! One change of one manifest: may it be, what is written, and the commit.

use std::path::PathBuf;

use super::catalogs::Catalogs;
use super::git::Tracked;
use super::repo::{Found, Repo, Written};
use super::which::{SITE_DEFAULT, Which};
use super::{Fault, chain, diff, edit};

/// How often a manifest is read again that somebody changed meanwhile.
const TRIES: usize = 3;
/// Items whose name begins so are Munki itself: a machine that has lost it can be told nothing more.
const OWN: &str = "munkitools";
/// Characters of an item's name.
const ITEM_MAX: usize = 255;
/// What a manifest begins as.
const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
    \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict/>\n</plist>\n";

/// How changes are made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The folder with `manifests` and `catalogs`.
    pub repo: PathBuf,
    /// The list of a manifest that is changed.
    pub list: &'static str,
    /// A machine without a manifest of its own gets one that includes this one.
    pub template: Option<String>,
    /// Whether a manifest that is named may be changed if others include it.
    pub shared: bool,
    /// Whether the catalogs are asked if Munki could do it.
    pub verify: bool,
    /// Items that are never touched.
    pub never_items: Vec<String>,
    /// Who commits, where the repository is kept in git.
    pub git: Option<(String, String)>,
}

/// What is put in or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Items by name.
    Items(Vec<String>),
    /// The items that install these applications.
    Bundles(Vec<String>),
}

/// What was changed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The manifest.
    pub manifest: String,
    /// Its path in the repository.
    pub path: String,
    /// The items that were put in or taken away; those that needed no change are not among them.
    pub names: Vec<String>,
    /// The change in unified form.
    pub diff: String,
}

/// Whether this may be the name of an item.
pub fn is_item(name: &str) -> bool {
    // The last two stand in no XML: who reads the manifest would refuse it whole.
    let odd = |c: char| {
        c.is_control() || c == '/' || ('\u{202a}'..='\u{202e}').contains(&c) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    !name.is_empty() && name.chars().count() <= ITEM_MAX && name.trim() == name && !name.chars().any(odd)
}

impl Rules {
    /// Whether the repository is there and could be changed; nothing is.
    pub fn try_out(&self) -> Result<(), Fault> {
        let repo = Repo::open(&self.repo)?;
        repo.try_out()?;
        match &self.git {
            Some(author) => Tracked::new(&repo.place(SITE_DEFAULT, None), author.clone()).try_out(),
            None => Ok(()),
        }
    }
}

/// One change.
pub struct Change<'a> {
    /// How.
    pub rules: &'a Rules,
    /// Which manifest.
    pub which: &'a Which,
    /// What.
    pub what: &'a What,
    /// Put in, or taken away.
    pub add: bool,
    /// What a commit says of the reason.
    pub because: &'a str,
}

/// A manifest before and after.
struct Draft {
    manifest: String,
    /// None: it is made.
    found: Option<Found>,
    /// The text that the change is of.
    base: String,
    after: edit::Edited,
    /// It lies there as it should and is only not committed: of a process that was killed in between.
    to_commit: bool,
}

impl Change<'_> {
    /// Makes the change; it is on disk then, and committed.
    pub fn make(&self) -> Result<Done, Fault> {
        let repo = Repo::open(&self.rules.repo)?;
        let _lock = repo.lock()?;
        for _ in 0..TRIES {
            let draft = self.draft(&repo)?;
            let done = self.done(&repo, &draft);
            if done.names.is_empty() {
                return Ok(done);
            }
            let written = match &draft.found {
                _ if draft.to_commit => Written::Yes,
                Some(found) => repo.write(found, &draft.after.text)?,
                None => repo.create(&draft.manifest, &draft.after.text)?,
            };
            if written == Written::Yes {
                self.commit(&repo, &draft, &done)?;
                return Ok(done);
            }
        }
        Err(Fault::now(self.rules.repo.display(), "somebody else changes the manifest at the same time"))
    }

    /// What [`Change::make`] would do.
    pub fn show(&self) -> Result<Done, Fault> {
        let repo = Repo::open(&self.rules.repo)?;
        let draft = self.draft(&repo)?;
        Ok(self.done(&repo, &draft))
    }

    fn done(&self, repo: &Repo, draft: &Draft) -> Done {
        let path = repo.path(&draft.manifest);
        let before = (draft.found.is_some() || draft.to_commit).then_some(draft.base.as_str());
        let names = draft.after.names.clone();
        let diff = if names.is_empty() { String::new() } else { diff::unified(&path, before, &draft.after.text) };
        Done { manifest: draft.manifest.clone(), path, names, diff }
    }

    fn draft(&self, repo: &Repo) -> Result<Draft, Fault> {
        let or_none = !self.add || self.rules.template.is_some();
        let manifest = self.which.manifest(repo, self.rules.shared, or_none)?;
        let found = repo.manifest(&manifest)?;
        let lies = match &found {
            Some(found) => found.text.clone(),
            None => self.made(repo, &manifest)?,
        };
        let after = self.edited(repo, &manifest, &lies)?;
        let tracked = self.tracked(repo, &manifest, found.as_ref());
        if let (Some(tracked), true) = (&tracked, found.is_some())
            && let Some(committed) = tracked.differs()?
        {
            let known = committed.is_some();
            // What was never committed may be one that was made here, if any is made.
            let base = match committed {
                None if self.add && self.rules.template.is_none() => None,
                None => Some(self.made(repo, &manifest)?),
                committed => committed,
            };
            if let Some(base) = base {
                let wanted = self.edited(repo, &manifest, &base)?;
                if wanted.text == lies {
                    return Ok(Draft { manifest, found, base, after: wanted, to_commit: true });
                }
            }
            if !after.names.is_empty() {
                let why = if known { "it holds changes that are not committed" } else { "it is not committed" };
                return Err(Fault::now(repo.path(&manifest), why));
            }
        }
        if found.is_none() && !self.add {
            // Nothing is taken away from what is not there, and nothing made for that.
            return Ok(Draft { manifest, found, base: lies.clone(), after: same(lies), to_commit: false });
        }
        Ok(Draft { manifest, found, base: lies, after, to_commit: false })
    }

    /// The text after the change; what should not be put in is an error.
    fn edited(&self, repo: &Repo, manifest: &str, text: &str) -> Result<edit::Edited, Fault> {
        let (rules, path) = (self.rules, repo.path(manifest));
        let removal = rules.list == "managed_uninstalls";
        let root = edit::root(text).map_err(|why| Fault::for_good(&path, why))?;
        let catalogs = || {
            let mut names: Vec<String> = root.texts("catalogs").map(str::to_owned).collect();
            if names.is_empty() && rules.shared {
                names.push("all".to_owned());
            }
            if names.is_empty() {
                return Err(Fault::for_good(&path, "it has no `catalogs`: Munki would pass over it"));
            }
            Catalogs::read(repo, &names)
        };
        let items = match self.what {
            What::Items(items) => items.clone(),
            What::Bundles(bundles) => {
                let Some(catalogs) = catalogs()? else {
                    return Err(Fault::for_good(&path, "none of its catalogs is there to find items in"));
                };
                let item = |bundle: &String| catalogs.item_of(bundle, removal && self.add).map_err(Fault::ForGood);
                bundles.iter().map(item).collect::<Result<_, _>>()?
            }
        };
        for item in &items {
            let never = rules.never_items.iter().any(|never| never == chain::bare(item));
            let own = removal && self.add && item.to_ascii_lowercase().starts_with(OWN);
            if !is_item(item) {
                return Err(Fault::ForGood(format!("`{}` is no name of an item", crate::call::one_line(item, 100))));
            }
            if never || own {
                let why = if never { "`never_items` names it" } else { "it is Munki itself" };
                return Err(Fault::ForGood(format!("`{item}` is not touched: {why}")));
            }
        }
        let edited = if self.add { edit::add } else { edit::remove };
        let after = edited(text, rules.list, &items).map_err(|why| Fault::for_good(&path, why))?;
        if self.add && !after.names.is_empty() {
            let known = if rules.verify { catalogs()? } else { None };
            for item in &after.names {
                if let Some(why) = known.as_ref().and_then(|known| known.objection(item, removal)) {
                    return Err(Fault::ForGood(why));
                }
                if removal && let Some(why) = chain::installed_by(repo, manifest, &root, item)? {
                    return Err(Fault::ForGood(why));
                }
            }
        }
        Ok(after)
    }

    /// A manifest of the machine's own that gives it what it had without one.
    fn made(&self, repo: &Repo, name: &str) -> Result<String, Fault> {
        let path = repo.path(name);
        let Some(template) = &self.rules.template else {
            if !self.add {
                return Ok(EMPTY.to_owned());
            }
            return Err(Fault::for_good(path, "there is no such manifest (`create = true` makes one)"));
        };
        let Some(found) = repo.manifest(template)? else {
            return Err(Fault::for_good(repo.path(template), "there is no such manifest; `template` names it"));
        };
        let root = edit::root(&found.text).map_err(|why| Fault::for_good(repo.path(template), why))?;
        let catalogs: Vec<String> = root.texts("catalogs").map(str::to_owned).collect();
        if catalogs.is_empty() {
            return Err(Fault::for_good(repo.path(template), "it has no `catalogs` that a new manifest could take"));
        }
        let made = edit::add(EMPTY, "catalogs", &catalogs)
            .and_then(|made| edit::add(&made.text, "included_manifests", std::slice::from_ref(template)));
        made.map(|made| made.text).map_err(|why| Fault::for_good(path, why))
    }

    fn tracked(&self, repo: &Repo, name: &str, found: Option<&Found>) -> Option<Tracked> {
        let author = self.rules.git.clone()?;
        Some(Tracked::new(&repo.place(name, found), author))
    }

    /// A change that cannot be committed is taken back, so that the next try finds things as they were; not what somebody
    /// has made of it meanwhile.
    fn commit(&self, repo: &Repo, draft: &Draft, done: &Done) -> Result<(), Fault> {
        let Some(tracked) = self.tracked(repo, &draft.manifest, draft.found.as_ref()) else { return Ok(()) };
        let (sign, names) = (if self.add { "add" } else { "remove" }, done.names.join(", "));
        let message = format!("{}: {sign} {names} in {}\n\n{}\n", done.path, self.rules.list, self.because);
        let Err(fault) = tracked.commit(&message) else { return Ok(()) };
        // What runs after the commit may fail as well.
        if tracked.committed().is_ok_and(|text| text == draft.after.text) {
            return Ok(());
        }
        if let (false, Ok(Some(now))) = (draft.to_commit, repo.manifest(&draft.manifest))
            && now.text == draft.after.text
        {
            match &draft.found {
                None => repo.take_back(&now),
                Some(before) => repo.write(&now, &before.text).map(|_| ())?,
            }
        }
        Err(fault)
    }
}

fn same(text: String) -> edit::Edited {
    edit::Edited { text, names: Vec::new() }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
