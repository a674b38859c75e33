//! (c) Software unused for 30 days is slated for removal in the machine's own manifest, and stays when it is wanted.

use registry::db::{Db, Schema};
use serde_json::{Value, json};

use crate::fakes::{Fake, slack};
use crate::mac::Mac;
use crate::page::{blocks, with};
use crate::support::hub::Hub;
use crate::{SLACK_TOKEN, messages, outcomes, start, with_filters};

const SERIAL: &str = "C02X00001";
const DAY: i64 = 86_400;
const MANIFEST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n\t<key>catalogs</key>\n\t<array>\n\
    \t\t<string>production</string>\n\t</array>\n\t<key>managed_uninstalls</key>\n\t<array>\n\
    \t\t<string>Flash</string> <!-- by hand -->\n\t</array>\n</dict>\n</plist>\n";

/// The tables that the query asks, as osquery has them: it, too, is SQLite.
const TABLES: Schema = Schema {
    name: "mac",
    migrations: &["CREATE TABLE apps (name TEXT, path TEXT, bundle_identifier TEXT, last_opened_time DOUBLE);
        CREATE TABLE file (path TEXT, ctime BIGINT);
        CREATE TABLE munki_usage (event TEXT, bundle_id TEXT, app_version TEXT, app_path TEXT, last_time TEXT, number_times TEXT);"],
};

/// What one Mac has, and what is known of its use.
struct Apps(Db);

impl Apps {
    fn new() -> Self {
        Self(Db::memory(&[TABLES]).unwrap())
    }

    /// An application: macOS opened it so many days ago (none: it does not know), it was put there so many days ago.
    fn app(&mut self, name: &str, opened: Option<i64>, put: i64) {
        let path = format!("/Applications/{name}.app");
        let opened = opened.map_or("-1".into(), |days| format!("strftime('%s', 'now') - {days} * {DAY} + 0.5"));
        self.run(&format!("DELETE FROM apps WHERE path = '{path}'"));
        self.run(&format!("INSERT INTO apps VALUES ('{name}.app', '{path}', 'com.example.{name}', {opened})"));
        self.run(&format!("INSERT INTO file VALUES ('{path}', strftime('%s', 'now') - {put} * {DAY})"));
    }

    /// Munki saw this so many days ago.
    fn seen(&mut self, event: &str, name: &str, days: i64) {
        let at = format!("strftime('%s', 'now') - {days} * {DAY}");
        self.run(&format!("INSERT INTO munki_usage VALUES ('{event}', 'com.example.{name}', '1', '', {at}, '3')"));
    }

    fn run(&mut self, sql: &str) {
        let mut tx = self.0.begin().unwrap();
        tx.execute(sql, &[]).unwrap();
        tx.commit().unwrap();
    }

    /// The rows of the query that the hub schedules.
    fn rows(&self, sql: &str) -> Vec<Value> {
        let rows = self.0.query(sql, &[]).unwrap();
        rows.iter().map(|r| json!({"bundle_id": r.text(0), "name": r.text(1), "last_used": r.text(2)})).collect()
    }
}

/// Sends what osquery would of a run: the rows that are new, and those that are gone.
fn run(mac: &mut Mac, apps: &Apps, before: &mut Vec<Value>, n: u64) {
    let (_, sql) = mac.scheduled("unused-application");
    let now = apps.rows(&sql);
    for row in before.iter().filter(|row| !now.contains(row)) {
        mac.row("unused-application", n, "removed", row.clone());
    }
    for row in now.iter().filter(|row| !before.contains(row)) {
        mac.row("unused-application", n, "added", row.clone());
    }
    *before = now;
}

#[test]
fn unused_software_is_slated_and_stays_when_it_is_wanted() {
    let slack = Fake::start(slack::Slack::default(), vec![]);
    let page = with(&blocks("unused-software", "toml"), "\"/srv/munki\"", "\"munki\"");
    let page = with(&page, "kind  = \"slack-user\"", &format!("url = \"{}\"\nkind = \"slack-user\"", slack.url));
    let mut hub = Hub::new(&format!("\n{page}"));
    with_filters(&hub);
    let item = |name: &str| {
        format!(
            "<dict><key>name</key><string>{name}</string><key>uninstallable</key><true/><key>uninstall_method</key>\
             <string>removecopieditems</string><key>installs</key><array><dict><key>CFBundleIdentifier</key>\
             <string>com.example.{name}</string></dict></array></dict>"
        )
    };
    let catalog = format!("<plist><array>{}{}</array></plist>", item("Painter"), item("Drawer"));
    let preset = std::fs::read_to_string("docs/promises/slack-user.toml").unwrap();
    for (name, text) in [
        ("actions/slack-user.toml", preset.as_str()),
        ("munki/catalogs/production", &catalog),
        ("munki/manifests/C02X00001", MANIFEST),
        ("munki/manifests/C02X00009", MANIFEST),
    ] {
        std::fs::create_dir_all(hub.path(name).parent().unwrap()).unwrap();
        std::fs::write(hub.path(name), text).unwrap();
    }
    hub.env("SLACK_TOKEN", SLACK_TOKEN);
    start(&mut hub);

    let manifest = |hub: &Hub, serial: &str| std::fs::read_to_string(hub.path("munki/manifests").join(serial)).unwrap();
    let of = |hub: &Hub, type_: &str| -> Vec<Value> {
        outcomes(hub, "slate-unused").into_iter().filter(|event| event["type"] == type_).collect()
    };
    let mut mac = Mac::new(&hub, SERIAL, Some(slack::PERSON.0));
    let usage = &mac.config()["auto_table_construction"]["munki_usage"];
    assert_eq!(usage["path"], "/Library/Managed Installs/application_usage.sqlite");
    let mut apps = Apps::new();
    apps.app("Painter", Some(40), 90);
    apps.app("Drawer", None, 90);
    apps.app("Stranger", Some(50), 90);
    apps.app("Fresh", None, 2);
    apps.app("Daily", Some(60), 90);
    apps.seen("activate", "Daily", 1);
    apps.seen("launch", "Painter", 1);
    let mut rows = Vec::new();
    run(&mut mac, &apps, &mut rows, 0);
    assert_eq!(rows.len(), 2, "Munki's records begin yesterday, so nobody knows of the Drawer: {rows:?}");
    // The dry run: what would be done is written down; nothing is, and nobody is told.
    hub.wait("the dry run", 60, || of(&hub, "action_done").len() + of(&hub, "action_failed").len() == 2);
    assert!(of(&hub, "action_done").iter().all(|event| event["payload"]["dry_run"] == true));
    assert_eq!((manifest(&hub, SERIAL).as_str(), slack.got().len()), (MANIFEST, 0));

    // In earnest: the incidents of the dry run are closed, and the query is a new one.
    for incident in incidents(&hub) {
        hub.ok(&["act", "incidents", "--close", incident["id"].as_str().unwrap()]);
    }
    hub.wait("their end", 60, || incidents(&hub).is_empty());
    let before = of(&hub, "action_done").len();
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    hub.edit(|text| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("dry_run   = true")).collect();
        with(&lines.join("\n"), "FROM used, past", "FROM used, past -- for real")
    });
    start(&mut hub);
    rows.clear();
    apps.seen("activate", "Somebody", 31);
    run(&mut mac, &apps, &mut rows, 0);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let slated = |names: &str| MANIFEST.replace("hand -->\n", &format!("hand -->\n{names}"));
    let line = |name: &str| format!("\t\t<string>{name}</string>\n");
    let done = |hub: &Hub| of(hub, "action_done").len() - before;
    hub.wait("two to be slated", 60, || done(&hub) == 2);
    assert_eq!(manifest(&hub, SERIAL), slated(&(line("Drawer") + &line("Painter"))));
    assert_eq!(manifest(&hub, "C02X00009"), MANIFEST, "this machine alone");
    // No item brings the third; nobody is told of it, but in the dead letters.
    hub.wait("a dead letter", 60, || {
        hub.ok(&["act", "dead"]).contains("no item that can be removed installs `com.example.Stranger`")
    });
    hub.wait("the owner to be told", 60, || messages(&slack).len() == 2);

    // It is used again.
    apps.seen("activate", "Painter", 0);
    run(&mut mac, &apps, &mut rows, 1);
    hub.wait("the Painter to stay", 60, || manifest(&hub, SERIAL) == slated(&line("Drawer")));
    // Somebody asks for the other.
    let open = incidents(&hub);
    let drawer = open.iter().find(|one| one["key"] == format!("{SERIAL} com.example.Drawer")).unwrap();
    hub.ok(&[
        "act",
        "incidents",
        "--close",
        drawer["id"].as_str().unwrap(),
        "--by",
        "ada",
        "--comment",
        "for the audit",
    ]);
    hub.wait("the Drawer to stay", 60, || manifest(&hub, SERIAL) == MANIFEST);
    hub.wait("the owner to be told", 60, || messages(&slack).len() == 4);
    let told = messages(&slack);
    assert!(told.iter().all(|(channel, ..)| channel == slack::PERSON.1), "{told:?}");
    for text in
        ["Painter will be removed from", "Drawer will be removed", "Painter is no longer", "Drawer is no longer"]
    {
        assert_eq!(told.iter().filter(|(.., said)| said.contains(text)).count(), 1, "{text}: {told:?}");
    }
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

fn incidents(hub: &Hub) -> Vec<Value> {
    let out = hub.run(&["act", "incidents"]).stdout;
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
