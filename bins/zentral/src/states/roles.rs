//! The schemas and roles of a pipeline in PostgreSQL, as SQL for whoever may make them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipe::StageError;
use pipe::config::{Config, StageKind};
use registry::db::{Db, DbError, REGISTRY, Tx, schema};

/// Tables of the registry that `act` writes: what its actions do, and what they say about it.
const ACT_WRITES: [&str; 7] =
    ["machine_tags", "live_queries", "made_rules", "made_rules_moved", "orders", "changes", "writes"];

/// Tables of the registry that only the command line and the console read and write: they hold hashes of passwords.
const USERS: [&str; 5] = ["users", "user_links", "user_sessions", "api_tokens", "login_tries"];

/// Tables of the registry that the console writes for people, besides: enrolments, what they change about machines,
/// orders to `act`, live queries, and who did so.
const CONSOLE_WRITES: [&str; 9] = [
    "enrolments",
    "certified_enrolments",
    "machine_tags",
    "made_rules",
    "made_rules_moved",
    "orders",
    "live_queries",
    "changes",
    "writes",
];

/// The role that reads all states, for every stage.
const READER: &str = "zentral_reader";

/// The schemas of the stages, which are the names of their roles, and the tables of the registry that they write.
fn stages(config: &Config) -> BTreeMap<String, Vec<&'static str>> {
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for stage in &config.stages {
        let writes = names.entry(schema(config.state_name(stage))).or_default();
        if stage.runs(StageKind::Act) {
            writes.extend(ACT_WRITES);
        }
        if stage.runs(StageKind::Console) {
            writes.extend(USERS.iter().chain(&CONSOLE_WRITES));
        }
    }
    names
}

/// Lets the roles of `act` and the console write their parts of the registry, whose tables were just made. Nothing where
/// there is no such role: one that owns everything needs no leave.
pub(super) fn grant(config: &Config) -> Result<(), StageError> {
    let home = config.registry();
    let fail = |e: DbError| StageError::of(&home, e);
    if home.file().is_some() || Db::open_read_only(&home).map_err(fail)?.is_none() {
        return Ok(());
    }
    let mut db = Db::open(&home, &[]).map_err(fail)?;
    let mut tx = db.begin().map_err(fail)?;
    if is_role(&mut tx, READER).map_err(fail)? {
        for table in USERS {
            change(&mut tx, table, &format!("REVOKE SELECT ON {{}} FROM {READER}")).map_err(fail)?;
        }
    }
    for (role, tables) in stages(config) {
        if tables.is_empty() || !is_role(&mut tx, &role).map_err(fail)? {
            continue;
        }
        for table in tables {
            let leave =
                if USERS.contains(&table) { "SELECT, INSERT, UPDATE, DELETE" } else { "INSERT, UPDATE, DELETE" };
            change(&mut tx, table, &format!("GRANT {leave} ON {{}} TO {role}")).map_err(fail)?;
        }
    }
    tx.commit().map_err(fail)
}

fn is_role(tx: &mut Tx<'_>, name: &str) -> Result<bool, DbError> {
    Ok(!tx.query("SELECT 1 FROM pg_roles WHERE rolname = $1", &[name.into()])?.is_empty())
}

/// Says this of a table of the registry, if it is there; `{}` stands for its name.
fn change(tx: &mut Tx<'_>, table: &str, sql: &str) -> Result<(), DbError> {
    let table = format!("{}.{table}", schema(REGISTRY));
    if !tx.query("SELECT 1 WHERE to_regclass($1) IS NOT NULL", &[table.as_str().into()])?.is_empty() {
        tx.execute(&sql.replace("{}", &table), &[])?;
    }
    Ok(())
}

/// To be run by `psql` as a role that may make roles, and schemas in this database. The role `zentral` is that of the
/// command line; it owns the registry and makes its tables. Each stage's role is named as its schema, owns that, and reads
/// the others'.
pub(super) fn script(config: &Config) -> String {
    let names = stages(config);
    let registry = schema(REGISTRY);
    let mut sql = String::from(
        "-- The roles of a pipeline whose state is in this database. Run it again when a stage was added, and\n\
         -- `zentral state migrate` after it, as the role zentral.\n\
         -- Passwords are set apart: ALTER ROLE zentral_act PASSWORD '...';\n\
         DO $$ BEGIN CREATE ROLE zentral_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n",
    );
    let owners = names.keys().map(|name| (name.as_str(), name.as_str())).chain([(registry.as_str(), "zentral")]);
    for (schema, role) in owners {
        let _ = write!(
            sql,
            "\nDO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n\
             GRANT zentral_reader TO {role};\n\
             DO $$ BEGIN IF NOT pg_has_role('{role}', 'MEMBER') THEN GRANT {role} TO CURRENT_USER; END IF; END $$;\n\
             CREATE SCHEMA IF NOT EXISTS {schema};\n\
             ALTER SCHEMA {schema} OWNER TO {role};\n\
             GRANT USAGE ON SCHEMA {schema} TO zentral_reader;\n\
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO zentral_reader;\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {schema} GRANT SELECT ON TABLES TO zentral_reader;\n"
        );
    }
    sql.push_str("\n-- The command line puts states back in their stages' names.\n");
    for role in names.keys() {
        let _ = writeln!(sql, "GRANT {role} TO zentral;");
    }
    sql
}
