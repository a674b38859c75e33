use super::super::{SCHEMAS, add, list, remove, set_role};
use super::*;
use crate::db::Db;

fn now() -> Time {
    Time::from_ms(1_760_000_000_000)
}

fn with<T>(db: &mut Db, what: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let mut tx = db.begin().unwrap();
    let got = what(&mut tx);
    tx.commit().unwrap();
    got
}

fn one(subject: &str, email: Option<&str>, wish: &str) -> Identity {
    let (issuer, email) = ("https://id.example.com".to_owned(), email.map(str::to_owned));
    Identity { issuer, subject: subject.to_owned(), email, wish: wish.to_owned() }
}

/// The name of whoever comes in.
fn comes(db: &mut Db, identity: &Identity, given: Option<(Role, &[&str])>) -> Result<String, Denied> {
    let given = given.map(|(role, units)| (role, units.iter().map(ToString::to_string).collect()));
    with(db, |tx| find(tx, identity, given, &By::command_line(), now()).unwrap().map(|user| user.name))
}

fn filled() -> Db {
    let mut db = Db::memory(SCHEMAS).unwrap();
    with(&mut db, |tx| {
        add(tx, "ada", Role::Admin, &[], &By::command_line(), now()).unwrap();
        set_email(tx, "ada", Some("Ada@example.com"), &By::command_line(), now()).unwrap();
    });
    db
}

#[test]
fn by_a_verified_address_once() {
    let mut db = filled();
    assert_eq!(comes(&mut db, &one("1", None, "ada"), None), Err(Denied::Unknown), "a name decides nothing");
    assert_eq!(comes(&mut db, &one("1", Some("bob@example.com"), "ada"), None), Err(Denied::Unknown));
    assert_eq!(comes(&mut db, &one("1", Some("aDa@example.com"), "x"), None).as_deref(), Ok("ada"));
    // From then on it is the account, whatever its address becomes; and the address opens nothing to others.
    assert_eq!(comes(&mut db, &one("1", Some("new@example.com"), "x"), None).as_deref(), Ok("ada"));
    assert_eq!(comes(&mut db, &one("2", Some("ada@example.com"), "x"), None), Err(Denied::Bound));
    let other = Identity { issuer: "https://evil.example.com".into(), ..one("1", Some("ada@example.com"), "x") };
    assert_eq!(comes(&mut db, &other, None), Err(Denied::Bound), "an account is one of its issuer");
    // Groups change nothing of what somebody here gave.
    assert_eq!(comes(&mut db, &one("1", None, "x"), Some((Role::Viewer, &["rome"]))).as_deref(), Ok("ada"));
    assert_eq!(list(&db).unwrap()[0].role, Role::Admin);
    // Said anew, it is free for the next.
    with(&mut db, |tx| set_email(tx, "ada", Some("ada@example.com"), &By::command_line(), now()).unwrap());
    assert_eq!(comes(&mut db, &one("2", Some("ada@example.com"), "x"), None).as_deref(), Ok("ada"));
    assert_eq!(comes(&mut db, &one("1", None, "x"), None), Err(Denied::Unknown));
    with(&mut db, |tx| remove(tx, "ada", &By::command_line(), now()).unwrap());
    assert_eq!(comes(&mut db, &one("2", Some("ada@example.com"), "x"), None), Err(Denied::Unknown));
}

#[test]
fn by_a_group_as_long_as_it_lets_in() {
    let mut db = filled();
    let bob = one("b", Some("bob@example.com"), "Ada@elsewhere");
    assert_eq!(comes(&mut db, &bob, Some((Role::Editor, &["rome"]))).as_deref(), Ok("ada-2"), "a name of their own");
    let session = with(&mut db, |tx| sessions::begin(tx, "ada-2", sessions::Way::SignOn, None, now()).unwrap());
    assert_eq!(comes(&mut db, &bob, Some((Role::Viewer, &[]))).as_deref(), Ok("ada-2"));
    let found = sessions::find(&db, &session, now()).unwrap().unwrap().user;
    assert_eq!((found.role, found.units.len(), found.by_group), (Role::Viewer, 0, true), "from the next request on");
    let late = Time::from_ms(now().ms() + sessions::SIGN_ON_LONGEST);
    with(&mut db, |tx| sessions::used(tx, &session, Time::from_ms(late.ms() - 1)).unwrap());
    assert!(sessions::find(&db, &session, late).unwrap().is_none(), "the provider is asked again");
    assert_eq!(comes(&mut db, &bob, None), Err(Denied::NoGroup));
    assert!(sessions::find(&db, &session, now()).unwrap().is_none(), "and what they had ends");
    // What somebody here says stays.
    with(&mut db, |tx| set_role(tx, "ada-2", Role::Editor, &[], &By::command_line(), now()).unwrap());
    assert_eq!(comes(&mut db, &bob, None).as_deref(), Ok("ada-2"));
    assert_eq!(comes(&mut db, &bob, Some((Role::Viewer, &[]))).as_deref(), Ok("ada-2"));
    assert_eq!(list(&db).unwrap()[1].role, Role::Editor);
    // An admin with units is what nobody may be.
    assert_eq!(comes(&mut db, &one("c", None, ""), Some((Role::Admin, &["rome"]))), Err(Denied::Unknown));
    for (wish, name) in
        [("", "somebody"), ("../Ü", "somebody-2"), ("O'Hara, Vera", "o-hara--vera"), (&"x".repeat(99), &"x".repeat(58))]
    {
        assert_eq!(comes(&mut db, &one(wish, None, wish), Some((Role::Viewer, &[]))).as_deref(), Ok(name));
    }
}

#[test]
fn addresses() {
    for fine in ["a@b", "ada+x@example.com", "é@example.com"] {
        assert!(is_address(fine), "{fine}");
    }
    for wrong in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n", &format!("{}@b", "a".repeat(253))] {
        assert!(!is_address(wrong), "{wrong}");
    }
    let mut db = filled();
    with(&mut db, |tx| {
        let mut set = |name: &str, email: &str| set_email(tx, name, Some(email), &By::command_line(), now());
        assert!(matches!(set("ada", "ada"), Err(Refused::NoAddress)));
        assert!(matches!(set("bob", "bob@example.com"), Err(Refused::Unknown)));
        assert!(set("ada", "ada@example.com").is_ok(), "their own");
        add(tx, "bob", Role::Viewer, &[], &By::command_line(), now()).unwrap();
        let taken = set_email(tx, "bob", Some("ADA@example.com"), &By::command_line(), now());
        assert!(matches!(taken, Err(Refused::AddressTaken)));
        set_email(tx, "ada", None, &By::command_line(), now()).unwrap();
        set_email(tx, "bob", None, &By::command_line(), now()).unwrap();
    });
}
