//! The SQL of queries: whether it is one statement that reads. Which tables and columns an agent has is not known here.

use pipe::config::{Config, Finding, ProbeConf};
use registry::syntax;

/// What is wrong with the queries of the probes.
pub fn look(config: &Config) -> Vec<Finding> {
    config.probes.values().filter_map(wrong).collect()
}

fn wrong(conf: &ProbeConf) -> Option<Finding> {
    let sql = &conf.query.as_ref()?.sql;
    let error = syntax::check(sql).err()?;
    let before = sql.get(..error.at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let text = format!("the SQL is wrong: {}", error.text);
    let query = conf.settings.clone().table("query")?;
    Some(query.within("sql", sql, line, column, text))
}
