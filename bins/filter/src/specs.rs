//! From the probes of the configuration to a compiled set.

use std::collections::BTreeMap;

use pipe::StageError;
use pipe::config::{Config, FilterText, Finding, ProbeConf};
use probe::{CompileError, FilterSet, Scope, Source, Spec};

/// What the engine is told of one probe of a configuration.
pub fn spec(config: &Config, conf: &ProbeConf) -> Spec {
    let name = |text: &FilterText| match &text.file {
        Some(path) => path.display().to_string(),
        None => format!("probe {}", conf.name),
    };
    let scope = &conf.scope;
    let by = conf.by.as_ref().map(|by| by.source.clone());
    let query_name = conf.query_name();
    let modules = |path: &str| config.module(path);
    let imports = [Some(&conf.filter.source), by.as_ref()].map(|text| text.map(|t| probe::imports(t, &modules)));
    // What decides whether and how it matches, in this order: whoever changes it changes every `rev`.
    let options = serde_json::json!([
        [scope.platforms, scope.units, scope.tags],
        [scope.not_platforms, scope.not_units, scope.not_tags],
        [by, query_name, conf.first_run, conf.severity],
        imports,
    ]);
    Spec {
        name: conf.name.clone(),
        rev: probe::rev(&conf.filter.source, &options.to_string()),
        filter: Source { name: name(&conf.filter), text: conf.filter.source.clone() },
        until: None,
        by,
        severity: conf.severity.clone(),
        // A shadow is matched, counted and shown; it asks for nothing to be done.
        act: if conf.shadow { Vec::new() } else { conf.act.clone() },
        scope: Scope {
            platforms: scope.platforms.clone(),
            units: scope.units.clone(),
            tags: scope.tags.clone(),
            not_platforms: scope.not_platforms.clone(),
            not_units: scope.not_units.clone(),
            not_tags: scope.not_tags.clone(),
        },
        query_name,
        first_run: conf.first_run,
        shadow: conf.shadow,
    }
}

/// Compiles these probes; all of the configuration if none is named.
pub fn build(config: &Config, names: &[String]) -> Result<FilterSet, StageError> {
    let mut specs = Vec::new();
    if names.is_empty() {
        specs.extend(config.probes.values().map(|conf| spec(config, conf)));
    }
    for name in names {
        let conf = config.probes.get(name);
        let conf = conf.ok_or_else(|| StageError::usage(format!("the configuration has no probe `{name}`")))?;
        specs.push(spec(config, conf));
    }
    let modules = |path: &str| config.module(path);
    FilterSet::build(specs, &modules).map_err(|errors| {
        let drawn: Vec<String> = errors.iter().map(CompileError::render).collect();
        StageError::usage(format!("filters are wrong:\n{}", drawn.join("\n")))
    })
}

/// What is wrong with the filters of the configuration, each with file, line and caret.
pub fn findings(config: &Config) -> Vec<Finding> {
    let modules = |path: &str| config.module(path);
    let specs = config.probes.values().map(|conf| spec(config, conf)).collect();
    let Err(errors) = FilterSet::build(specs, &modules) else { return Vec::new() };
    // Several probes may share a file or module that is wrong: it is said once.
    let mut once = BTreeMap::new();
    for problem in errors.into_iter().flat_map(|e| e.problems) {
        once.entry((problem.file.clone(), problem.line, problem.column, problem.message.clone())).or_insert(problem);
    }
    let finding = |p: probe::Problem| {
        let drawn = p.to_string();
        let shown = drawn.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned());
        Finding::drawn(&p.file, p.line, p.column, "", &p.message, shown)
    };
    once.into_values().map(finding).collect()
}
