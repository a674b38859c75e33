//! Jamf Pro: the server of `pull`'s tests, which behaves as developer.jamf.com documents. Tokens of an API client
//! (`POST /api/v1/oauth/token`, a form; 401 for another client); the Classic API (`/JSSResource`) reads as JSON with
//! `Accept: application/json` and writes XML only (201; 415 for anything else, 404 for what is not there, 409 for what
//! cannot be, as a member that is put into a smart group); commands by `POST /api/v2/mdm/commands` and
//! `/api/v2/mdm/blank-push` as JSON, for computers as the MDM knows them (400 with `errors`).

#[path = "../../../pull/tests/support/mod.rs"]
pub mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use server::{Manner, Seen};

use super::{Reply, Request, Service};

/// The API client that it takes.
pub const ID: &str = "6b1c";
pub const SECRET: &str = "s3cret of+the-client";

/// One with so many computers; what became of it is in `seen`.
pub struct Jamf {
    pub manner: Manner,
    pub seen: Arc<Mutex<Seen>>,
    computers: Mutex<BTreeMap<u64, Value>>,
}

impl Jamf {
    pub fn new(computers: u64) -> Self {
        let all = (1..=computers).map(|id| (id, server::computer(id))).collect();
        Self { manner: Manner::default(), seen: Arc::default(), computers: Mutex::new(all) }
    }
}

impl Jamf {
    /// The computer of this number has the serial number of another.
    pub fn share_serial(&self, number: u64, other: u64) {
        let serial = server::computer(other)["general"]["serial_number"].clone();
        self.computers.lock().unwrap().get_mut(&number).unwrap()["general"]["serial_number"] = serial;
    }
}

impl Service for Jamf {
    fn answer(&mut self, request: &Request) -> Reply {
        let query: Vec<String> = request.query.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let line = format!("{} {}{mark}{}", request.method, request.raw_path, query.join("&"));
        let (status, _, body) =
            server::answer(&line, &request.headers, &request.body, &self.manner, &self.seen, &self.computers);
        Reply::json(status, body)
    }
}

fn quoted(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let mut jamf = Jamf::new(2);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let mut ask =
            |line: &str, headers: &[(&str, &str)], body: &str| jamf.answer(&Request::new(line, headers, body));
        assert_eq!(ask("POST /api/v1/oauth/token", &form, "grant_type=client_credentials&client_id=x").status, 401);
        let token = ask("POST /api/v1/oauth/token", &form, server::CLIENT).value();
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let xml = [("Authorization", bearer.as_str()), ("Content-Type", "text/xml")];
        let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let add =
            "<computer_group><computer_additions><computer><id>2</id></computer></computer_additions></computer_group>";
        let put = "PUT /JSSResource/computergroups/id/";
        for (line, headers, body, status) in [
            (format!("{put}3"), &xml[1..], add, 401),
            (format!("{put}3"), &json[..], "{}", 415),
            (format!("{put}5"), &xml, add, 409),
            (format!("{put}9"), &xml, add, 404),
            (format!("{put}3"), &xml, "<computer_group/>", 400),
            (
                "PUT /JSSResource/computers/id/2".into(),
                &xml,
                "<computer><extension_attributes><extension_attribute><id>4</id><value>a<b></value></extension_attribute></extension_attributes></computer>",
                400,
            ),
            (
                "POST /api/v2/mdm/commands".into(),
                &json,
                r#"{"clientData":[{"managementId":"x"}],"commandData":{"commandType":"DEVICE_LOCK"}}"#,
                400,
            ),
            (format!("{put}3"), &xml, add, 201),
        ] {
            assert_eq!(ask(&line, headers, body).status, status, "{line} {body}");
        }
        let lock = |pin: &str| {
            let id = server::management(1);
            format!(
                r#"{{"clientData":[{{"managementId":"{id}"}}],"commandData":{{"commandType":"DEVICE_LOCK","pin":"{pin}"}}}}"#
            )
        };
        assert_eq!(ask("POST /api/v2/mdm/commands", &json, &lock("12345")).status, 400);
        assert_eq!(ask("POST /api/v2/mdm/commands", &json, &lock("123456")).status, 201);
        assert_eq!(ask("GET /JSSResource/computers/id/1", &xml, "").status, 406);
    }
}
