//! The schemas and roles of a pipeline in PostgreSQL, as SQL for whoever may make them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipe::StageError;
use pipe::config::{Config, StageKind};
use registry::db::{Db, DbError, REGISTRY, schema};

/// Tables of the registry that `act` writes: what its actions do, and what they say about it.
const ACT_WRITES: [&str; 7] =
    ["machine_tags", "live_queries", "made_rules", "made_rules_moved", "orders", "changes", "writes"];

/// The schemas of the stages, which are the names of their roles, and whether actions run in them.
fn stages(config: &Config) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for stage in &config.stages {
        *names.entry(schema(config.state_name(stage))).or_default() |= stage.runs(StageKind::Act);
    }
    names
}

/// Lets the role of `act` write its part of the registry, whose tables were just made. Nothing where there is no such
/// role: one that owns everything needs no leave.
pub(super) fn grant(config: &Config) -> Result<(), StageError> {
    let home = config.registry();
    let fail = |e: DbError| StageError::of(&home, e);
    if home.file().is_some() || Db::open_read_only(&home).map_err(fail)?.is_none() {
        return Ok(());
    }
    let mut db = Db::open(&home, &[]).map_err(fail)?;
    let mut tx = db.begin().map_err(fail)?;
    for role in stages(config).into_iter().filter_map(|(role, acts)| acts.then_some(role)) {
        if tx.query("SELECT 1 FROM pg_roles WHERE rolname = $1", &[role.as_str().into()]).map_err(fail)?.is_empty() {
            continue;
        }
        for table in ACT_WRITES {
            let table = format!("{}.{table}", schema(REGISTRY));
            if !tx
                .query("SELECT 1 WHERE to_regclass($1) IS NOT NULL", &[table.as_str().into()])
                .map_err(fail)?
                .is_empty()
            {
                tx.execute(&format!("GRANT INSERT, UPDATE, DELETE ON {table} TO {role}"), &[]).map_err(fail)?;
            }
        }
    }
    tx.commit().map_err(fail)
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
