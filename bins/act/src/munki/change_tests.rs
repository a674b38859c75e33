#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::process::Command;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    /// A repository with one machine, its group and a catalog.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["manifests", "catalogs"] {
            std::fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        place.put("manifests/C02", &[("catalogs", &["production"]), ("included_manifests", &["site_default"])]);
        place.put("manifests/site_default", &[("catalogs", &["production"]), ("managed_installs", &["Santa"])]);
        let item = |name: &str, removable: &str| {
            format!(
                "<dict><key>name</key><string>{name}</string><key>uninstallable</key><{removable}/><key>uninstall_method</key>\
                 <string>removeapp</string><key>installs</key><array><dict><key>CFBundleIdentifier</key>\
                 <string>com.example.{name}</string></dict></array></dict>"
            )
        };
        let items = [item("Foo", "true"), item("Bar", "true"), item("Santa", "true"), item("Stuck", "false")].concat();
        let text = format!("<plist><array>{items}{}</array></plist>", item("munkitools_core", "true"));
        std::fs::write(place.path().join("catalogs/production"), text).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, path: &str, lists: &[(&str, &[&str])]) {
        let mut text = EMPTY.to_owned();
        for (key, names) in lists {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            text = edit::add(&text, key, &names).unwrap().text;
        }
        std::fs::write(self.path().join(path), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join("manifests").join(name)).unwrap()
    }

    fn list(&self, name: &str, key: &str) -> Vec<String> {
        edit::root(&self.text(name)).unwrap().texts(key).map(str::to_owned).collect()
    }

    fn rules(&self) -> Rules {
        Rules {
            repo: self.path().to_owned(),
            list: "managed_uninstalls",
            template: None,
            shared: false,
            verify: true,
            never_items: Vec::new(),
            git: None,
        }
    }

    fn hook(&self, name: &str, script: &str) -> std::path::PathBuf {
        let hook = self.path().join(".git/hooks").join(name);
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        hook
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(words).current_dir(self.path());
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn items(all: &[&str]) -> What {
    What::Items(all.iter().map(|item| (*item).to_owned()).collect())
}

fn machine(serial: &str, hostname: &str) -> Which {
    let of = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Which::Of { serial: of(serial), hostname: of(hostname) }
}

fn make(rules: &Rules, which: &Which, what: &What, add: bool) -> Result<Done, Fault> {
    Change { rules, which, what, add, because: "because" }.make()
}

fn why(rules: &Rules, which: &Which, what: &What) -> String {
    match make(rules, which, what, true) {
        Err(Fault::ForGood(why)) => why,
        other => format!("{other:?}"),
    }
}

#[test]
fn put_in_once_and_taken_away() {
    let place = Place::new();
    let (rules, which, what) = (place.rules(), machine("C02", "ada-mbp.example.com"), items(&["Foo", "Bar"]));
    let before = place.text("C02");
    let change = Change { rules: &rules, which: &which, what: &what, add: true, because: "" };
    let shown = change.show().unwrap();
    assert_eq!((shown.path.as_str(), place.text("C02")), ("manifests/C02", before.clone()), "showing changes nothing");
    assert!(shown.diff.contains("\n+\t\t<string>Foo</string>\n"), "{}", shown.diff);
    assert_eq!(change.make().unwrap(), shown);
    assert_eq!(place.list("C02", "managed_uninstalls"), ["Foo", "Bar"]);
    let stamp = std::fs::metadata(place.path().join("manifests/C02")).unwrap().modified().unwrap();
    let again = change.make().unwrap();
    assert_eq!((again.names.len(), again.diff.as_str()), (0, ""));
    let now = std::fs::metadata(place.path().join("manifests/C02")).unwrap().modified().unwrap();
    assert_eq!(stamp, now, "what is so already is not written");
    assert_eq!(make(&rules, &which, &items(&["Foo", "Other"]), false).unwrap().names, ["Foo"]);
    assert_eq!(place.list("C02", "managed_uninstalls"), ["Bar"]);
}

#[test]
fn which_manifest_is_the_machines() {
    let place = Place::new();
    let (rules, what) = (place.rules(), items(&["Foo"]));
    place.put("manifests/ada-mbp", &[("catalogs", &["production"])]);
    assert_eq!(make(&rules, &machine("C09", "ada-mbp.example.com"), &what, true).unwrap().manifest, "ada-mbp");
    let both = why(&rules, &machine("C02", "ada-mbp.example.com"), &what);
    assert!(both.contains("manifests/C02 and manifests/ada-mbp: say with `manifest`"), "{both}");
    let named = Which::Named("ada-mbp".into());
    assert_eq!(make(&rules, &named, &items(&["Bar"]), true).unwrap().names, ["Bar"]);
    let none = why(&rules, &machine("C08", "h.example.com"), &what);
    assert!(none.contains("no manifests/C08, no manifests/h.example.com, no manifests/h (`create"), "{none}");
    assert!(make(&rules, &machine("C08", ""), &what, false).unwrap().names.is_empty(), "nothing to take away");
    assert!(why(&rules, &machine("", ""), &what).contains("has no name that a manifest could have"));
    for odd in ["../C02", "groups/dev", ".git", "a\nb"] {
        assert!(why(&rules, &machine(odd, ""), &what).contains("is no name"), "{odd}");
    }
    assert_eq!(make(&rules, &machine("C02", "../C02"), &items(&["Bar"]), true).unwrap().manifest, "C02");
    assert!(why(&rules, &Which::Named("../../etc/passwd".into()), &what).contains("is no name"));
}

#[test]
fn what_others_share_is_not_changed_by_accident() {
    let place = Place::new();
    let (mut rules, what) = (place.rules(), items(&["Foo"]));
    // A machine that calls itself so.
    assert!(why(&rules, &machine("site_default", ""), &what).contains("not of one machine alone"));
    place.put("manifests/Site_Default", &[("catalogs", &["production"])]);
    assert!(why(&rules, &machine("Site_Default", ""), &what).contains("not of one machine alone"));
    place.put("manifests/dev", &[("managed_updates", &["Bar"])]);
    place.put("manifests/C03", &[("catalogs", &["production"]), ("included_manifests", &["dev"])]);
    assert!(why(&rules, &machine("dev", ""), &what).contains("`C03` uses it"));
    // By links as well; one of the machine's own names is none of another.
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, place.path().join("manifests").join(name)).unwrap();
    };
    link("site_default", "C04");
    link("C02", "ada");
    assert!(why(&rules, &machine("C04", ""), &what).contains("every machine without one"));
    assert!(why(&rules, &machine("C02", "eve"), &what).contains("`ada` uses it"));
    assert!(why(&rules, &Which::Named("ada".into()), &what).contains("`ada` is a link to `C02`"));
    assert_eq!(make(&rules, &machine("C02", "ada.example.com"), &what, true).unwrap().manifest, "C02");
    assert!(place.path().join("manifests/ada").symlink_metadata().unwrap().is_symlink());
    std::fs::copy(place.path().join("catalogs/production"), place.path().join("catalogs/all")).unwrap();
    rules.shared = true;
    // That a named one may be shared does not let a machine say that it is called so.
    for name in ["dev", "site_default", "C04"] {
        assert!(why(&rules, &machine(name, ""), &what).contains("(only `manifest` could name it)"), "{name}");
    }
    assert_eq!(make(&rules, &Which::Named("dev".into()), &what, true).unwrap().names, ["Foo"]);
}

#[test]
fn what_munki_could_not_do_is_refused() {
    let place = Place::new();
    let (mut rules, which) = (place.rules(), machine("C02", ""));
    let before = place.text("C02");
    for (item, says) in [
        ("Santa", "installs win"),
        ("Nowhere", "`Nowhere` is not in catalog `production`"),
        ("Stuck", "cannot be removed"),
        ("munkitools_core", "it is Munki itself"),
        ("a/../b", "no name of an item"),
        ("a\r\nb", "no name of an item"),
        ("a\u{fffe}b", "no name of an item"),
        ("a\u{ffff}", "no name of an item"),
        ("", "no name of an item"),
    ] {
        let why = why(&rules, &which, &items(&["Foo", item]));
        assert!(why.contains(says), "{item}: {why}");
    }
    rules.never_items = vec!["Bar".into()];
    assert!(why(&rules, &which, &items(&["Bar-1.0"])).contains("`never_items` names it"));
    assert_eq!(place.text("C02"), before, "all or nothing");
    rules.verify = false;
    assert_eq!(make(&rules, &which, &items(&["Nowhere"]), true).unwrap().names, ["Nowhere"]);
    rules.list = "managed_installs";
    assert_eq!(make(&rules, &which, &items(&["Stuck"]), true).unwrap().names, ["Stuck"]);
    std::fs::remove_dir_all(place.path().join("manifests")).unwrap();
    assert!(matches!(make(&rules, &which, &items(&["X"]), true), Err(Fault::Now(_))), "a share may come back");
}

#[test]
fn items_by_their_applications() {
    let place = Place::new();
    let (rules, which) = (place.rules(), machine("C02", ""));
    let bundle = |id: &str| What::Bundles(vec![id.to_owned()]);
    assert_eq!(make(&rules, &which, &bundle("com.example.Foo"), true).unwrap().names, ["Foo"]);
    assert!(why(&rules, &which, &bundle("com.example.Stuck")).contains("no item that can be removed"));
    assert_eq!(make(&rules, &which, &bundle("com.example.Foo"), false).unwrap().names, ["Foo"]);
}

#[test]
fn a_machine_without_a_manifest_gets_what_it_had() {
    let place = Place::new();
    let mut rules = place.rules();
    rules.template = Some("site_default".into());
    let which = machine("C05", "new.example.com");
    assert!(make(&rules, &which, &items(&["Foo"]), false).unwrap().names.is_empty());
    assert!(!place.path().join("manifests/C05").exists(), "nothing is made to take something away");
    assert!(why(&rules, &which, &items(&["Santa"])).contains("of `site_default`: installs win"));
    let done = make(&rules, &which, &items(&["Foo"]), true).unwrap();
    assert!(done.diff.starts_with("--- /dev/null\n+++ b/manifests/C05\n"), "{}", done.diff);
    assert_eq!(place.list("C05", "catalogs"), ["production"]);
    assert_eq!(place.list("C05", "included_manifests"), ["site_default"]);
    assert_eq!(place.list("C05", "managed_uninstalls"), ["Foo"]);
    rules.template = Some("nowhere".into());
    assert!(why(&rules, &machine("C06", ""), &items(&["Foo"])).contains("`template` names it"));
}

#[test]
fn one_commit_of_one_file() {
    let place = Place::new();
    place.git(&["init", "--quiet", "--initial-branch=main"]);
    place.git(&["add", "."]);
    place.git(&["commit", "--quiet", "-m", "begin"]);
    let mut rules = place.rules();
    rules.git = Some(("The Hub".into(), "hub@example.com".into()));
    rules.try_out().unwrap();
    let bare = Place::new();
    let elsewhere = Rules { repo: bare.path().to_owned(), ..rules.clone() };
    assert!(elsewhere.try_out().unwrap_err().why().contains("not a git repository"));
    let which = machine("C02", "");
    // What others have under way stays theirs.
    place.put("manifests/C03", &[("catalogs", &["production"])]);
    place.git(&["add", "manifests/C03"]);
    make(&rules, &which, &items(&["Foo"]), true).unwrap();
    let last = place.git(&["log", "-1", "--name-only", "--format=%an <%ae>%n%B"]);
    let want = "The Hub <hub@example.com>\nmanifests/C02: add Foo in managed_uninstalls\n\nbecause\n\nmanifests/C02\n";
    assert_eq!(last.replace("\n\n\n", "\n\n"), want);
    assert_eq!(place.git(&["status", "--porcelain"]), "A  manifests/C03\n");
    assert!(make(&rules, &which, &items(&["Foo"]), true).unwrap().names.is_empty());
    assert_eq!(place.git(&["rev-list", "--count", "HEAD"]), "2\n", "nothing new, no commit");

    // Killed between writing and commit: the next try goes on there.
    let text = place.text("C02");
    let killed = edit::add(&text, "managed_uninstalls", &["Bar".into()]).unwrap().text;
    std::fs::write(place.path().join("manifests/C02"), killed).unwrap();
    assert_eq!(make(&rules, &which, &items(&["Bar"]), true).unwrap().names, ["Bar"]);
    assert_eq!(place.git(&["rev-list", "--count", "HEAD"]), "3\n");

    // Somebody's own work in the same file is neither committed nor lost.
    let theirs = edit::add(&place.text("C02"), "optional_installs", &["Mine".into()]).unwrap().text;
    std::fs::write(place.path().join("manifests/C02"), &theirs).unwrap();
    let busy = make(&rules, &which, &items(&["Foo"]), false).unwrap_err();
    assert_eq!(busy, Fault::Now("manifests/C02: it holds changes that are not committed".into()));
    assert_eq!(place.text("C02"), theirs);
    let there = make(&rules, &which, &items(&["Foo"]), true).unwrap();
    assert!(there.names.is_empty(), "what is so already needs nothing of that");
    place.git(&["checkout", "--quiet", "manifests/C02"]);

    // One that nobody has committed yet.
    place.put("manifests/C06", &[("catalogs", &["production"])]);
    let not_yet = make(&rules, &machine("C06", ""), &items(&["Foo"]), true).unwrap_err();
    assert_eq!(not_yet, Fault::Now("manifests/C06: it is not committed".into()));
    std::fs::remove_file(place.path().join("manifests/C06")).unwrap();

    // What runs after the commit and fails: it is committed.
    let hook = place.hook("post-commit", "kill -9 $PPID");
    assert_eq!(make(&rules, &which, &items(&["Bar"]), false).unwrap().names, ["Bar"]);
    assert!(place.git(&["show", "HEAD:manifests/C02"]) == place.text("C02") && !place.text("C02").contains("Bar"));
    std::fs::remove_file(hook).unwrap();

    // A hook that says no: nothing stays, also of a new manifest; but what somebody wrote meanwhile does.
    let before = place.text("C02");
    for text in ["theirs", "<plist/>"] {
        place.hook("pre-commit", &format!("echo '{text}' > manifests/C02; exit 1"));
        assert!(make(&rules, &which, &items(&["Foo"]), false).is_err());
        assert_eq!(place.text("C02"), format!("{text}\n"));
        std::fs::write(place.path().join("manifests/C02"), &before).unwrap();
    }
    let hook = place.hook("pre-commit", "echo not today >&2; exit 1");
    assert_eq!(make(&rules, &which, &items(&["Foo"]), false), Err(Fault::Now("git: not today".into())));
    assert_eq!(place.text("C02"), before);
    rules.template = Some("site_default".into());
    assert!(make(&rules, &machine("C07", ""), &items(&["Foo"]), true).is_err());
    assert!(!place.path().join("manifests/C07").exists());
    assert_eq!(place.git(&["status", "--porcelain"]), "A  manifests/C03\n");
    std::fs::remove_file(&hook).unwrap();
    make(&rules, &machine("C07", ""), &items(&["Foo"]), true).unwrap();
    assert_eq!(place.git(&["show", "--name-only", "--format="]), "manifests/C07\n");
}

#[test]
fn many_at_a_time_lose_nothing() {
    let place = Place::new();
    let mut rules = place.rules();
    rules.verify = false;
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (rules, which) = (rules.clone(), machine("C02", ""));
            std::thread::spawn(move || make(&rules, &which, &items(&[&format!("Item{n}")]), true).unwrap())
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    assert_eq!(place.list("C02", "managed_uninstalls").len(), 8);
}
