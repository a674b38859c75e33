//! (b) A folder is deleted when FileVault is switched off: by Munki and by Jamf.

use serde_json::{Value, json};

use crate::fakes::jamf::{self, server::STATIC};
use crate::fakes::{Fake, slack};
use crate::mac::Mac;
use crate::page::{blocks, with};
use crate::support::hub::Hub;
use crate::{SLACK_TOKEN, messages, outcomes, start, with_filters};

/// Of the second computer that Jamf has.
const SERIAL: &str = "C02X00002";
const PKGINFO: &str = "docs/promises/DeleteConfidential-1.0.plist";
const MANIFEST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n\t<key>catalogs</key>\n\t<array>\n\
    \t\t<string>production</string>\n\t</array>\n\t<key>managed_installs</key>\n\t<array>\n\t\t<string>Firefox</string> <!-- all -->\n\
    \t</array>\n</dict>\n</plist>\n";

/// What the item of the page is in a catalog: `makecatalogs` puts it there as it is.
fn catalog() -> String {
    let text = std::fs::read_to_string(PKGINFO).unwrap();
    let (head, rest) = text.split_once("<dict>").unwrap();
    let item = rest.rsplit_once("</plist>").unwrap().0;
    format!("{head}<array><dict>{item}</array></plist>\n")
}

fn rows(status: &str) -> Value {
    json!([{"mount": "/", "encryption_status": "not encrypted", "filevault_status": status},
        {"mount": "/System/Volumes/Data", "encryption_status": "encrypted", "filevault_status": status}])
}

#[test]
fn filevault_off_deletes_the_folder_until_it_is_on_again() {
    let computers = jamf::Jamf::new(3);
    let seen = computers.seen.clone();
    let (jss, admins) = (Fake::start(computers, vec![]), Fake::start(slack::Slack::default(), vec![]));
    let page = with(&blocks("filevault", "toml"), "https://jss.example.com", &jss.url);
    let page = with(&page, "\"FileVault off\" ", &format!("\"{}\" ", STATIC.1));
    let page = with(&page, "\"/srv/munki\"", "\"munki\"");
    let page = with(&page, "kind    = \"slack-bot\"", &format!("url = \"{}\"\nkind = \"slack-bot\"", admins.url));
    let mut hub = Hub::new(&format!("\n{page}"));
    with_filters(&hub);
    for (name, text) in
        [(format!("manifests/{SERIAL}"), MANIFEST.to_owned()), ("catalogs/production".into(), catalog())]
    {
        let path = hub.path("munki").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    hub.env("JAMF_SECRET", jamf::SECRET);
    hub.env("SLACK_TOKEN", SLACK_TOKEN);
    start(&mut hub);

    let manifest = hub.path("munki/manifests").join(SERIAL);
    let manifest = || std::fs::read_to_string(&manifest).unwrap();
    let group = || -> Vec<u64> { seen.lock().unwrap().groups.get(&STATIC.0).into_iter().flatten().copied().collect() };
    let done = |n: usize| {
        let ok = |action| outcomes(&hub, action).iter().filter(|event| event["type"] == "action_done").count() == n;
        ok("delete-by-munki") && ok("delete-by-jamf") && ok("tell-admins")
    };
    let mut mac = Mac::new(&hub, SERIAL, None);
    mac.snapshot("filevault-off", rows("on"));
    mac.snapshot("filevault-off", rows("off"));
    hub.wait("both ways", 60, || done(1));
    let line = "\t\t<string>DeleteConfidential</string>\n";
    assert_eq!(manifest(), MANIFEST.replace("all -->\n", &format!("all -->\n{line}")), "and nothing else");
    assert_eq!(group(), [2]);

    // It is told again with every run; and what macOS does not know is not `on`.
    mac.snapshot("filevault-off", rows("off"));
    mac.snapshot("filevault-off", rows("unknown"));
    hub.wait("the second match", 60, || hub.matched("filevault-off") == 3);
    let incidents = |words: &[&str]| -> Vec<Value> {
        let out = hub.run(&[&["act", "incidents"], words].concat());
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    hub.wait("it to be counted", 60, || incidents(&[]).first().is_some_and(|one| one["count"] == 2));
    assert_eq!((incidents(&[]).len(), done(1)), (1, true));

    mac.snapshot("filevault-off", rows("on"));
    hub.wait("all of it to be undone", 60, || done(2));
    assert_eq!((manifest().as_str(), group()), (MANIFEST, vec![]));
    assert_eq!((incidents(&[]).len(), incidents(&["--all"]).len()), (0, 1));
    let told = messages(&admins);
    assert_eq!(told.iter().map(|(_, thread, _)| *thread).collect::<Vec<_>>(), [false, true], "{told:?}");
    assert!(
        told[0].2.contains("FileVault is off on ada-mbp") && told[1].2.contains("Closed: FileVault is off on ada-mbp"),
        "{told:?}"
    );
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}
