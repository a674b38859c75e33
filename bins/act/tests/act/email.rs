//! Mail: one each, headers that hold, a thread for each incident, and the two kinds of no.

use std::time::Instant;

use act::actions::Verdict;
use act::told::Phase;
use pipe::Exit;

use crate::conditions::{closing, titled};
use crate::fakes::smtp::{Rules, Smtp, Tls, Trouble};
use crate::hub::{How, Hub, fresh, new_id};
use crate::presets::{Opened, call};

const CONTACTS: &str = "[contact.ada]\nemail = \"ada@example.com\"\ngroups = [\"secops\"]\n\
                        [contact.bob]\nemail = \"bob@example.com\"\ngroups = [\"secops\"]\n\
                        [contact.eve]\nemail = \"eve@example.com\"\n";
const LOGIN: Rules = Rules { tls: Tls::None, login: Some(("hub", "password-of-hub")), unknown: None };

/// An action `mail` that logs in; over TLS unless the server has none.
fn hub(fake: &Smtp, rules: Rules, more: &str) -> Hub {
    let plain = rules.tls == Tls::None;
    let to = if more.contains("to =") { "" } else { "to = [\"group:secops\"]\n" };
    let hub = Hub::new(&format!(
        "{CONTACTS}[action.mail]\nkind = \"email\"\nfrom = \"Hub <hub@example.com>\"\n{to}\
         smtp = {{ url = \"{}\", user = \"hub\", password = \"password-of-hub\", plain = {plain}, ca = \"ca.pem\" }}\n\
         {more}\n",
        fake.url
    ));
    std::fs::write(hub.dir.path().join("ca.pem"), &fake.ca).unwrap();
    hub
}

#[test]
fn one_mail_each() {
    let fake = Smtp::start(LOGIN, vec![Trouble::Rcpt("450 4.2.0 busy")]);
    let hub = hub(&fake, LOGIN, "");
    let title = "USB\\r\\nBcc: eve@example.com\\r\\n\\r\\n<b> é\\u202e";
    let id = new_id();
    hub.feed(&[fresh(&id, &["mail"]).replace("USB <b>", title)]);
    assert_eq!(hub.run(), Exit::Done);
    let mut got = fake.got();
    got.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!(got.len(), 2);
    for (mail, address) in got.iter().zip(["ada@example.com", "bob@example.com"]) {
        assert_eq!((mail.to.as_slice(), mail.known), (&[address.to_owned()][..], true));
        assert_eq!(mail.header("To"), [address]);
        assert_eq!(mail.header("Auto-Submitted"), ["auto-generated"]);
        assert_eq!(mail.header("List-Id"), ["<mail.example.com>"]);
        assert_eq!(mail.header("Subject"), [format!("USB  Bcc: eve@example.com    <b> é & *{id}*")]);
        assert!(mail.header("Date").len() == 1 && mail.header("Bcc").is_empty());
        assert!(mail.header("Message-ID")[0].ends_with("@example.com>"), "{:?}", mail.header("Message-ID"));
        assert!(mail.text().contains("severity: major"), "{}", mail.data);
        let link = format!("https://hub.example.com/events/{id}");
        assert!(mail.text().contains(&link) && mail.html().contains(&link), "{}", mail.data);
        assert!(mail.html().contains("&lt;b&gt;") && !mail.html().contains("<b>"), "{}", mail.html());
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
    let rules = Rules { unknown: Some("ada@example.com"), ..LOGIN };
    let fake = Smtp::start(rules, vec![]);
    let hub = hub(&fake, rules, "");
    hub.feed(&[fresh(&new_id(), &["mail"])]);
    hub.run();
    let dead = hub.dead();
    assert_eq!((dead.len(), fake.got().len()), (1, 1));
    assert!(dead[0]["error"].as_str().unwrap().contains("no such user"), "{dead:?}");
    assert_eq!(dead[0]["target"], "ada@example.com");
}

#[test]
fn starttls_that_is_not_offered_sends_nothing() {
    let fake = Smtp::start(Rules::default(), vec![]);
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

#[test]
fn tls_from_the_first_byte_or_by_starttls_and_to_nobody_else() {
    for tls in [Tls::First, Tls::Start] {
        let rules = Rules { tls, ..LOGIN };
        let fake = Smtp::start(rules, vec![]);
        let good = hub(&fake, rules, "");
        good.feed(&[fresh(&new_id(), &["mail"])]);
        good.run();
        assert!(fake.got().len() == 2 && fake.got().iter().all(|mail| mail.secret && mail.known), "{tls:?}");
        let elsewhere = hub(&fake, rules, "give_up = \"3s\"");
        let text = std::fs::read_to_string(elsewhere.dir.path().join("pipeline.toml")).unwrap();
        let text = text.replace("//localhost", "//127.0.0.1");
        let mut elsewhere = elsewhere;
        elsewhere.set_actions(text.split_once("hub.example.com\"\n").unwrap().1);
        elsewhere.feed(&[fresh(&new_id(), &["mail"])]);
        elsewhere.run();
        assert_eq!((fake.got().len(), elsewhere.dead().len()), (2, 2), "the certificate is of another name");
        // Somebody else's certificate.
        let other = Smtp::start(rules, vec![]);
        let bad = hub(&other, rules, "give_up = \"3s\"");
        std::fs::write(bad.dir.path().join("ca.pem"), &fake.ca).unwrap();
        bad.feed(&[fresh(&new_id(), &["mail"])]);
        bad.run();
        assert!(other.got().is_empty() && bad.dead().len() == 2, "{tls:?}: {:?}", bad.dead());
        assert!(other.refused().is_empty(), "nothing was said to it: {:?}", other.refused());
    }
}

#[test]
fn a_server_in_trouble_gets_each_mail_and_knows_a_repeat() {
    let troubles = vec![Trouble::Reset, Trouble::Hang, Trouble::Lost, Trouble::Rcpt("421 4.3.2 closing")];
    let fake = Smtp::start(LOGIN, troubles);
    let hub = hub(&fake, LOGIN, "timeout = \"500ms\"\ngive_up = \"1d\"");
    let ids = [new_id(), new_id()];
    hub.feed(&ids.iter().map(|id| fresh(id, &["mail"])).collect::<Vec<_>>());
    assert_eq!(hub.run(), Exit::Done);
    let told = hub.told();
    assert!(told.len() == 4 && told.iter().all(|(kind, _)| kind == "action_done"), "{told:?}");
    let mut keys: Vec<String> = fake.got().iter().map(|mail| mail.header("Message-ID")[0].clone()).collect();
    assert_eq!(keys.len(), 4 + 2, "twice the mail was taken and we were not told");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "what came twice has one Message-ID");
}

/// A greeting without end fills no memory: it is cut after a mebibyte, long before the try's time is over.
#[test]
fn a_server_that_never_stops_talking_is_cut_off() {
    let fake = Smtp::start(LOGIN, vec![Trouble::Flood]);
    let hub = hub(&fake, LOGIN, "");
    let mut call = call(&fresh(&new_id(), &["mail"]), None, None);
    call.target = "ada@example.com".to_owned();
    let opened = Opened::new(&hub, "mail", false);
    let (begun, answer) = (Instant::now(), opened.send(&call));
    assert!(matches!(answer.verdict, Verdict::Later { .. }) && answer.error.contains("1048576"), "{answer:?}");
    assert!(begun.elapsed().as_secs() < 10);
    assert_eq!(opened.send(&call).verdict, Verdict::Done);
}

#[test]
fn a_crash_between_mail_and_answer_sends_it_again_under_the_same_id() {
    let fake = Smtp::start(LOGIN, vec![Trouble::Hang]);
    let hub = hub(&fake, LOGIN, "to = \"ada\"");
    hub.feed(&[fresh(&new_id(), &["mail"])]);
    let running = hub.start(How::default());
    fake.wait_for(1);
    running.kill();
    assert_eq!(hub.run(), Exit::Done);
    let ids: Vec<Vec<String>> = fake.got().iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert_eq!((hub.told().len(), hub.dead().len()), (1, 0));
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let fake = Smtp::start(Rules { login: Some(("hub", "another")), ..LOGIN }, vec![]);
    let hub = hub(&fake, LOGIN, "");
    hub.feed(&[fresh(&new_id(), &["mail"])]);
    hub.run();
    let lines = hub.lines().join("\n");
    assert!(lines.contains("\"status\":535") && lines.contains("wrong user or password"), "{lines}");
    let plain = "AGh1YgBwYXNzd29yZC1vZi1odWI=";
    assert!(!lines.contains("password-of-hub") && !lines.contains(plain), "{lines}");
    let echo = Smtp::start(LOGIN, vec![Trouble::Rcpt("550 you said password-of-hub AGh1YgBwYXNzd29yZC1vZi1odWI=")]);
    let echoed = self::hub(&echo, LOGIN, "to = \"ada\"");
    echoed.feed(&[fresh(&new_id(), &["mail"])]);
    echoed.run();
    assert!(echoed.dead()[0]["error"].as_str().unwrap().contains("you said *** ***"), "{:?}", echoed.dead());
    let said = Opened::new(&hub, "mail", false).online().unwrap().unwrap_err();
    assert!(said.contains("wrong user or password") && !said.contains("password-of-hub"), "{said}");
    let good = Smtp::start(LOGIN, vec![]);
    let hub = self::hub(&good, LOGIN, "");
    assert_eq!(Opened::new(&hub, "mail", false).online(), Some(Ok(())));
    assert!(good.got().is_empty() && good.refused().is_empty(), "nobody is told anything");
}

#[test]
fn an_incident_is_a_thread() {
    let fake = Smtp::start(LOGIN, vec![]);
    let hub = hub(&fake, LOGIN, "");
    let opened = Opened::new(&hub, "mail", false);
    let line = fresh(&new_id(), &["mail"]);
    for (n, phase) in [Phase::Opened, Phase::Changed, Phase::Closed].into_iter().enumerate() {
        let mut call = call(&line, Some(phase), None);
        (call.key, call.target) = (format!("key-{n}"), "ada@example.com".to_owned());
        assert_eq!(opened.send(&call).verdict, Verdict::Done);
    }
    let got = fake.got();
    let root = got[0].header("Message-ID");
    assert!(got[0].header("References").is_empty());
    for mail in &got[1..] {
        assert_eq!((mail.header("References"), mail.header("In-Reply-To")), (root.clone(), root.clone()));
    }
    assert!(got[2].header("Subject")[0].starts_with("Closed: USB"), "{:?}", got[2].header("Subject"));
    assert!(got[2].text().starts_with("Closed. 3 matches from 2026-11-21T19:00:00.000Z to"), "{}", got[2].text());
    let link = "https://hub.example.com/incidents/00112233445566778899";
    assert!(got[1].html().contains(link) && got[1].text().contains(link));
}

/// The same through the queue, from the match to the mail box.
#[test]
fn a_digest_is_one_mail_and_an_incident_one_thread() {
    let fake = Smtp::start(LOGIN, vec![]);
    let digest = hub(&fake, LOGIN, "to = \"ada\"\ndigest = \"2m\"");
    let ids: Vec<String> = (0..60).map(|_| new_id()).collect();
    digest.feed(&ids.iter().map(|id| fresh(id, &["mail"])).collect::<Vec<_>>());
    digest.run();
    let got = fake.got();
    assert_eq!((got.len(), got[0].header("Subject")), (1, vec!["60 matches of usb".to_owned()]));
    let list = got[0].html();
    assert_eq!((list.matches("<tr>").count(), list.contains("and 10 more")), (50, true), "{list}");
    assert!(list.contains(&format!("<a href=\"https://hub.example.com/events/{}\">USB &lt;b&gt; &amp; *", ids[49])));

    let fake = Smtp::start(LOGIN, vec![Trouble::Reset, Trouble::Rcpt("451 4.3.0 later")]);
    let until = "\n[probe.usb]\nfilter = \"true\"\nact = [\"mail\"]\nuntil = \"false\"";
    let incident = hub(&fake, LOGIN, &format!("to = \"ada\"\n{until}"));
    let line = |title: &str| titled(&fresh(&new_id(), &["mail"]), title);
    incident.feed(&[line("off"), line("worse"), closing(&line("on"))]);
    assert_eq!(incident.run(), Exit::Done);
    let got = fake.got();
    let subjects: Vec<String> = got.iter().map(|mail| mail.header("Subject").remove(0)).collect();
    assert_eq!(subjects, ["off", "Changed: worse", "Closed: on"]);
    let root = got[0].header("Message-ID");
    assert!(got[1..].iter().all(|mail| mail.header("References") == root), "{root:?}");
}

/// A title and a body of a megabyte each, made to break out of every form.
#[test]
fn what_is_huge_and_hostile_is_a_mail_like_any_other() {
    let fake = Smtp::start(LOGIN, vec![]);
    let hub = hub(&fake, LOGIN, "");
    let opened = Opened::new(&hub, "mail", false);
    let evil = "</pre><script>\\r\\n.\\r\\nQUIT\\r\\n\\u202e🦀\\u0000--=_boundary\\r\\n";
    let line = fresh(&new_id(), &["mail"]);
    let huge = format!("\"title\":\"{0}\",\"body\":\"{0}\"", evil.repeat((1 << 20) / evil.len()));
    let (before, rest) = line.split_once("\"title\":").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    let mut call = call(&format!("{before}{huge}}}{after}"), None, None);
    call.target = "ada@example.com".to_owned();
    let begun = Instant::now();
    assert_eq!(opened.send(&call).verdict, Verdict::Done, "{:?}", fake.refused());
    assert!(begun.elapsed().as_secs() < 20);
    let mail = &fake.got()[0];
    assert!(mail.data.len() < 1 << 20, "{}", mail.data.len());
    assert_eq!(mail.header("Subject")[0].chars().count(), act::call::TITLE_MAX);
    assert!(!mail.html().contains("<script") && mail.html().contains("&lt;script&gt;\n.\nQUIT\n🦀--=_boundary"));
    assert!(mail.text().contains("\n.\nQUIT\n🦀") && mail.text().contains("…\n\n-- \nMachine: https://hub"));
}

#[test]
fn a_dry_run_shows_the_mail() {
    let fake = Smtp::start(LOGIN, vec![]);
    let hub = hub(&fake, LOGIN, "");
    let mut call = call(&fresh("e-dry", &["mail"]), None, None);
    call.target = "ada@example.com".to_owned();
    let shown = Opened::new(&hub, "mail", true).show(&call).unwrap();
    assert_eq!((&shown["server"], &shown["headers"]["To"]), (&fake.url.clone().into(), &"ada@example.com".into()));
    assert_eq!(shown["headers"]["Subject"], "USB <b> & *e-dry* (3 times)");
    assert!(shown["text"].is_string() && shown["html"].is_string() && !shown.to_string().contains("password-of-hub"));
    assert_eq!(fake.connections(), 0);
}
