//! What is changed on a Jamf server: members of static groups and extension attributes by the Classic API, which takes XML
//! only; commands of the MDM by the Pro API.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Jamf, LISTS, Which, number_of, odd, place};
use crate::http::Trouble;
use crate::quoted;

const GROUPS: &str = "/JSSResource/computergroups";
const ATTRIBUTES: &str = "/JSSResource/computerextensionattributes";
const COMMANDS: &str = "/api/v2/mdm/commands";
const BLANK_PUSH: &str = "/api/v2/mdm/blank-push";

/// A group or an extension attribute, as the configuration calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By the server's number.
    Id(u64),
    /// By its name.
    Name(String),
}

/// A request that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// What it says.
    pub body: Body,
}

/// XML for the Classic API, JSON for the Pro API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Body {
    Xml(String),
    Json(Value),
}

/// A computer goes into a static group, or out of it. `computer` and `group` are numbers.
pub fn membership(group: &str, computer: &str, member: bool) -> Change {
    let what = if member { "computer_additions" } else { "computer_deletions" };
    let xml =
        format!("<computer_group><{what}><computer><id>{}</id></computer></{what}></computer_group>", text(computer));
    Change { method: Method::PUT, path: format!("{GROUPS}/id/{group}"), body: Body::Xml(xml) }
}

/// An extension attribute of a computer says this from now on. `computer` and `attribute` are numbers.
pub fn attribute(attribute: &str, computer: &str, value: &str) -> Change {
    let (id, value) = (text(attribute), text(value));
    let xml = format!(
        "<computer><extension_attributes><extension_attribute><id>{id}</id><value>{value}</value></extension_attribute>\
         </extension_attributes></computer>"
    );
    Change { method: Method::PUT, path: format!("/JSSResource/computers/id/{computer}"), body: Body::Xml(xml) }
}

/// A command for the computer that the MDM knows by this id. `more`: what belongs to the command.
pub fn command(management: &str, command: &str, more: &[(&str, &str)]) -> Change {
    if command == "BLANK_PUSH" {
        let body = json!({"clientManagementIds": [management]});
        return Change { method: Method::POST, path: BLANK_PUSH.to_owned(), body: Body::Json(body) };
    }
    let mut data = json!({"commandType": command});
    if let Some(map) = data.as_object_mut() {
        map.extend(more.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    }
    let body = json!({"clientData": [{"managementId": management}], "commandData": data});
    Change { method: Method::POST, path: COMMANDS.to_owned(), body: Body::Json(body) }
}

/// As text in XML: escaped, and without what no XML may hold.
fn text(text: &str) -> String {
    let allowed =
        |c: &char| matches!(c, '\t' | '\n' | '\r') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    quick_xml::escape::escape(text.chars().filter(allowed).collect::<String>()).into_owned()
}

impl Jamf {
    /// Makes a change.
    pub async fn make(&self, change: &Change) -> Result<(), Trouble> {
        match &change.body {
            Body::Xml(xml) => self.write(change.method.clone(), &change.path, Some(xml)).await,
            Body::Json(json) => {
                let told = self.post(&change.path, json).await?;
                // A push that did not go out is named, with a 200.
                match told.get("errorUuids").and_then(Value::as_array) {
                    Some(failed) if !failed.is_empty() => Err(Trouble::Other("the push did not go out".into())),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The number of this computer: by the Pro API, or by the Classic one of servers that have no other. A server that
    /// gives another than it was asked for must not have that one changed, and of several nobody knows which is meant.
    pub async fn find(&self, which: &Which) -> Result<u64, Trouble> {
        let (filter, id) = match which {
            Which::Id(id) => return Ok(*id),
            Which::Serial(serial) => ("hardware.serialNumber", serial),
            Which::Udid(udid) => ("udid", udid),
        };
        // It becomes a part of a query: what is no name of a computer is none that the server knows.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Trouble::Missing);
        }
        let of = |computer: &Value, at: &str| {
            computer.pointer(at).and_then(Value::as_str).is_some_and(|said| said.eq_ignore_ascii_case(id))
        };
        for list in LISTS {
            match self.get(&format!("{list}?{}", query(filter, id))).await {
                Err(Trouble::Missing) => {}
                Err(why) => return Err(why),
                Ok(told) => {
                    let all =
                        told.get("results").and_then(Value::as_array).ok_or_else(|| odd("a page of computers"))?;
                    let same = |one: &&Value| of(one, "/hardware/serialNumber") || of(one, "/udid");
                    let numbers: HashSet<u64> = all.iter().filter(same).filter_map(number_of).collect();
                    return match numbers.len() {
                        0 | 1 => numbers.into_iter().next().ok_or(Trouble::Missing),
                        // Nobody knows which of them the machine is.
                        _ => Err(Trouble::Other(format!("Jamf has several computers of this {}", name_of(which)))),
                    };
                }
            }
        }
        let told = self.get(&format!("{}/subset/General", place(which))).await?;
        let general = told.pointer("/computer/general").filter(|one| of(one, "/serial_number") || of(one, "/udid"));
        general.and_then(number_of).ok_or_else(|| odd("the record of a computer"))
    }

    /// By what the MDM knows this computer.
    pub async fn management(&self, computer: u64) -> Result<String, Trouble> {
        for list in LISTS {
            match self.get(&format!("{list}-detail/{computer}")).await {
                Err(Trouble::Missing) => {}
                Err(why) => return Err(why),
                Ok(told) => {
                    let id = told.pointer("/general/managementId").and_then(Value::as_str);
                    let id = id.filter(|id| !id.is_empty()).map(str::to_owned);
                    return id.ok_or_else(|| Trouble::Other("the MDM does not manage this computer".into()));
                }
            }
        }
        Err(Trouble::Missing)
    }

    /// The number of a static group: who is in a smart one nobody can say but its criteria.
    pub async fn static_group(&self, group: &Named) -> Result<u64, Trouble> {
        let told = self.get(GROUPS).await?;
        let all = told.get("computer_groups").and_then(Value::as_array).ok_or_else(|| odd("the list of groups"))?;
        let is_it = |one: &&Value| match group {
            Named::Id(id) => number_of(one) == Some(*id),
            Named::Name(name) => one.get("name").and_then(Value::as_str) == Some(name),
        };
        let found = all.iter().find(is_it).ok_or(Trouble::Missing)?;
        if found.get("is_smart").and_then(Value::as_bool) != Some(false) {
            return Err(Trouble::Other("the group is a smart one: its criteria say who is in it".into()));
        }
        number_of(found).ok_or_else(|| odd("the list of groups"))
    }

    /// The numbers of the computers in a static group.
    pub async fn members(&self, group: u64) -> Result<HashSet<u64>, Trouble> {
        let told = self.get(&format!("{GROUPS}/id/{group}")).await?;
        let all = told.pointer("/computer_group/computers").and_then(Value::as_array);
        Ok(all.ok_or_else(|| odd("a group"))?.iter().filter_map(number_of).collect())
    }

    /// The number of an extension attribute.
    pub async fn attribute(&self, attribute: &Named) -> Result<u64, Trouble> {
        let name = match attribute {
            Named::Id(id) => return Ok(*id),
            Named::Name(name) => name,
        };
        let told = self.get(&format!("{ATTRIBUTES}/name/{}", quoted(name))).await?;
        let found = told.get("computer_extension_attribute").and_then(number_of);
        found.ok_or_else(|| odd("an extension attribute"))
    }
}

fn name_of(which: &Which) -> &'static str {
    match which {
        Which::Id(_) => "number",
        Which::Serial(_) => "serial number",
        Which::Udid(_) => "hardware UUID",
    }
}

/// What asks the Pro API for one computer.
fn query(filter: &str, id: &str) -> String {
    let filter = quoted(&format!("{filter}==\"{id}\""));
    format!("page=0&page-size=2&section=HARDWARE&filter={filter}")
}

/// What is asked first about a computer.
pub fn lookup(which: &Which) -> String {
    match which {
        Which::Id(_) => place(which),
        Which::Serial(serial) => format!("{}?{}", LISTS[0], query("hardware.serialNumber", serial)),
        Which::Udid(udid) => format!("{}?{}", LISTS[0], query("udid", udid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_xml_whatever_the_value_says() {
        let change = attribute("3", "7", "</value><id>4</id>\u{0}&\u{7}\u{ffff} \"a'\n");
        let Body::Xml(xml) = change.body else { return assert_eq!(change.path, "XML") };
        assert_eq!(
            xml,
            "<computer><extension_attributes><extension_attribute><id>3</id><value>&lt;/value&gt;&lt;id&gt;4&lt;/id&gt;&amp; \
             &quot;a&apos;\n</value></extension_attribute></extension_attributes></computer>"
        );
        assert_eq!(place(&Which::Serial("../1 a".into())), "/JSSResource/computers/serialnumber/..%2F1%20a");
    }
}
