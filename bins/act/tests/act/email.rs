//! Mail: one each, headers that hold, and the two kinds of no.

use pipe::Exit;

use crate::fake::Smtp;
use crate::hub::{Hub, fresh, new_id};

const CONTACTS: &str = "[contact.ada]\nemail = \"ada@example.com\"\ngroups = [\"secops\"]\n\
                        [contact.bob]\nemail = \"bob@example.com\"\ngroups = [\"secops\"]\n\
                        [contact.eve]\nemail = \"eve@example.com\"\n";

fn hub(fake: &Smtp) -> Hub {
    Hub::new(&format!(
        "{CONTACTS}[action.mail]\nkind = \"email\"\nfrom = \"Hub <hub@example.com>\"\nto = [\"group:secops\"]\n\
         smtp = {{ url = \"{}\", user = \"hub\", password = \"pw\", plain = true }}\n",
        fake.url
    ))
}

#[test]
fn one_mail_each() {
    let fake = Smtp::start(vec!["450 busy"]);
    let hub = hub(&fake);
    let title = "USB\\r\\nBcc: eve@example.com\\r\\n\\r\\n<b> é";
    let id = new_id();
    hub.feed(&[fresh(&id, &["mail"]).replace("USB <b>", title)]);
    assert_eq!(hub.run(), Exit::Done);
    let mut got = fake.got();
    got.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!(got.len(), 2);
    for (mail, address) in got.iter().zip(["ada@example.com", "bob@example.com"]) {
        assert_eq!(mail.to, [format!("RCPT TO:<{address}>")]);
        assert_eq!(mail.header("To"), [address]);
        assert_eq!(mail.header("Auto-Submitted"), ["auto-generated"]);
        assert_eq!(mail.header("Subject"), [format!("USB  Bcc: eve@example.com    <b> =?utf-8?b?w6k=?= & *{id}*")]);
        assert!(mail.header("Date").len() == 1 && mail.header("Bcc").is_empty());
        assert!(mail.header("Message-ID")[0].ends_with("@example.com>"), "{:?}", mail.header("Message-ID"));
        assert!(mail.login.as_deref().is_some_and(|l| l.starts_with("AUTH PLAIN ")));
        assert!(mail.data.contains("severity: major"), "{}", mail.data);
    }
    assert_ne!(got[0].header("Message-ID"), got[1].header("Message-ID"));
    let told = hub.told();
    let targets: Vec<&str> = told.iter().map(|(_, p)| p["target"].as_str().unwrap()).collect();
    assert_eq!(targets.len(), 2);
    let tries: u64 = told.iter().map(|(_, p)| p["tries"].as_u64().unwrap()).sum();
    assert_eq!(tries, 3, "4yz is later");
}

#[test]
fn an_address_that_does_not_exist_is_dead_for_itself_alone() {
    let fake = Smtp::start(vec!["550 no such user"]);
    let hub = hub(&fake);
    hub.feed(&[fresh(&new_id(), &["mail"])]);
    hub.run();
    let dead = hub.dead();
    assert_eq!((dead.len(), fake.got().len()), (1, 1));
    assert!(dead[0]["error"].as_str().unwrap().contains("no such user"), "{dead:?}");
    assert_eq!(dead[0]["target"], "ada@example.com");
}

#[test]
fn starttls_that_is_not_offered_sends_nothing() {
    let fake = Smtp::start(vec![]);
    let hub = Hub::new(&format!(
        "[action.mail]\nkind = \"email\"\nfrom = \"hub@example.com\"\nto = \"ada@example.com\"\ngive_up = \"3s\"\n\
         smtp = {{ url = \"{}\" }}\n",
        fake.url
    ));
    hub.feed(&[fresh(&new_id(), &["mail"])]);
    hub.run();
    assert!(fake.got().is_empty());
    assert_eq!(hub.dead().len(), 1);
}
