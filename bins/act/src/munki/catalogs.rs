//! What the catalogs of a manifest say of items: whether there is such a one, whether it can be removed, and which item
//! brings an application.

use std::collections::{BTreeMap, BTreeSet};

use super::Fault;
use super::chain::bare;
use super::plist::{self, Kind, Node};
use super::repo::Repo;

/// Catalogs that one manifest may name.
const CATALOGS_MAX: usize = 50;

/// What is known of one item, over all its versions.
#[derive(Debug, Default)]
struct Item {
    /// Some version of it can be removed.
    removable: bool,
    /// The applications that it installs.
    bundles: BTreeSet<String>,
}

/// The items of some catalogs.
#[derive(Debug, Default)]
pub struct Catalogs {
    names: Vec<String>,
    items: BTreeMap<String, Item>,
}

impl Catalogs {
    /// Reads those that there are; none if there is none.
    pub fn read(repo: &Repo, names: &[String]) -> Result<Option<Self>, Fault> {
        let mut all = Self::default();
        for name in names.iter().take(CATALOGS_MAX) {
            let Some(found) = repo.catalog(name)? else { continue };
            let list = plist::parse(&found.text).map_err(|why| Fault::for_good(format!("catalogs/{name}"), why))?;
            if !matches!(list.kind, Kind::Array(_)) {
                return Err(Fault::for_good(format!("catalogs/{name}"), "it is no list"));
            }
            list.items().iter().for_each(|item| all.take(item));
            all.names.push(name.clone());
        }
        Ok((!all.names.is_empty()).then_some(all))
    }

    fn take(&mut self, node: &Node) {
        let Some(name) = node.get("name").and_then(Node::text) else { return };
        let item = self.items.entry(name.to_owned()).or_default();
        let method = node.get("uninstall_method").and_then(Node::text).is_some_and(|method| !method.is_empty());
        item.removable |= method && node.get("uninstallable").is_some_and(Node::is_true);
        let installs = node.get("installs").into_iter().flat_map(Node::items);
        item.bundles.extend(installs.filter_map(|one| Some(one.get("CFBundleIdentifier")?.text()?.to_owned())));
    }

    fn of(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        format!("catalog{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
    }

    /// Why Munki could do nothing with an item.
    pub fn objection(&self, item: &str, removal: bool) -> Option<String> {
        match self.items.get(item).or_else(|| self.items.get(bare(item))) {
            None => Some(format!("`{item}` is not in {}", self.of())),
            Some(known) if removal && !known.removable => Some(format!(
                "`{item}` cannot be removed: no version of it in {} has `uninstallable` and an `uninstall_method`",
                self.of()
            )),
            Some(_) => None,
        }
    }

    /// The item that installs an application.
    pub fn item_of(&self, bundle: &str, removal: bool) -> Result<String, String> {
        let brings = |item: &Item| item.bundles.contains(bundle) && (!removal || item.removable);
        let names: Vec<&str> =
            self.items.iter().filter(|(_, item)| brings(item)).map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [name] => Ok((*name).to_owned()),
            [] if removal => Err(format!("no item that can be removed installs `{bundle}` in {}", self.of())),
            [] => Err(format!("no item installs `{bundle}` in {}", self.of())),
            several => {
                let some: Vec<&str> = several.iter().copied().take(5).collect();
                Err(format!("several items install `{bundle}` ({}): name one with `item`", some.join(", ")))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_catalogs_say() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("manifests")).unwrap();
        std::fs::create_dir_all(dir.path().join("catalogs")).unwrap();
        let repo = Repo::open(dir.path()).unwrap();
        let read =
            |names: &[&str]| Catalogs::read(&repo, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(read(&["production"]).unwrap().is_none());
        let item = |name: &str, removable: bool, bundle: &str| {
            let method = if removable { "<key>uninstall_method</key><string>removeapp</string>" } else { "" };
            format!(
                "<dict><key>name</key><string>{name}</string><key>uninstallable</key><true/>{method}<key>installs</key>\
                 <array><dict><key>CFBundleIdentifier</key><string>{bundle}</string></dict></array></dict>"
            )
        };
        let items = [
            item("Firefox", true, "org.mozilla.firefox"),
            item("Firefox", false, "org.mozilla.firefox"),
            item("Firefox ESR", false, "org.mozilla.firefox"),
            item("A", true, "both"),
            item("B", true, "both"),
        ];
        std::fs::write(
            dir.path().join("catalogs/production"),
            format!("<plist><array>{}</array></plist>", items.concat()),
        )
        .unwrap();
        let all = read(&["not-there", "production"]).unwrap().unwrap();
        assert_eq!((all.objection("Firefox-1.2", true), all.objection("Firefox ESR", false)), (None, None));
        assert!(all.objection("Firefox ESR", true).unwrap().contains("cannot be removed"));
        assert_eq!(all.objection("Frefox", true).unwrap(), "`Frefox` is not in catalog `production`");
        assert_eq!(all.item_of("org.mozilla.firefox", true), Ok("Firefox".into()));
        assert!(all.item_of("org.mozilla.firefox", false).unwrap_err().contains("(Firefox, Firefox ESR)"));
        assert!(all.item_of("both", true).unwrap_err().contains("several"));
        assert!(all.item_of("none", true).unwrap_err().contains("no item that can be removed"));
        std::fs::write(dir.path().join("catalogs/bad"), "<plist><dict/></plist>").unwrap();
        assert!(read(&["bad"]).unwrap_err().why().contains("no list"));
        assert!(read(&["../manifests/x"]).is_err());
    }
}
