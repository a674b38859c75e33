use registry::db::Db;

use super::*;

const NOW: i64 = 1_760_000_000_000;

struct Hub {
    _dir: tempfile::TempDir,
    config: Config,
    db: Db,
}

impl Hub {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, format!("version = 1\n{text}")).unwrap();
        let config = Config::load(&file, None).unwrap().0;
        std::fs::create_dir_all(&config.data).unwrap();
        let db = Db::open(config.registry(), &SCHEMAS).unwrap();
        Self { _dir: dir, config, db }
    }

    fn change<T>(&mut self, what: impl FnOnce(&Config, &mut Tx<'_>) -> Result<T, Refused>) -> Result<T, String> {
        let mut tx = self.db.begin().unwrap();
        let made = what(&self.config, &mut tx).map_err(|e| e.to_string())?;
        tx.commit().unwrap();
        Ok(made)
    }

    fn make(&mut self, wanted: Wanted) -> Result<Enrolment, String> {
        self.change(|config, tx| make(config, tx, wanted, &by(), Time::from_ms(NOW)))
    }

    fn audit(&self) -> Vec<Value> {
        let lines = changes::since(&self.db, 0, 100).unwrap();
        lines.iter().map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()["payload"].clone()).collect()
    }
}

fn by() -> By {
    By { who: "user:ada".into(), ip: Some("192.0.2.7".into()) }
}

fn wanted(source: &str) -> Wanted {
    Wanted { source: source.into(), ..Wanted::default() }
}

#[test]
fn made_handed_out_revoked_and_all_of_it_told() {
    let mut hub = Hub::new("url = \"https://hub.example.com\"\n[unit.berlin]\n");
    let full = Wanted {
        quota: Some(3),
        expires: Some("1d".into()),
        tags: vec![" vip".into(), String::new()],
        ..wanted("osquery")
    };
    let made = hub.make(full).unwrap();
    assert_eq!((made.unit.as_str(), made.expires, &made.tags), ("berlin", Some(NOW + 86_400_000), &vec!["vip".into()]));
    assert_eq!(enrolments::get(&hub.db, &made.id).unwrap(), Some(made.clone()));
    let package = |hub: &mut Hub, of: &Enrolment, format| {
        hub.change(|config, tx| package(config, tx, of, format, &by(), Time::from_ms(NOW)))
    };
    let one = package(&mut hub, &made, Format::Sh).unwrap().package;
    assert_eq!(one.name, format!("zentral-osquery-berlin-{}.sh", made.id));
    let own = secret(&hub.config, &made).unwrap();
    assert!(String::from_utf8(one.bytes.clone()).unwrap().contains(&own));
    assert_eq!(one.bytes, package(&mut hub, &made, Format::Sh).unwrap().package.bytes, "same input, same bytes");
    assert!(
        package(&mut hub, &made, Format::Mobileconfig).err().unwrap().starts_with("format: there is no mobileconfig")
    );

    hub.change(|_, tx| revoke(tx, &made, &by(), Time::from_ms(NOW))).unwrap();
    let gone = enrolments::get(&hub.db, &made.id).unwrap().unwrap();
    assert!(package(&mut hub, &gone, Format::Sh).err().unwrap().ends_with("is revoked"));
    let nobody = Enrolment { id: "nobody".into(), ..made.clone() };
    assert!(hub.change(|_, tx| revoke(tx, &nobody, &by(), Time::from_ms(NOW))).is_err());

    let told = hub.audit();
    let actions: Vec<&str> = told.iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions, ["enrolment_made", "enrolment_package", "enrolment_package", "enrolment_revoked"]);
    for one in &told {
        assert_eq!((&one["by"], &one["ip"]), (&"user:ada".into(), &"192.0.2.7".into()));
        assert_eq!((&one["enrolment"], &one["unit"]), (&made.id.as_str().into(), &"berlin".into()));
        assert!(!one.to_string().contains(&own), "a secret is in no event");
    }
}

#[test]
fn what_is_asked_for_is_held_against_the_configuration() {
    let mut hub = Hub::new("[unit.berlin]\n[unit.rome]\n");
    let berlin = |source: &str| Wanted { unit: Some("berlin".into()), ..wanted(source) };
    for (asked, says) in [
        (wanted("osquery"), "unit: say one of berlin, rome"),
        (Wanted { unit: Some("oslo".into()), ..wanted("osquery") }, "no unit `oslo`; it has berlin, rome"),
        (berlin("jamf"), "source: `jamf` is no source that machines enrol with; there is munki, osquery, santa"),
        (Wanted { quota: Some(0), ..berlin("munki") }, "quota: is a number from 1"),
        (Wanted { quota: Some(u64::MAX), ..berlin("munki") }, "quota: is a number from 1"),
        (Wanted { expires: Some("0d".into()), ..berlin("munki") }, "expires: `0d` is no age"),
        (Wanted { expires: Some("99999999d".into()), ..berlin("munki") }, "expires: `99999999d` is no age"),
        (Wanted { expires: Some("soon".into()), ..berlin("munki") }, "expires: `soon` is no age"),
        (Wanted { tags: vec!["A B".into()], ..berlin("munki") }, "tags: `A B` is no tag"),
        (Wanted { tags: (0..101).map(|n| n.to_string()).collect(), ..berlin("munki") }, "tags: there are more"),
        (Wanted { client_certificate: true, ..berlin("santa") }, "client-certificate: `tls`"),
    ] {
        let why = hub.make(asked).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
    assert!(enrolments::list(&hub.db).unwrap().is_empty() && hub.audit().is_empty());
    let made = hub.make(berlin("santa")).unwrap();
    let why =
        hub.change(|config, tx| package(config, tx, &made, Format::Pkg, &by(), Time::from_ms(NOW))).err().unwrap();
    assert_eq!(why, "the configuration has no `url`");
    assert!(Hub::new("").make(wanted("osquery")).unwrap_err().contains("has no unit: add"));
}
