use super::*;

fn now() -> Time {
    Time::from_ms(1_760_000_000_000)
}

fn later(ms: i64) -> Time {
    Time::from_ms(now().ms() + ms)
}

fn cli() -> By {
    By::command_line()
}

fn with<T>(db: &mut Db, what: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let mut tx = db.begin().unwrap();
    let got = what(&mut tx);
    tx.commit().unwrap();
    got
}

fn told(db: &Db) -> Vec<String> {
    let lines = changes::since(db, 0, 1000).unwrap();
    let action = |line: &[u8]| {
        let event = event::Event::parse(line.trim_ascii_end()).unwrap();
        assert_eq!((event.type_.as_str(), event.tags.as_slice()), (changes::AUDIT, &["audit".to_owned()][..]));
        let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
        payload["action"].as_str().unwrap().to_owned()
    };
    lines.iter().map(|(_, line)| action(line)).collect()
}

fn filled() -> Db {
    let mut db = Db::memory(SCHEMAS).unwrap();
    with(&mut db, |tx| {
        add(tx, "ada", Role::Admin, &[], &cli(), now()).unwrap();
        add(tx, "bob", Role::Viewer, &["berlin".into(), "rome".into()], &cli(), now()).unwrap();
    });
    db
}

/// Lets somebody choose a password by a link.
fn activate(db: &mut Db, name: &str) {
    with(db, |tx| {
        let link = links::make(tx, name, &cli(), now()).unwrap();
        assert_eq!(links::take(tx, &link, "$argon2id$x", None, now()).unwrap().as_deref(), Some(name));
    });
}

#[test]
fn people_come_change_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let old = Db::open(&dir.path().join("old.db"), &[changes::SCHEMA]).unwrap();
    assert!(list(&old).unwrap().is_empty() && password(&old, "ada").unwrap().is_none(), "an older file");
    let mut db = filled();
    let all = list(&db).unwrap();
    assert_eq!(
        all.iter().map(|u| (u.name.as_str(), u.role, u.active)).collect::<Vec<_>>(),
        [("ada", Role::Admin, false), ("bob", Role::Viewer, false)]
    );
    assert_eq!(all[1].units, ["berlin", "rome"]);
    with(&mut db, |tx| {
        assert!(matches!(add(tx, "ada", Role::Viewer, &[], &cli(), now()), Err(Refused::Taken)));
        assert!(matches!(add(tx, "eve", Role::Admin, &["rome".into()], &cli(), now()), Err(Refused::RestrictedAdmin)));
        assert!(matches!(set_role(tx, "eve", Role::Editor, &[], &cli(), now()), Err(Refused::Unknown)));
        assert!(matches!(remove(tx, "eve", &cli(), now()), Err(Refused::Unknown)));
        set_role(tx, "bob", Role::Editor, &[], &cli(), now()).unwrap();
    });
    activate(&mut db, "ada");
    with(&mut db, |tx| {
        assert!(matches!(remove(tx, "ada", &cli(), now()), Err(Refused::LastAdmin)));
        assert!(matches!(set_role(tx, "ada", Role::Editor, &[], &cli(), now()), Err(Refused::LastAdmin)));
        remove(tx, "bob", &cli(), now()).unwrap();
    });
    assert_eq!(list(&db).unwrap().len(), 1);
    let want = ["user_added", "user_added", "user_role", "user_link", "user_password", "user_removed"];
    assert_eq!(told(&db), want);
}

#[test]
fn a_link_holds_for_an_hour_and_for_once() {
    let mut db = filled();
    let first = with(&mut db, |tx| links::make(tx, "ada", &cli(), now()).unwrap());
    let link = with(&mut db, |tx| links::make(tx, "ada", &cli(), now()).unwrap());
    assert_eq!(links::whose(&db, &first, now()).unwrap(), None, "there is a newer one");
    assert_eq!(links::whose(&db, &link, later(links::HOLDS - 1)).unwrap().as_deref(), Some("ada"));
    assert_eq!(links::whose(&db, &link, later(links::HOLDS)).unwrap(), None);
    assert_eq!(links::whose(&db, "guessed", now()).unwrap(), None);
    with(&mut db, |tx| {
        assert!(matches!(links::make(tx, "eve", &cli(), now()), Err(Refused::Unknown)));
        assert_eq!(links::take(tx, &link, "h", None, later(links::HOLDS)).unwrap(), None);
        assert_eq!(links::take(tx, &link, "h", None, now()).unwrap().as_deref(), Some("ada"));
        assert_eq!(links::take(tx, &link, "i", None, now()).unwrap(), None);
    });
    assert_eq!(password(&db, "ada").unwrap().as_deref(), Some("h"));
    assert_eq!(password(&db, "bob").unwrap(), None, "no password yet");
    // What is kept opens nothing.
    let kept = db.query("SELECT hash FROM user_links", &[]).unwrap();
    assert!(kept.is_empty());
}

#[test]
fn sessions_end() {
    let mut db = filled();
    activate(&mut db, "ada");
    let begin = |db: &mut Db| with(db, |tx| sessions::begin(tx, "ada", sessions::Way::Password, None, now()).unwrap());
    let one = begin(&mut db);
    let other = begin(&mut db);
    assert_ne!(one, other);
    let found = sessions::find(&db, &one, now()).unwrap().unwrap();
    assert_eq!((found.user.name.as_str(), found.user.role, found.stale), ("ada", Role::Admin, false));
    assert_eq!(sessions::find(&db, "forged", now()).unwrap(), None);
    assert!(sessions::find(&db, &one, later(6 * 60_000)).unwrap().unwrap().stale);
    assert_eq!(sessions::find(&db, &one, later(sessions::IDLE)).unwrap(), None);
    let mut at = 0;
    while at < sessions::LONGEST {
        with(&mut db, |tx| sessions::used(tx, &one, later(at)).unwrap());
        assert!(sessions::find(&db, &one, later(at)).unwrap().is_some());
        at += sessions::IDLE / 2;
    }
    assert_eq!(sessions::find(&db, &one, later(sessions::LONGEST)).unwrap(), None, "however much it is used");
    with(&mut db, |tx| sessions::end(tx, &other, &cli(), now()).unwrap());
    assert_eq!(sessions::find(&db, &other, now()).unwrap(), None);
    assert!(sessions::find(&db, &one, now()).unwrap().is_some());
    activate(&mut db, "ada");
    assert_eq!(sessions::find(&db, &one, now()).unwrap(), None, "a new password ends all");
    for _ in 0..60 {
        begin(&mut db);
    }
    assert_eq!(db.query("SELECT COUNT(*) FROM user_sessions", &[]).unwrap()[0].int(0), 50);
    let rows = db.query("SELECT hash FROM user_sessions", &[]).unwrap();
    assert!(rows.iter().all(|row| row.blob(0).len() == 32), "SHA-256 and nothing else");
}

#[test]
fn tokens_hold_until_they_end() {
    let mut db = filled();
    let wanted = |expires| tokens::Wanted {
        name: "ci".into(),
        role: Role::Viewer,
        units: vec!["rome".into()],
        scopes: vec!["events".into()],
        expires,
    };
    let (token, secret) = with(&mut db, |tx| tokens::make(tx, wanted(Some(now().ms() + 5)), &cli(), now()).unwrap());
    assert!(secret.starts_with(&format!("zt1.{}.", token.id)), "{secret}");
    assert_eq!(tokens::find(&db, &secret, later(4)).unwrap(), Some(token.clone()));
    assert_eq!(tokens::find(&db, &secret, later(5)).unwrap(), None);
    assert_eq!(tokens::find(&db, &format!("{secret}x"), now()).unwrap(), None);
    assert_eq!(tokens::list(&db).unwrap(), std::slice::from_ref(&token));
    with(&mut db, |tx| {
        let admin = tokens::Wanted { role: Role::Admin, ..wanted(None) };
        assert!(matches!(tokens::make(tx, admin, &cli(), now()), Err(Refused::RestrictedAdmin)));
        tokens::revoke(tx, &token.id, &cli(), now()).unwrap();
        assert!(matches!(tokens::revoke(tx, &token.id, &cli(), now()), Err(Refused::Unknown)));
    });
    assert_eq!(tokens::find(&db, &secret, now()).unwrap(), None);
    assert_eq!(told(&db)[2..], ["token_made", "token_revoked"]);
    assert!(
        !changes::since(&db, 0, 9).unwrap().iter().any(|(_, line)| { String::from_utf8_lossy(line).contains(&secret) })
    );
}

#[test]
fn ten_tries_in_a_quarter_of_an_hour() {
    let mut db = filled();
    let mut attempt =
        |account: &str, address: &str, at| with(&mut db, |tx| tries::count(tx, account, address, later(at)).unwrap());
    for i in 0..10 {
        assert!(attempt("ada", &format!("192.0.2.{i}"), i));
    }
    assert!(!attempt("ada", "192.0.2.99", 10), "the account, from anywhere");
    assert!(attempt("bob", "192.0.2.99", 10), "others are not held up");
    for i in 0..10 {
        assert!(attempt(&format!("name{i}"), "198.51.100.1", i));
    }
    assert!(!attempt("bob", "198.51.100.1", 11), "the address, whatever the account");
    assert!(attempt("ada", "192.0.2.99", tries::WITHIN), "the first was a quarter of an hour ago");
    assert!(!attempt("ada", "192.0.2.99", tries::WITHIN));
    with(&mut db, |tx| {
        tries::forgive(tx, "ada").unwrap();
        assert!(tries::count(tx, "ada", "192.0.2.98", later(tries::WITHIN)).unwrap());
        tries::failed(tx, "ada", "192.0.2.98", now()).unwrap();
        tries::failed(tx, "a name that nobody has", "192.0.2.98", now()).unwrap();
    });
    assert_eq!(told(&db)[2..], ["login_failed"]);
}
