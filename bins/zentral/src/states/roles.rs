//! The schemas and roles of a pipeline in PostgreSQL, as SQL for whoever may make them.

use std::fmt::Write as _;

use pipe::config::{Config, StageKind};
use registry::db::{REGISTRY, schema};

/// Tables of the registry that `act` writes: what its actions do, and what they say about it.
const ACT_WRITES: [&str; 7] =
    ["machine_tags", "live_queries", "made_rules", "made_rules_moved", "orders", "changes", "writes"];

/// To be run by `psql` as a role that may make roles. The role `zentral` is that of the command line; it owns the registry
/// and makes its tables. Each stage's role is named as its schema, owns that, and reads the others'.
pub(super) fn script(config: &Config) -> String {
    let mut names: Vec<(String, bool)> =
        config.stages.iter().map(|stage| (schema(config.state_name(stage)), stage.runs(StageKind::Act))).collect();
    names.sort();
    names.dedup();
    let registry = schema(REGISTRY);
    let mut sql = String::from(
        "-- The roles of a pipeline whose state is in this database. Run it again when a stage was added.\n\
         -- Passwords are set apart: ALTER ROLE zentral_act PASSWORD '...';\n\
         DO $$ BEGIN CREATE ROLE zentral_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n",
    );
    let owners = names.iter().map(|(name, _)| (name.as_str(), name.as_str())).chain([(registry.as_str(), "zentral")]);
    for (schema, role) in owners {
        let _ = write!(
            sql,
            "\nDO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n\
             GRANT zentral_reader TO {role};\n\
             CREATE SCHEMA IF NOT EXISTS {schema};\n\
             ALTER SCHEMA {schema} OWNER TO {role};\n\
             GRANT USAGE ON SCHEMA {schema} TO zentral_reader;\n\
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO zentral_reader;\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {schema} GRANT SELECT ON TABLES TO zentral_reader;\n"
        );
    }
    sql.push_str("\n-- The command line puts states back in their stages' names.\n");
    for (role, _) in &names {
        let _ = writeln!(sql, "GRANT {role} TO zentral;");
    }
    for (act, _) in names.iter().filter(|(_, acts)| *acts) {
        let _ = write!(
            sql,
            "\n-- What actions write of the registry. Its tables are there after `zentral state migrate`, run as `zentral`;\n\
             -- run this again then.\n"
        );
        for table in ACT_WRITES {
            let _ = writeln!(
                sql,
                "DO $$ BEGIN IF to_regclass('{registry}.{table}') IS NOT NULL THEN \
                 GRANT INSERT, UPDATE, DELETE ON {registry}.{table} TO {act}; END IF; END $$;"
            );
        }
    }
    sql
}
