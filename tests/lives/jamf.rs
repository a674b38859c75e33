//! A Jamf server: a webhook, the computer's record fetched, events of what changed. With the API of today, and with that of
//! old servers, which tell a computer flat or as XML and have the Classic API alone.

use serde_json::{Value, json};

use crate::fake_jamf::{Jamf, Manner, STATIC};
use crate::support::agent::Client;
use crate::support::hub::Hub;
use crate::{end, event, events, start};

fn hub(jamf: &Jamf) -> Hub {
    let mut hub = Hub::new(&format!(
        "\n[source.jamf-prod]\nkind = \"jamf\"\nurl = \"{}\"\nclient = {{ id = \"6b1c\", secret = {{ env = \"JAMF_SECRET\" }} }}\n\
         webhook = {{ secret = \"of-the-webhooks\" }}\nunits = {{ \"Berlin HQ\" = \"default\" }}\nevery = \"6h\"\n\
         [stage.jamf]\nrun = \"pull jamf-prod\"\nfrom = \"topic:raw\"\nto = \"topic:pulled\"\n\
         [probe.new-system]\nfilter = '.type == \"inventory_os_version_update\" and .payload.action == \"changed\"'\n",
        jamf.url
    ));
    hub.edit(|text| {
        text.replace(
            "from = [\"topic:raw\", \"topic:outcomes\"",
            "from = [\"topic:raw\", \"topic:pulled\", \"topic:outcomes\"",
        )
    });
    hub.env("JAMF_SECRET", "s3cret of+the-client");
    start(&mut hub);
    hub
}

/// The server changes what it knows of a computer.
fn change(jamf: &Jamf, id: u64) {
    let mut computers = jamf.computers.lock().unwrap();
    let computer = computers.get_mut(&id).unwrap();
    computer["hardware"]["os_version"] = "26.1".into();
    computer["groups_accounts"]["computer_group_memberships"] = json!(["vip"]);
    let apps = computer["software"]["applications"].as_array_mut().unwrap();
    apps.push(json!({"name": "Helper.app", "path": "/Applications/Helper.app", "version": "1.2", "bundle_id": "com.example.helper"}));
}

fn changed(hub: &Hub, serial: &str) {
    let of = |event: &Value, kind: &str, action: &str| {
        event["type"] == format!("inventory_{kind}_update")
            && event["payload"]["action"] == action
            && event["machine"]["serial_number"] == serial
    };
    let version = event(hub, "a new version", |event| of(event, "os_version", "changed"));
    assert_eq!(version["payload"]["object"]["version"], "26.1");
    assert_eq!((&version["source"], &version["machine"]["os_version"]), (&json!("jamf-prod"), &json!("26.1")));
    assert_eq!((&version["machine"]["unit"], &version["machine"]["groups"]), (&json!("default"), &json!(["vip"])));
    assert_eq!(version["probes"][0]["name"], "new-system");
    let app = event(hub, "an application", |event| of(event, "osx_app", "added"));
    assert_eq!(app["payload"]["object"]["bundle_id"], "com.example.helper");
    assert_eq!(app["payload"].get("first"), None, "it was not there before");
    event(hub, "a group that it left", |event| of(event, "group", "removed"));
}

#[test]
fn a_webhook_brings_what_changed() {
    let jamf = Jamf::start(Manner::default(), 3);
    let hub = hub(&jamf);
    hub.wait("the first inventory", 30, || {
        events(&hub).iter().filter(|event| event["type"] == "inventory_machine_added").count() == 3
    });
    change(&jamf, 2);
    let asked = jamf.seen.lock().unwrap().requests.len();
    let mut webhook: Value =
        serde_json::from_str(include_str!("../data/jamf/chook/ComputerInventoryCompleted.json")).unwrap();
    webhook["event"] = json!({"computer": webhook["event"]}); // as servers of today say it
    webhook["event"]["computer"]["jssID"] = 2.into();
    webhook["event"]["computer"]["serialNumber"] = "C02X00002".into();
    let mut client = Client::new(&hub.ca(), hub.port);
    let basic = "Authorization: Basic amFtZjpvZi10aGUtd2ViaG9va3M=\r\nContent-Type: application/json\r\n"; // jamf:of-the-webhooks
    let body = webhook.to_string();
    let wrong = basic.replace("amFt", "amFu").replace("aG9va3M=", "aG9va3Q=");
    assert_eq!(client.request("POST", "/jamf/post_event/", &wrong, body.as_bytes()).unwrap().0, 403);
    assert_eq!(client.request("POST", "/jamf/post_event/", basic, body.as_bytes()).unwrap().0, 200);
    let told = event(&hub, "the webhook", |event| event["type"] == "jamf_computer_inventory_completed");
    assert_eq!(told["payload"], webhook["event"], "unchanged");
    changed(&hub, "C02X00002");
    let requests = jamf.seen.lock().unwrap().requests[asked..].to_vec();
    assert_eq!(requests, ["GET /JSSResource/computers/id/2"], "nothing else was asked for");
    // The same again is no change.
    assert_eq!(client.request("POST", "/jamf/post_event/", basic, body.as_bytes()).unwrap().0, 200);
    hub.wait("it to be fetched again", 30, || jamf.seen.lock().unwrap().requests.len() == asked + 2);
    hub.wait("what was fetched to be read", 30, || hub.ok(&["cat", "pulled", "--count"]).trim() == "5");
    assert_eq!(hub.matched("new-system"), 1);
    end(hub);
}

#[test]
fn an_old_server_tells_the_same() {
    let jamf = Jamf::start(Manner { old: true, ..Manner::default() }, 2);
    let hub = hub(&jamf);
    let added = || events(&hub).iter().filter(|event| event["type"] == "inventory_machine_added").count();
    hub.wait("the first inventory", 30, || added() == 2);
    change(&jamf, 1);
    let mut client = Client::new(&hub.ca(), hub.port);
    // XML, with the secret in the path; the computer stands flat in the event.
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><JSSEvent><webhook><id>1</id><name>old</name>\
        <webhookEvent>ComputerInventoryCompleted</webhookEvent></webhook><event><jssID>1</jssID>\
        <serialNumber>C02X00001</serialNumber><deviceName>old</deviceName></event></JSSEvent>";
    let path = "/jamf/post_event/of-the-webhooks/";
    assert_eq!(client.request("POST", path, "Content-Type: text/xml\r\n", xml.as_bytes()).unwrap().0, 200);
    changed(&hub, "C02X00001");
    // A computer that nobody has heard of checks in: it is fetched.
    let mut new = jamf.computers.lock().unwrap()[&2].clone();
    new["general"]["serial_number"] = "C02NEW".into();
    new["general"]["udid"] = "54F50251-7D34-470E-98D1-000000000099".into();
    jamf.computers.lock().unwrap().insert(99, new);
    let mut checkin: Value =
        serde_json::from_str(include_str!("../data/jamf/authored-jamf/edge_flat_checkin.json")).unwrap();
    checkin["event"]["jssID"] = 99.into();
    checkin["event"]["serialNumber"] = "C02NEW".into();
    assert_eq!(client.post(path, &checkin).unwrap().0, 200);
    let new = event(&hub, "the new one", |event| {
        event["type"] == "inventory_machine_added" && event["machine"]["serial_number"] == "C02NEW"
    });
    assert_eq!(new["payload"]["counts"]["osx_app"], 54);
    let log = hub.log();
    assert!(!log.contains("of-the-webhooks") && !log.contains("s3cret"), "no secret in the log: {log}");
    end(hub);
}

/// What a webhook tells opens an incident: the computer is put into a group, and out of it when the incident is over.
#[test]
fn a_match_puts_its_computer_into_a_group_until_it_is_over() {
    let jamf = Jamf::start(Manner::default(), 3);
    let mut hub = Hub::new(&format!(
        "\n[source.jamf-prod]\nkind = \"jamf\"\nurl = \"{}\"\n\
         client = {{ id = \"6b1c\", secret = {{ env = \"JAMF_SECRET\" }} }}\nwebhook = {{ secret = \"of-the-webhooks\" }}\n\
         [probe.new-one]\nfilter = '.type == \"jamf_computer_added\"'\n\
         until = '.type == \"jamf_computer_inventory_completed\"'\nact = [\"quarantine\"]\n\
         [action.quarantine]\nkind = \"jamf\"\nsource = \"jamf-prod\"\ngroup = \"{}\"\nmax = \"20/h\"\n",
        jamf.url, STATIC.1
    ));
    hub.env("JAMF_SECRET", "s3cret of+the-client");
    start(&mut hub);
    let mut client = Client::new(&hub.ca(), hub.port);
    let mut say = |event: &str, computer: u64| {
        let mut webhook: Value =
            serde_json::from_str(include_str!("../data/jamf/chook/ComputerInventoryCompleted.json")).unwrap();
        webhook["webhook"]["webhookEvent"] = event.into();
        webhook["event"]["jssID"] = computer.into();
        webhook["event"]["serialNumber"] = format!("C02X{computer:05}").into();
        assert_eq!(client.post("/jamf/post_event/of-the-webhooks/", &webhook).unwrap().0, 200);
    };
    let members =
        || -> Vec<u64> { jamf.seen.lock().unwrap().groups.get(&STATIC.0).into_iter().flatten().copied().collect() };
    say("ComputerAdded", 2);
    hub.wait("the computer to be in the group", 30, || members() == [2]);
    say("ComputerAdded", 3);
    hub.wait("another one, too", 30, || members() == [2, 3]);
    say("ComputerInventoryCompleted", 2);
    hub.wait("the first one to be out of it", 30, || members() == [3]);
    let done = |event: &Value| event["type"] == "action_done" && event["payload"]["kind"] == "jamf";
    hub.wait("the outcomes", 30, || events(&hub).iter().filter(|event| done(event)).count() == 3);
    let said = format!("{}{}", hub.log(), hub.ok(&["cat", "outcomes"]));
    assert!(!said.contains("s3cret") && !said.contains("token-"), "no secret is told: {said}");
    end(hub);
}
