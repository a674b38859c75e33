//! What a mail says: the same in plain text and in HTML, and the headers that sort and thread it.
//!
//! Everything of a match is text: what HTML would read as its own is escaped, headers are one line each. Mails about one
//! incident hang together by `References` (RFC 5322, § 3.6.4), mails of one action by `List-Id` (RFC 2919).

use std::fmt::Write as _;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::told::Phase;

/// How each link is called.
const LINKS: [(&str, &str); 4] =
    [("incident", "Incident"), ("machine", "Machine"), ("event", "Event"), ("explain", "Why it matched")];
/// Inline, because many mail programs throw away style sheets.
const PAGE: &str = "font:15px/1.5 sans-serif;color:#1a1a1a;max-width:46em";
const CELL: &str = "padding:1px 12px 1px 0;vertical-align:top";
const RAW: &str = "font:13px/1.4 monospace;white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f4f4;padding:8px";

/// A mail before it has a sender and a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// One line.
    pub subject: String,
    /// `Message-ID`, with its brackets: the same for every try.
    pub id: String,
    /// The mail that began the thread, if this one follows it.
    pub thread: Option<String>,
    /// `List-Id`, with its brackets.
    pub list: String,
    /// The part in plain text.
    pub text: String,
    /// The part in HTML.
    pub html: String,
}

impl Draft {
    /// Of a delivery. `domain` is ours, in ASCII.
    pub fn of(call: &Call, domain: &str) -> Self {
        let own = format!("<{}@{domain}>", call.key);
        let (id, thread) = match (&call.told.incident, call.told.state) {
            (Some(incident), Some(phase)) => {
                // Made of what is known each time, so that nothing need be remembered of the first mail.
                let root = format!("<{}@{domain}>", root(&incident.id, &call.action, &call.target));
                if phase == Phase::Opened { (root, None) } else { (own, Some(root)) }
            }
            _ => (own, None),
        };
        let list = format!("<{}.{domain}>", call.action);
        Self { subject: call.title(), id, thread, list, text: text(call), html: html(call) }
    }

    /// The whole mail.
    pub fn message(&self, from: &Mailbox, to: Mailbox) -> Result<Message, String> {
        let mut builder = Message::builder()
            .from(from.clone())
            .to(to)
            .subject(self.subject.clone())
            .message_id(Some(self.id.clone()))
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("List-Id", &self.list));
        if let Some(root) = &self.thread {
            builder = builder.in_reply_to(root.clone()).references(root.clone());
        }
        let both = MultiPart::alternative_plain_html(self.text.clone(), self.html.clone());
        builder.multipart(both).map_err(|e| format!("no mail can be made of it: {e}"))
    }

    /// For a dry run.
    pub fn show(&self, from: &str, to: &str) -> Value {
        let mut headers = json!({"From": from, "To": to, "Subject": self.subject, "Message-ID": self.id});
        if let Some(map) = headers.as_object_mut() {
            if let Some(root) = &self.thread {
                map.insert("In-Reply-To".into(), root.clone().into());
                map.insert("References".into(), root.clone().into());
            }
            map.insert("List-Id".into(), self.list.clone().into());
            map.insert("Auto-Submitted".into(), "auto-generated".into());
        }
        json!({"headers": headers, "text": self.text, "html": self.html})
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Names the first mail of an incident to somebody.
fn root(incident: &str, action: &str, target: &str) -> String {
    let mut hash = Sha256::new();
    for part in [incident, action, target] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// The text, and below it where to read on.
fn text(call: &Call) -> String {
    let mut out = call.text();
    let links = links(call);
    if !links.is_empty() {
        out = format!("{}\n\n-- \n", out.trim_end());
    }
    for (name, link) in links {
        out.push_str(&format!("{name}: {link}\n"));
    }
    out
}

fn links(call: &Call) -> Vec<(&'static str, String)> {
    let all = call.links();
    let link = |(key, name): (&str, _)| Some((name, all.get(key)?.as_str()?.to_owned()));
    LINKS.into_iter().filter_map(link).collect()
}

fn html(call: &Call) -> String {
    let title = escape(&call.title());
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"{PAGE}\">\n<h1 dir=\"auto\" style=\"font-size:18px\">{title}</h1>\n"
    );
    // Writing to a string does not fail.
    let _ = body(call, &mut out);
    let links: Vec<String> =
        links(call).iter().map(|(name, link)| format!("<a href=\"{}\">{name}</a>", escape(link))).collect();
    if !links.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", links.join(" · "));
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn body(call: &Call, out: &mut String) -> std::fmt::Result {
    if let Some(story) = call.story() {
        writeln!(out, "<p dir=\"auto\" style=\"white-space:pre-wrap\">{}</p>", escape(&story))?;
    }
    if call.is_digest() {
        writeln!(out, "<table style=\"border-collapse:collapse\">")?;
        for item in call.items() {
            let title = escape(&item.title);
            let title = match item.link {
                Some(link) => format!("<a href=\"{}\">{title}</a>", escape(&link)),
                None => title,
            };
            row(out, &[escape(&item.time), escape(&item.severity), title])?;
        }
        writeln!(out, "</table>")?;
        if let Some(more) = call.more() {
            writeln!(out, "<p>… and {more} more</p>")?;
        }
    } else if let Some(body) = call.body() {
        writeln!(out, "<p dir=\"auto\" style=\"white-space:pre-wrap\">{}</p>", escape(&body))?;
    } else {
        writeln!(out, "<table style=\"border-collapse:collapse\">")?;
        for (name, value) in call.facts() {
            row(out, &[name.to_owned(), escape(&value)])?;
        }
        writeln!(out, "</table>\n<pre dir=\"auto\" style=\"{RAW}\">{}</pre>", escape(&call.payload()))?;
    }
    Ok(())
}

fn row(out: &mut String, cells: &[String]) -> std::fmt::Result {
    let cells: String = cells.iter().map(|cell| format!("<td dir=\"auto\" style=\"{CELL}\">{cell}</td>")).collect();
    writeln!(out, "<tr>{cells}</tr>")
}

/// As text or a quoted attribute of HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::call::tests::{LINE, call};
    use crate::told::{Incident, Told};

    fn with(context: &str) -> Call {
        call(&LINE.replace("CONTEXT", &format!("\"context\":{context}")))
    }

    fn bytes(draft: &Draft) -> String {
        let (from, to) = ("Hub <hub@example.com>".parse().unwrap(), "ada@example.com".parse().unwrap());
        String::from_utf8(draft.message(&from, to).unwrap().formatted()).unwrap()
    }

    #[test]
    fn what_a_match_says_is_text() {
        let hostile =
            r#"{"title":"<img src=x onerror=alert(1)>\r\nBcc: eve@x","body":"</p><script>\"'&\n.\r\n.\nQUIT"}"#;
        let draft = Draft::of(&with(hostile), "example.com");
        assert!(!draft.html.contains("<img") && !draft.html.contains("<script"), "{}", draft.html);
        assert!(draft.html.contains("&lt;/p&gt;&lt;script&gt;&quot;&#39;&amp;\n.\n.\nQUIT"), "{}", draft.html);
        let mail = bytes(&draft);
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("\nBcc"), "{head}");
        assert!(head.contains("multipart/alternative"), "{head}");
        assert!(mail.lines().all(|line| line.len() <= 998), "RFC 5322, § 2.1.1");
        assert!(mail.contains("Content-Type: text/plain; charset=utf-8") && mail.contains("Content-Type: text/html"));
    }

    #[test]
    fn what_is_known_of_a_machine_is_text_too() {
        let evil = "<script>\\r\\n\\u202e</pre>";
        let line = LINE.replace(",CONTEXT", "").replace("ada-mbp", evil).replace("\\u001b[31m", evil);
        let draft = Draft::of(&call(&line), "example.com");
        assert!(!draft.html.contains("<script") && !draft.html.contains('\u{202e}'), "{}", draft.html);
        assert_eq!(draft.html.matches("</pre>").count(), 1);
        assert_eq!(draft.subject, "usb on <script>  </pre>");
    }

    #[test]
    fn every_way_on_is_linked() {
        let draft = Draft::of(&with("{}"), "example.com");
        let links = "-- \nMachine: https://hub/machines/ada-mbp\nEvent: https://hub/events/e1\n\
                     Why it matched: https://hub/events/e1/explain\n";
        assert!(draft.text.ends_with(links), "{}", draft.text);
        assert!(draft.html.contains("<a href=\"https://hub/events/e1/explain\">Why it matched</a>"), "{}", draft.html);
        let nowhere = Draft::of(&Call { url: None, ..with("{}") }, "example.com");
        assert!(!nowhere.text.contains("-- \n") && !nowhere.html.contains("<a "));
    }

    #[test]
    fn mails_of_one_incident_are_one_thread() {
        let told = |phase, key: &str, target: &str| {
            let incident = Incident { id: "0a1b".into(), count: 2, ..Incident::default() };
            let told = Told { state: Some(phase), incident: Some(incident), ..Told::plain() };
            let (key, target) = (key.to_owned(), target.to_owned());
            Draft::of(&Call { told, key, target, ..with("{}") }, "example.com")
        };
        let opened = told(Phase::Opened, "k1", "ada@x");
        assert_eq!(opened.thread, None);
        for (phase, key) in [(Phase::Changed, "k2"), (Phase::Closed, "k3")] {
            let later = told(phase, key, "ada@x");
            assert_eq!((later.thread.as_ref(), later.id), (Some(&opened.id), format!("<{key}@example.com>")));
        }
        assert_ne!(told(Phase::Opened, "k1", "bob@x").id, opened.id);
        let mail = bytes(&told(Phase::Closed, "k3", "ada@x"));
        assert!(mail.contains(&format!("In-Reply-To: {0}\r\nReferences: {0}\r\n", opened.id)), "{mail}");
        assert!(mail.contains("List-Id: <a.example.com>\r\n"), "{mail}");
    }

    #[test]
    fn a_digest_is_a_table() {
        let events = vec![with(r#"{"title":"<one>"}"#).event, with("{}").event];
        let told = Told { count: 60, events, ..Told::plain() };
        let draft = Draft::of(&Call { told, ..with("{}") }, "example.com");
        assert_eq!(draft.subject, "60 matches of usb");
        assert!(draft.html.contains("<a href=\"https://hub/events/e1\">&lt;one&gt;</a>"), "{}", draft.html);
        assert!(draft.html.contains("and 58 more") && draft.text.contains("and 58 more"));
        assert_eq!(draft.html.matches("<tr>").count(), 2);
    }
}
