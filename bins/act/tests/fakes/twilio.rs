//! Twilio's Messages resource (www.twilio.com/docs/messaging/api/message-resource): `POST
//! /2010-04-01/Accounts/{SID}/Messages.json` as a form with Basic login, 201 with the message as JSON, `status` `queued`.
//! Wrong are, with 400 and a `code`: no `To` (21604) or one that is no E.164 (21211), no `From` nor `MessagingServiceSid`
//! (21603), one that is not ours (21606), no `Body` (21602), one over 1,600 characters (21617), somebody who said STOP
//! (21610), a `StatusCallback` that is no URL (21609). 401 with 20003: wrong login. 404 with 20404: no such resource.
//! 429 with 20429: too many at once. Errors: www.twilio.com/docs/api/errors. It knows no idempotency key: what comes
//! twice is sent twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Reply, Request, Service};

pub const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "0f0e0d0c0b0a09080706050403020100";
/// `ACCOUNT:TOKEN` in base64.
pub const LOGIN: &str =
    "Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjowZjBlMGQwYzBiMGEwOTA4MDcwNjA1MDQwMzAyMDEwMA==";
pub const FROM: &str = "+4930000000";
pub const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
/// Said STOP.
pub const STOPPED: &str = "+491700000099";

/// What was queued: the fields of each form.
#[derive(Clone, Default)]
pub struct Twilio(pub Arc<Mutex<Vec<BTreeMap<String, String>>>>);

impl Service for Twilio {
    fn answer(&mut self, request: &Request) -> Reply {
        match self.judge(request) {
            Ok(reply) => reply,
            Err((status, code, message)) => Reply::json(
                status,
                json!({
                    "code": code, "message": message, "status": status,
                    "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
                }),
            ),
        }
    }
}

type Wrong = (u16, u32, String);

impl Twilio {
    pub fn queued(&self) -> Vec<BTreeMap<String, String>> {
        self.0.lock().unwrap().clone()
    }

    fn judge(&mut self, request: &Request) -> Result<Reply, Wrong> {
        let wrong = |status, code, message: &str| Err((status, code, message.to_owned()));
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if path != ["2010-04-01", "Accounts", ACCOUNT, "Messages.json"] {
            return wrong(404, 20404, &format!("The requested resource {} was not found", request.raw_path));
        }
        if request.header("authorization") != LOGIN {
            return wrong(401, 20003, "Authenticate");
        }
        match request.method.as_str() {
            "GET" => Ok(Reply::json(200, json!({"messages": [], "page": 0, "page_size": 1}))),
            "POST" => self.take(request),
            _ => wrong(405, 20004, "Method not allowed"),
        }
    }

    fn take(&mut self, request: &Request) -> Result<Reply, Wrong> {
        let wrong = |code, message: &str| Err((400, code, message.to_owned()));
        if request.header("content-type") != "application/x-www-form-urlencoded" {
            return wrong(21604, "A 'To' phone number is required.");
        }
        let Some(form) = request.form() else { return wrong(20001, "The form is no UTF-8") };
        let field = |name: &str| form.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let Some(to) = field("To") else { return wrong(21604, "A 'To' phone number is required.") };
        if !is_e164(to) {
            return wrong(21211, &format!("The 'To' number {to} is not a valid phone number."));
        }
        match (field("From"), field("MessagingServiceSid")) {
            (None, None) => return wrong(21603, "A 'From' phone number is required."),
            (Some(FROM), None) | (_, Some(SERVICE)) => {}
            (Some(from), _) => return wrong(21606, &format!("The 'From' phone number {from} is not yours")),
            (None, Some(_)) => return wrong(21701, "The Messaging Service does not exist"),
        }
        let Some(body) = field("Body") else { return wrong(21602, "Message body is required.") };
        if body.chars().count() > 1_600 {
            return wrong(21617, "The concatenated message body exceeds the 1600 character limit.");
        }
        if field("StatusCallback").is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return wrong(21609, "The 'StatusCallback' URL is not a valid URL.");
        }
        if to == STOPPED {
            return wrong(21610, "Attempt to send to unsubscribed recipient");
        }
        let mut queued = self.0.lock().unwrap();
        queued.push(form.clone());
        let sid = format!("SM{:032x}", queued.len());
        let service: Value = field("MessagingServiceSid").into();
        Ok(Reply::json(
            201,
            json!({
                "sid": sid, "account_sid": ACCOUNT, "to": to, "from": field("From"), "messaging_service_sid": service,
                "body": body, "status": "queued", "error_code": null, "error_message": null, "price": null,
            }),
        ))
    }
}

fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let ask = |login: &str, form: &str| {
            let headers = [("Authorization", login), ("Content-Type", "application/x-www-form-urlencoded")];
            let line = format!("POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json");
            let reply = Twilio::default().answer(&Request::new(&line, &headers, form));
            (reply.status, reply.value()["code"].as_u64())
        };
        let good = "To=%2B491700000000&From=%2B4930000000&Body=a";
        assert_eq!(ask(LOGIN, good), (201, None));
        assert_eq!(ask("Basic QUMwOnRva2Vu", good), (401, Some(20003)));
        let long = format!("{good}{}", "x".repeat(1_600));
        for (form, code) in [
            ("From=%2B4930000000&Body=a", 21604),
            ("To=0170&From=%2B4930000000&Body=a", 21211),
            ("To=%2B491700000000&Body=a", 21603),
            ("To=%2B491700000000&From=%2B1500&Body=a", 21606),
            ("To=%2B491700000000&From=%2B4930000000", 21602),
            ("To=%2B491700000099&From=%2B4930000000&Body=a", 21610),
            ("To=%2B491700000000&From=%2B4930000000&Body=a&StatusCallback=hub", 21609),
            (long.as_str(), 21617),
        ] {
            assert_eq!(ask(LOGIN, form), (400, Some(code)), "{form}");
        }
        let elsewhere = Request::new("POST /2010-04-01/Accounts/AC1/Messages.json", &[("Authorization", LOGIN)], good);
        assert_eq!(Twilio::default().answer(&elsewhere).status, 404);
    }
}
