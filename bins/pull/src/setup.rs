//! Makes the webhooks on a Jamf server that call this hub, or removes them.

use pipe::config::{Config, Secret};
use pipe::{Exit, StageError};
use serde_json::Value;

use crate::conf::{Conf, Keys};
use remote::http::Trouble;
use remote::jamf::{Jamf, number_of};

/// What a server tells of, but for the members of smart groups: such a webhook is about one group.
const EVENTS: [&str; 20] = [
    "ComputerAdded",
    "ComputerCheckIn",
    "ComputerInventoryCompleted",
    "ComputerPatchPolicyCompleted",
    "ComputerPolicyFinished",
    "ComputerPushCapabilityChanged",
    "DeviceAddedToDEP",
    "DeviceRateLimited",
    "JSSShutdown",
    "JSSStartup",
    "MobileDeviceCheckIn",
    "MobileDeviceCommandCompleted",
    "MobileDeviceEnrolled",
    "MobileDeviceInventoryCompleted",
    "MobileDevicePushSent",
    "MobileDeviceUnEnrolled",
    "PatchSoftwareTitleUpdated",
    "PushSent",
    "RestAPIOperation",
    "SCEPChallenge",
];
const WEBHOOKS: &str = "/JSSResource/webhooks";

/// Makes the webhooks of this source, or makes those that are there call this hub; `remove`: removes them.
///
/// # Errors
/// 2: the configuration does not say enough; 4: the server.
pub fn setup(config: &Config, name: &str, remove: bool) -> Result<Exit, StageError> {
    let conf = Conf::of(config, name)?;
    let Keys::Jamf { id, secret } = &conf.keys else {
        return Err(StageError::usage(format!("`{name}` is no Jamf server")));
    };
    let wrong = |why: String| StageError::usage(format!("source.{name}: {why}"));
    let jamf = crate::jamf(&conf, id, secret).map_err(wrong)?;
    let hook = if remove { None } else { Some(Hook::read(config, name)?) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| StageError::state(e.to_string()))?;
    let done = runtime.block_on(change(&jamf, name, hook.as_ref()));
    let (what, count) = (if remove { "removed" } else { "made" }, done.map_err(|t| trouble(name, &t))?);
    tracing::info!("{name}: {count} webhooks {what}");
    Ok(Exit::Done)
}

fn trouble(name: &str, trouble: &Trouble) -> StageError {
    StageError::unreachable(format!("{name}: {trouble}"))
}

/// Where a server is to call, and what it is to say.
struct Hook {
    url: String,
    secret: String,
}

impl Hook {
    fn read(config: &Config, name: &str) -> Result<Self, StageError> {
        let wrong = |why: &str| StageError::usage(format!("source.{name}: {why}"));
        let base = config.url.as_deref().ok_or_else(|| StageError::usage("needs the key `url`: where the hub is"))?;
        let mut table = config.sources.get(name).cloned().ok_or_else(|| wrong("is not there"))?;
        let mut webhook = table.table("webhook").ok_or_else(|| wrong("needs the key `webhook` = { secret = … }"))?;
        if webhook.str("header").is_some_and(|header| !header.eq_ignore_ascii_case("authorization")) {
            return Err(wrong(
                "with `webhook.header` make the webhooks by hand: here they say the secret as a password",
            ));
        }
        let secret = webhook.secret("secret").ok_or_else(|| wrong("`webhook` needs the key `secret`"))?;
        let secret = Secret::resolve(&secret).map_err(|why| wrong(&why))?;
        Ok(Self { url: format!("{}/jamf/post_event/", base.trim_end_matches('/')), secret })
    }

    /// Only XML is taken to write.
    fn xml(&self, name: &str, event: &str) -> String {
        let (url, secret) = (escaped(&self.url), escaped(&self.secret));
        format!(
            "<webhook><name>{}</name><enabled>true</enabled><url>{url}</url><content_type>application/json</content_type>\
             <event>{event}</event><authentication_type>BASIC</authentication_type><username>zentral</username>\
             <password>{secret}</password></webhook>",
            escaped(name)
        )
    }
}

/// How many were made (`hook`) or removed.
async fn change(jamf: &Jamf, source: &str, hook: Option<&Hook>) -> Result<usize, Trouble> {
    let told = jamf.get(WEBHOOKS).await?;
    let there = told.get("webhooks").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut changed = 0;
    for event in EVENTS {
        let name = format!("zentral {source} {event}");
        let ids =
            there.iter().filter(|one| one.get("name").and_then(Value::as_str) == Some(&name)).filter_map(number_of);
        let mut ids: Vec<u64> = ids.collect();
        let Some(hook) = hook else {
            for id in ids {
                jamf.write(reqwest::Method::DELETE, &format!("{WEBHOOKS}/id/{id}"), None).await?;
                changed += 1;
            }
            continue;
        };
        let xml = hook.xml(&name, event);
        let (method, id) = match ids.pop() {
            Some(id) => (reqwest::Method::PUT, id),
            None => (reqwest::Method::POST, 0),
        };
        jamf.write(method, &format!("{WEBHOOKS}/id/{id}"), Some(&xml)).await?;
        changed += 1;
    }
    Ok(changed)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
    out
}
