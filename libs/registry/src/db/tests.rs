use super::*;

const V1: Schema = Schema { name: "t", migrations: &["CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT, b BYTEA)"] };
const V2: Schema = Schema {
    name: "t",
    migrations: &["CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT, b BYTEA)", "ALTER TABLE t ADD COLUMN x TEXT"],
};

/// A kill after a commit's frames were written, and before others were told of them; somebody reads all the while.
#[test]
fn what_a_killed_commit_left_does_not_come_back() {
    use std::os::unix::fs::FileExt as _;
    if proof::is_on() {
        return;
    }
    const HEADER: usize = 96;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut killed = Db::open(&path, &[V1]).unwrap();
    let put = |db: &mut Db, key: &str| {
        let mut tx = db.begin().unwrap();
        tx.execute("INSERT INTO t (k, n) VALUES ($1, 1)", &[key.into()]).unwrap();
        tx.commit().unwrap();
    };
    put(&mut killed, "done");
    let reader = Db::open_read_only(&path).unwrap().unwrap();
    let keys = |db: &Db| -> Vec<String> {
        db.query("SELECT k FROM t ORDER BY k", &[]).unwrap().iter().map(|row| row.text(0).to_owned()).collect()
    };
    assert_eq!(keys(&reader), ["done"]);
    let shared = std::fs::File::options().read(true).write(true).open(dir.path().join("a.db-shm")).unwrap();
    let mut header = [0; HEADER];
    shared.read_exact_at(&mut header, 0).unwrap();
    put(&mut killed, "unknown");
    shared.write_all_at(&header, 0).unwrap();
    std::mem::forget(killed);

    let next = Db::open(&path, &[V1]).unwrap();
    assert_eq!(keys(&next), ["done"]);
    // All are killed; whoever comes then finds the file and the WAL.
    let later = tempfile::tempdir().unwrap();
    for name in ["a.db", "a.db-wal"] {
        std::fs::copy(dir.path().join(name), later.path().join(name)).unwrap();
    }
    assert_eq!(keys(&Db::open(&later.path().join("a.db"), &[V1]).unwrap()), ["done"]);
}

#[test]
fn values_go_in_and_come_out() {
    let mut db = Db::memory(&[V1]).unwrap();
    let mut tx = db.begin().unwrap();
    let sql = "INSERT INTO t (b, n, k) VALUES ($3, $2, $1) ON CONFLICT (k) DO UPDATE SET n = excluded.n RETURNING n";
    let rows = tx.query(sql, &["a".into(), 7u64.into(), vec![0xff].into()]).unwrap();
    assert_eq!(rows.first().unwrap().int(0), 7);
    tx.commit().unwrap();
    let rows = db.query("SELECT k, n, b, NULL FROM t", &[]).unwrap();
    let row = rows.first().unwrap();
    assert_eq!((row.text(0), row.int(1), row.blob(2), row.opt_text(3)), ("a", 7, &[0xff][..], None));
    assert_eq!(db.begin().unwrap().execute("DELETE FROM t", &[]).unwrap(), 1);
    assert_eq!(db.query("SELECT 1 FROM t", &[]).unwrap().len(), 1, "no commit, no change");
}

#[test]
fn older_files_are_migrated_newer_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    assert!(Db::open_read_only(&path).unwrap().is_none());
    std::mem::drop(Db::open(&path, &[V1]).unwrap());
    let db = Db::open(&path, &[V2]).unwrap();
    let seen = Db::open_read_only(&path).unwrap().unwrap();
    let before = seen.version().unwrap();
    std::mem::drop(db);
    let error = Db::open(&path, &[V1]).unwrap_err();
    assert!(matches!(error, DbError::Newer { schema: "t", found: 2, known: 1 }), "{error}");
    let mut db = Db::open(&path, &[V2]).unwrap();
    let mut tx = db.begin().unwrap();
    tx.execute("INSERT INTO t (k) VALUES ('x')", &[]).unwrap();
    tx.commit().unwrap();
    assert_ne!(seen.version().unwrap(), before);
    let other = dir.path().join("copy.db");
    let copied = copy(&(&path).into(), &(&other).into(), &[V2]).unwrap();
    assert_eq!(copied, [Copied { table: "t".into(), rows: 1 }]);
    assert_eq!(Db::open(&other, &[V2]).unwrap().query("SELECT k FROM t", &[]).unwrap().len(), 1);
    assert!(copy(&(&path).into(), &(&other).into(), &[V2]).is_err(), "there is one already");
    drop(&(&other).into()).unwrap();
    let error = copy(&(&path).into(), &(&other).into(), &[V1]).unwrap_err();
    assert!(matches!(error, DbError::Newer { .. }), "{error}");
    assert!(!is_used(&(&other).into()).unwrap());
}
