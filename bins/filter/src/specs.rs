//! From the probes of the configuration to a compiled set.

use std::collections::BTreeMap;

use pipe::StageError;
use pipe::config::{Config, FilterText, Finding, ProbeConf, nearest, render};
use probe::{CompileError, FilterSet, Problem, Scope, Source, Spec};

/// What the engine is told of one probe of a configuration.
pub fn spec(config: &Config, conf: &ProbeConf) -> Spec {
    let name = |text: &FilterText| match &text.file {
        Some(path) => path.display().to_string(),
        None => inline_name(conf),
    };
    let scope = &conf.scope;
    let by = conf.by.as_ref().map(|by| by.source.clone());
    let until = conf.until.as_ref();
    let query_name = conf.query_name();
    let modules = |path: &str| config.module(path);
    let imports = [Some(&conf.filter.source), by.as_ref()].map(|text| text.map(|t| probe::imports(t, &modules)));
    // What decides whether and how it matches, in this order: whoever changes it changes every `rev`.
    let mut options = vec![
        serde_json::json!([scope.platforms, scope.units, scope.tags]),
        serde_json::json!([scope.not_platforms, scope.not_units, scope.not_tags]),
        serde_json::json!([by, query_name, conf.first_run, conf.severity]),
        serde_json::json!(imports),
    ];
    // Lists that came later stand there only if they say something: the `rev` of a probe without them stays.
    let later = [&scope.groups, &scope.machines, &scope.not_groups, &scope.not_machines];
    if later.iter().any(|list| !list.is_empty()) {
        options.push(serde_json::json!(later));
    }
    if let Some(until) = until {
        options.push(serde_json::json!({"until": until.source, "imports": probe::imports(&until.source, &modules)}));
    }
    let options = serde_json::Value::Array(options);
    Spec {
        name: conf.name.clone(),
        rev: probe::rev(&conf.filter.source, &options.to_string()),
        filter: Source { name: name(&conf.filter).into(), text: conf.filter.source.as_str().into() },
        until: until.map(|until| Source { name: until_name(conf, until).into(), text: until.source.as_str().into() }),
        by,
        severity: conf.severity.clone(),
        // A shadow is matched, counted and shown; it asks for nothing to be done.
        act: if conf.shadow { Vec::new() } else { conf.act.clone() },
        scope: Scope {
            platforms: scope.platforms.clone(),
            units: scope.units.clone(),
            tags: scope.tags.clone(),
            groups: scope.groups.clone(),
            machines: scope.machines.clone(),
            not_platforms: scope.not_platforms.clone(),
            not_units: scope.not_units.clone(),
            not_tags: scope.not_tags.clone(),
            not_groups: scope.not_groups.clone(),
            not_machines: scope.not_machines.clone(),
        },
        query_name,
        first_run: conf.first_run,
        shadow: conf.shadow,
    }
}

/// The probe of this name.
pub fn probe<'c>(config: &'c Config, name: &str) -> Result<&'c ProbeConf, StageError> {
    config.probes.get(name).ok_or_else(|| {
        let near = nearest(name, config.probes.keys().map(String::as_str));
        StageError::usage(format!("the configuration has no probe `{name}`{near}"))
    })
}

/// Reads these probes; all of the configuration if none is named.
pub fn build(config: &Config, names: &[String]) -> Result<FilterSet, StageError> {
    let modules = |path: &str| config.module(path);
    FilterSet::build(specs(config, names)?, &modules).map_err(|errors| wrong(config, errors))
}

/// As [`build`]; what has not changed since `old` is taken over.
pub fn rebuild(old: &FilterSet, config: &Config, names: &[String]) -> Result<FilterSet, StageError> {
    let modules = |path: &str| config.module(path);
    FilterSet::rebuild(old, specs(config, names)?, &modules).map_err(|errors| wrong(config, errors))
}

fn wrong(config: &Config, errors: Vec<CompileError>) -> StageError {
    StageError::usage(format!("filters are wrong:\n{}", render(&placed(config, errors))))
}

fn specs(config: &Config, names: &[String]) -> Result<Vec<Spec>, StageError> {
    let mut specs = Vec::new();
    if names.is_empty() {
        specs.extend(config.probes.values().map(|conf| spec(config, conf)));
    }
    for name in names {
        specs.push(spec(config, probe(config, name)?));
    }
    Ok(specs)
}

/// What is wrong with the filters of the configuration, each with file, line and caret.
pub fn findings(config: &Config) -> Vec<Finding> {
    let modules = |path: &str| config.module(path);
    match FilterSet::build(config.probes.values().map(|conf| spec(config, conf)).collect(), &modules) {
        Ok(_) => Vec::new(),
        Err(errors) => placed(config, errors),
    }
}

fn placed(config: &Config, errors: Vec<CompileError>) -> Vec<Finding> {
    // Several probes may share a file or module that is wrong: it is said once.
    let mut once = BTreeMap::new();
    for problem in errors.into_iter().flat_map(|e| e.problems) {
        once.entry((problem.file.clone(), problem.line, problem.column, problem.message.clone())).or_insert(problem);
    }
    once.into_values().map(|problem| finding(config, &problem)).collect()
}

/// What is to be said of a filter of the configuration, under its key: a program that stands in the configuration is
/// shown there, one of a file in that file. A module has no key.
pub fn finding(config: &Config, p: &Problem) -> Finding {
    let named = config.probes.values().find_map(|probe| {
        let by = || probe.by.as_ref().filter(|by| is_of(by, &format!("{}, by", inline_name(probe)), p));
        let until = || probe.until.as_ref().filter(|until| is_of(until, &until_name(probe, until), p));
        let filter = is_of(&probe.filter, &inline_name(probe), p).then_some(("filter", &probe.filter));
        let other = || by().map(|by| ("by", by)).or_else(|| until().map(|until| ("until", until)));
        filter.or_else(other).map(|found| (probe, found))
    });
    let Some((probe, (key, text))) = named else {
        return Finding::drawn(&p.file, p.line, p.column, "", &p.message, drawn(p));
    };
    match &text.file {
        None => probe.settings.within(key, &text.source, p.line, p.column, &p.message),
        Some(file) => {
            let key = format!("probe.{}.{key}", probe.name);
            Finding::drawn(file, p.line, p.column, &key, &p.message, drawn(p))
        }
    }
}

/// Whether a problem is one of this text, by its file or by what the engine calls it.
fn is_of(text: &FilterText, name: &str, p: &Problem) -> bool {
    p.file == name || text.file.as_ref().is_some_and(|file| p.file == file.display().to_string())
}

fn drawn(p: &Problem) -> String {
    p.to_string().split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// What the engine calls a program that stands in the configuration itself.
fn inline_name(conf: &ProbeConf) -> String {
    format!("probe {}", conf.name)
}

/// What the engine calls the program that ends an incident.
fn until_name(conf: &ProbeConf, until: &FilterText) -> String {
    until.file.as_ref().map_or_else(|| format!("{}, until", inline_name(conf)), |file| file.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// What is quarantined, and what a delivery was made of, is known by it.
    #[test]
    fn a_rev_stays_as_lists_are_added() {
        let spec_of = |scope: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("pipeline.toml");
            let text = format!("version = 1\n[unit.u]\n[probe.p]\nfilter = \".a\"\nscope = {{ {scope} }}\n");
            std::fs::write(&path, text).unwrap();
            let config = Config::load(&path, None).unwrap().0;
            spec(&config, probe(&config, "p").unwrap())
        };
        let before = r#"[[["macos"],["u"],["vip"]],[[],[],["lab"]],[null,null,false,"info"],["",null]]"#;
        let old = r#"platforms = ["macos"], units = ["u"], tags = ["vip"], not_tags = ["lab"]"#;
        assert_eq!(spec_of(old).rev, ::probe::rev(".a", before));
        let mut revs = vec![spec_of(old).rev];
        for list in ["groups", "machines", "not_groups", "not_machines"] {
            let spec = spec_of(&format!("{old}, {list} = [\"x\"]"));
            assert!(!revs.contains(&spec.rev), "{list}");
            revs.push(spec.rev);
            let Scope { groups, machines, not_groups, not_machines, .. } = spec.scope;
            assert_eq!([groups, machines, not_groups, not_machines].concat(), ["x"]);
        }
    }
}
