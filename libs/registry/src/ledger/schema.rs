//! The tables of `act` in `state/act.db`.

use crate::db::Schema;

/// The tables of `act` in `state/act.db`.
pub const SCHEMA: Schema = Schema { name: "act", migrations: &[LEDGER, LINES, CONDITIONS, MANY] };

const LEDGER: &str = "CREATE TABLE ledger (
        id TEXT PRIMARY KEY, idem TEXT NOT NULL,
        event TEXT NOT NULL, probe TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
        state TEXT NOT NULL, due BIGINT NOT NULL, seq BIGINT NOT NULL, tries BIGINT NOT NULL, round BIGINT NOT NULL,
        received BIGINT NOT NULL, created BIGINT NOT NULL, updated BIGINT NOT NULL, expires BIGINT NOT NULL,
        error TEXT NOT NULL, nonce BIGINT NOT NULL, line BYTEA, UNIQUE (event, probe, action, target, nonce));
    CREATE INDEX ledger_due ON ledger (action, due, seq) WHERE state = 'pending';
    CREATE INDEX ledger_expires ON ledger (expires) WHERE state = 'pending';
    CREATE INDEX ledger_trying ON ledger (seq) WHERE state = 'trying';
    CREATE INDEX ledger_dead ON ledger (updated) WHERE state = 'dead';
    CREATE INDEX ledger_created ON ledger (created);
    CREATE TABLE taken (event TEXT NOT NULL, probe TEXT NOT NULL, created BIGINT NOT NULL,
        PRIMARY KEY (event, probe));
    CREATE INDEX taken_created ON taken (created);
    CREATE TABLE orders_done (id TEXT PRIMARY KEY, created BIGINT NOT NULL);";

/// A line stands once, however many targets it has, and is not written again with each change of a row.
const LINES: &str = "CREATE TABLE lines (id TEXT PRIMARY KEY, line BYTEA NOT NULL);
    INSERT INTO lines (id, line) SELECT id, line FROM ledger WHERE line IS NOT NULL;
    ALTER TABLE ledger ADD COLUMN line_id TEXT;
    UPDATE ledger SET line_id = id WHERE line IS NOT NULL;
    ALTER TABLE ledger DROP COLUMN line;
    CREATE INDEX ledger_line ON ledger (line_id) WHERE line_id IS NOT NULL;";

/// What is remembered between matches. `told` and `incident` of a row are empty for a plain match; `why` of what was
/// taken says what held it back.
const CONDITIONS: &str = "ALTER TABLE ledger ADD COLUMN told TEXT NOT NULL DEFAULT '';
    ALTER TABLE ledger ADD COLUMN incident TEXT NOT NULL DEFAULT '';
    ALTER TABLE ledger ADD COLUMN digest TEXT NOT NULL DEFAULT '';
    CREATE INDEX ledger_incident ON ledger (incident, action, target, seq)
        WHERE incident <> '' AND state IN ('pending', 'trying');
    ALTER TABLE taken ADD COLUMN why TEXT NOT NULL DEFAULT '';
    CREATE TABLE throttles (probe TEXT NOT NULL, key TEXT NOT NULL, since BIGINT NOT NULL, PRIMARY KEY (probe, key));
    CREATE TABLE windows (probe TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, received BIGINT NOT NULL,
        PRIMARY KEY (probe, key, event));
    CREATE INDEX windows_received ON windows (probe, key, received);
    CREATE TABLE incidents (id TEXT PRIMARY KEY, probe TEXT NOT NULL, key TEXT NOT NULL, severity TEXT NOT NULL,
        status TEXT NOT NULL, title TEXT NOT NULL, machine TEXT NOT NULL, event TEXT NOT NULL, act TEXT NOT NULL,
        opened BIGINT NOT NULL, last BIGINT NOT NULL, told BIGINT NOT NULL, closed BIGINT NOT NULL,
        count BIGINT NOT NULL, words TEXT NOT NULL, owner TEXT NOT NULL, comment TEXT NOT NULL, line BYTEA);
    CREATE UNIQUE INDEX incidents_open ON incidents (probe, key) WHERE status <> 'closed';
    CREATE INDEX incidents_closed ON incidents (closed) WHERE status = 'closed';
    CREATE TABLE noted (incident TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, reference TEXT NOT NULL,
        PRIMARY KEY (incident, action, target));
    CREATE TABLE digests (id TEXT PRIMARY KEY, action TEXT NOT NULL, target TEXT NOT NULL, probe TEXT NOT NULL,
        event TEXT NOT NULL, received BIGINT NOT NULL, due BIGINT NOT NULL, sealed BIGINT NOT NULL,
        count BIGINT NOT NULL, hash TEXT NOT NULL, ids TEXT NOT NULL, bytes BIGINT NOT NULL);
    CREATE UNIQUE INDEX digests_open ON digests (action, target) WHERE sealed = 0;
    CREATE INDEX digests_due ON digests (due) WHERE sealed = 0;
    CREATE TABLE digest_lines (digest TEXT NOT NULL, n BIGINT NOT NULL, machine TEXT NOT NULL,
        received BIGINT NOT NULL, line BYTEA NOT NULL, PRIMARY KEY (digest, n));
    CREATE INDEX digest_lines_machine ON digest_lines (machine);
    CREATE TABLE changed_machines (action TEXT NOT NULL, machine TEXT NOT NULL, at BIGINT NOT NULL,
        PRIMARY KEY (action, machine));
    CREATE TABLE stopped (action TEXT PRIMARY KEY, since BIGINT NOT NULL, why TEXT NOT NULL);
    CREATE TABLE mutes (name TEXT PRIMARY KEY, since BIGINT NOT NULL, until BIGINT NOT NULL);";

/// For a million rows that wait. While a receiver is in trouble, what was tried is looked for after each failure; while
/// a lane stands still, what ends an incident; digests are looked for by their lines. `tell` of a digest: not told
/// before; `severity` the worst of it, `told` what a match of it that is told alone says.
const MANY: &str = "CREATE INDEX ledger_tried ON ledger (action) WHERE state = 'pending' AND tries > 0;
    ALTER TABLE ledger ADD COLUMN ends BIGINT NOT NULL DEFAULT 0;
    UPDATE ledger SET ends = 1 WHERE incident <> '' AND told LIKE '{\"state\":\"closed\"%';
    CREATE INDEX ledger_ends ON ledger (action, ends, due, seq) WHERE state = 'pending' AND ends = 1;
    CREATE INDEX ledger_digest ON ledger (digest) WHERE digest <> '';
    DROP INDEX ledger_incident;
    CREATE INDEX ledger_incident ON ledger (incident, action, target, seq) WHERE incident <> '';
    ALTER TABLE digests ADD COLUMN severity TEXT NOT NULL DEFAULT '';
    ALTER TABLE digests ADD COLUMN told TEXT NOT NULL DEFAULT '';
    ALTER TABLE digests ADD COLUMN tell BIGINT NOT NULL DEFAULT 0;
    UPDATE digests SET tell = due;
    DROP INDEX digests_due;
    CREATE INDEX digests_tell ON digests (tell) WHERE sealed = 0;";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::db::Db;

    /// What was written before there were severities of digests is read by what knows them.
    #[test]
    fn a_state_of_before_has_all_columns() {
        let before = Schema { name: SCHEMA.name, migrations: &[LEDGER, LINES, CONDITIONS] };
        let mut db = Db::memory(&[before]).unwrap();
        let mut tx = db.begin().unwrap();
        tx.execute(
            "INSERT INTO digests (id, action, target, probe, event, received, due, sealed, count, hash, ids, bytes) \
             VALUES ('d', 'mail', '', 'p', 'e', 1, 7, 0, 1, '', '[]', 0)",
            &[],
        )
        .unwrap();
        tx.commit().unwrap();
        db.bring_up_to_date(&[SCHEMA]).unwrap();
        let rows = db.query("SELECT severity, told, tell FROM digests", &[]).unwrap();
        let row = rows.first().unwrap();
        assert_eq!((row.text(0), row.text(1), row.int(2)), ("", "", 7));
    }
}
