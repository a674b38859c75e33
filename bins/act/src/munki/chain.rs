//! What a machine gets of a manifest and of those that it includes.

use std::collections::BTreeSet;

use super::plist::Node;
use super::repo::Repo;
use super::{Fault, edit};

/// Manifests that include each other, in one chain.
const CHAIN_MAX: usize = 500;

/// The name of an item without its version: `Name-1.2`, `Name--1.2`; a version begins with a digit.
pub fn bare(item: &str) -> &str {
    for between in ["--", "-"] {
        if let Some((name, version)) = item.rsplit_once(between)
            && version.starts_with(|c: char| c.is_ascii_digit())
        {
            return name;
        }
    }
    item
}

/// The manifest's own dictionary and those of its `conditional_items`, with the condition.
fn parts<'a>(of: &'a Node, condition: Option<&'a str>, all: &mut Vec<(&'a Node, Option<&'a str>)>) {
    all.push((of, condition));
    for part in of.get("conditional_items").into_iter().flat_map(Node::items) {
        parts(part, part.get("condition").and_then(Node::text).or(condition), all);
    }
}

/// Why putting an item into a manifest's `managed_uninstalls` would do nothing: it is installed by the same manifest or by
/// one that it includes, and installs win.
pub fn installed_by(repo: &Repo, name: &str, root: &Node, item: &str) -> Result<Option<String>, Fault> {
    let mut seen: BTreeSet<String> = [name.to_owned()].into();
    let (mut next, by) = look(root, item);
    if let Some(condition) = by {
        return Ok(Some(said(name, item, condition)));
    }
    while let Some(name) = next.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if seen.len() > CHAIN_MAX {
            return Err(Fault::for_good(repo.path(&name), format!("the chain has more than {CHAIN_MAX} manifests")));
        }
        // A manifest that is not there installs nothing; Munki warns of it.
        let Some(found) = repo.manifest(&name)? else { continue };
        let root = edit::root(&found.text).map_err(|why| Fault::for_good(repo.path(&name), why))?;
        let (more, by) = look(&root, item);
        if let Some(condition) = by {
            return Ok(Some(said(&name, item, condition)));
        }
        next.extend(more);
    }
    Ok(None)
}

fn said(name: &str, item: &str, condition: Option<String>) -> String {
    let place = condition.map_or_else(String::new, |condition| format!(" where {condition}"));
    format!("`{item}` is in `managed_installs` of `{name}`{place}: installs win, it would never be removed")
}

/// What a manifest includes, and whether it installs an item: `Some`, with the condition if there is one.
fn look(root: &Node, item: &str) -> (Vec<String>, Option<Option<String>>) {
    let mut all = Vec::new();
    parts(root, None, &mut all);
    let includes = all.iter().flat_map(|(part, _)| part.texts("included_manifests")).map(str::to_owned).collect();
    let installs = |part: &Node| part.texts("managed_installs").any(|one| bare(one) == bare(item));
    let by = all.iter().find(|(part, _)| installs(part)).map(|(_, condition)| condition.map(str::to_owned));
    (includes, by)
}

/// The manifest that includes this one or is a link to it, if any does: then it is not of one machine alone. `own` are
/// names of that machine.
pub fn used_by(repo: &Repo, name: &str, own: &[String]) -> Result<Option<String>, Fault> {
    for other in repo.names()? {
        let found = match repo.manifest(&other) {
            Ok(Some(found)) if other != name && !own.contains(&other) && repo.name_of(&found) == name => {
                return Ok(Some(other));
            }
            Ok(Some(found)) if found.text.contains("included_manifests") => found,
            // Munki reads binary ones, in which names stand as they are.
            Err(Fault::ForGood(_)) if repo.mentions(&other, name)? => return Ok(Some(other)),
            Ok(_) | Err(Fault::ForGood(_)) => continue,
            // It may include this one: nobody knows before it can be read.
            Err(fault) => return Err(fault),
        };
        let Ok(root) = edit::root(&found.text) else {
            // What is no list to us may be one to Munki.
            if found.text.contains(name) {
                return Ok(Some(other));
            }
            continue;
        };
        let mut all = Vec::new();
        parts(&root, None, &mut all);
        if all.iter().flat_map(|(part, _)| part.texts("included_manifests")).any(|one| one.eq_ignore_ascii_case(name)) {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_without_versions() {
        for (item, name) in [
            ("Firefox", "Firefox"),
            ("Firefox-128.0", "Firefox"),
            ("Adobe-Reader", "Adobe-Reader"),
            ("Adobe-Reader--11.0", "Adobe-Reader"),
            ("a--b-1", "a--b"),
            ("7zip-x", "7zip-x"),
        ] {
            assert_eq!(bare(item), name);
        }
    }

    #[test]
    fn installs_anywhere_in_the_chain_win() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = dir.path().join("manifests");
        std::fs::create_dir_all(manifests.join("groups")).unwrap();
        let list = |key: &str, names: &[&str]| {
            let names: String = names.iter().map(|name| format!("<string>{name}</string>")).collect();
            format!("<key>{key}</key><array>{names}</array>")
        };
        let write = |name: &str, body: &str| {
            std::fs::write(manifests.join(name), format!("<plist><dict>{body}</dict></plist>")).unwrap();
        };
        let own = list("included_manifests", &["groups/dev", "not-there"]) + &list("managed_installs", &["Own"]);
        write("C02", &own);
        let nested = format!(
            "<key>conditional_items</key><array><dict><key>condition</key><string>arch == \"arm64\"</string>{}\
             <key>conditional_items</key><array><dict>{}</dict></array></dict></array>",
            list("included_manifests", &["site_default"]),
            list("managed_installs", &["Deep-2.1"]),
        );
        write("groups/dev", &(nested + &list("managed_updates", &["Updated"])));
        write("site_default", &(list("included_manifests", &["C02"]) + &list("managed_installs", &["Everywhere"])));
        let repo = Repo::open(dir.path()).unwrap();
        let text = repo.manifest("C02").unwrap().unwrap().text;
        let root = edit::root(&text).unwrap();
        let by = |item: &str| installed_by(&repo, "C02", &root, item);
        assert!(by("Own-1.0").unwrap().unwrap().contains("of `C02`: installs win"));
        assert!(by("Deep").unwrap().unwrap().contains("of `groups/dev` where arch == \"arm64\": installs win"));
        assert!(by("Everywhere").unwrap().unwrap().contains("of `site_default`"));
        assert_eq!((by("Updated").unwrap(), by("Other").unwrap()), (None, None), "and a circle ends");
        assert_eq!(used_by(&repo, "C02", &[]).unwrap().as_deref(), Some("site_default"));
        assert_eq!(used_by(&repo, "site_default", &[]).unwrap().as_deref(), Some("groups/dev"));
        std::fs::write(manifests.join("binary"), b"bplist00\xd1\x01\x02_\x10\x03C07\x00").unwrap();
        assert_eq!(used_by(&repo, "C07", &[]).unwrap().as_deref(), Some("binary"));
        assert_eq!(used_by(&repo, "other", &[]).unwrap(), None);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, manifests.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(used_by(&repo, "other", &[]).unwrap(), None, "what nobody writes is not waited for");
        write("broken", "<key>included_manifests</key><array><string>C08</string>");
        assert_eq!(used_by(&repo, "C08", &[]).unwrap().as_deref(), Some("broken"));
        std::os::unix::fs::symlink("loop", manifests.join("loop")).unwrap();
        let why = used_by(&repo, "other", &[]).unwrap_err();
        assert!(matches!(&why, Fault::Now(why) if why.starts_with("manifests/loop: ")), "{why:?}");
        std::fs::remove_file(manifests.join("loop")).unwrap();
        write("site_default", "<broken>");
        assert!(by("Other").unwrap_err().why().starts_with("manifests/site_default: line 1"));
    }
}
