//! `[action.*]`: the keys that every action has, and which kind reads the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipe::config::{Config, Finding, Scope, Settings};

use crate::actions::{self, Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec, Texts};
use crate::call::Call;
use crate::jq::Jq;
use crate::lanes::ms;
use crate::preset;
use crate::quiet::Quiet;

/// A match older than this is not acted upon.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// What is not done by then goes to the dead letters.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// The most deliveries of one action under way at a time.
const PARALLEL_MAX: i64 = 16;
/// The longest that `timeout` may be.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The longest that `max_age` and `give_up` may be.
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The most machines an hour that `max` may say.
const MAX_MAX: u64 = 1_000_000;
/// The longest that credentials are tried.
const ONLINE_MAX: Duration = Duration::from_secs(30);
/// The longest that `digest` may be.
const DIGEST_MAX: Duration = Duration::from_secs(24 * 3600);

/// The keys that every action has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Whether a try that was cut off may be made again.
    pub repeatable: bool,
    /// A match older than this, from `received`, is stale.
    pub max_age: Duration,
    /// What is not done by then is dead.
    pub give_up: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// Deliveries under way at a time.
    pub parallel: usize,
    /// Least time between two tries.
    pub spacing: Option<Duration>,
    /// Nothing is sent, everything else is done.
    pub dry_run: bool,
    /// Matches are gathered for so long, and told of as one.
    pub digest: Option<Duration>,
    /// When nobody is to be told.
    pub quiet: Option<Arc<Quiet>>,
    /// The most machines that it may change within an hour.
    pub max: Option<u64>,
    /// Machines that it never touches.
    pub never: Option<Arc<Scope>>,
}

/// One action as it is configured.
pub struct Configured {
    /// Its name.
    pub name: String,
    /// Its kind or preset.
    pub kind: String,
    /// What every action has.
    pub common: Common,
    changes_machines: bool,
    spec: Box<dyn Spec>,
}

/// One action, ready.
#[derive(Clone)]
pub struct Ready {
    /// Its kind or preset.
    pub kind: String,
    /// What every action has.
    pub common: Common,
    /// Whom one match goes to, a delivery each.
    pub targets: Vec<String>,
    /// What is done.
    pub action: Arc<dyn Action>,
    /// Why nothing can be done now: its deliveries wait.
    pub waits: Option<String>,
}

impl Configured {
    /// Reads one table.
    pub fn read(settings: &Settings, config: &Config, texts: &Texts) -> Result<Self, Vec<Finding>> {
        let mut settings = settings.clone();
        let name = settings.name().to_owned();
        let Some(word) = settings.required_str("kind") else { return Err(settings.finish()) };
        let (kind, preset) = match Self::kind(&word, config, texts) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let known: Vec<&str> = actions::ALL.iter().map(|k| k.name).chain(preset::names()).collect();
                let text = format!("`{word}` is no kind of action ({}) and no file in actions/", known.join(", "));
                settings.fail("kind", text);
                // The other keys belong to a kind that nobody knows: saying more would mislead.
                return Err(settings.finish().into_iter().filter(|f| f.key.ends_with(".kind")).collect());
            }
            Err(finding) => return Err(vec![finding]),
        };
        let mut common = Common::read(&mut settings, &kind, preset.as_ref().and_then(|preset| preset.rate.as_deref()));
        let spec = (kind.read)(&mut settings, &Reading { config, texts, preset });
        if let (false, Some(own)) = (settings.has("repeatable"), spec.as_ref().and_then(|spec| spec.repeatable())) {
            common.repeatable = own;
        }
        let findings = settings.finish();
        match spec {
            Some(spec) if findings.is_empty() => {
                Ok(Self { name, kind: word, common, changes_machines: kind.changes_machines, spec })
            }
            _ => Err(findings),
        }
    }

    /// What is said of an action that changes machines without a brake.
    fn unbraked(&self, settings: &Settings) -> Vec<Finding> {
        if !self.changes_machines || self.common.max.is_some() {
            return Vec::new();
        }
        let text = "changes machines: say how many within an hour at most, such as max = \"20/h\"";
        settings.finding("kind", text).map(Finding::warning).into_iter().collect()
    }

    fn kind(word: &str, config: &Config, texts: &Texts) -> Result<Option<(Kind, Option<preset::Preset>)>, Finding> {
        if let Some(kind) = actions::ALL.iter().find(|k| k.name == word) {
            return Ok(Some((*kind, None)));
        }
        Ok(preset::find(word, &config.base, texts)?.map(|preset| (actions::http::KIND, Some(preset))))
    }

    /// Looks up its secrets and makes it ready.
    pub fn open(&self, opening: Opening<'_>) -> Result<Ready, String> {
        self.try_open(opening).map_err(|why| format!("action `{}`: {why}", self.name))
    }

    /// The error does not name it.
    fn try_open(&self, opening: Opening<'_>) -> Result<Ready, String> {
        let action = self.spec.open(&opening)?;
        if self.common.digest.is_some() && action.keeps_reference() {
            return Err("it is told of each incident alone: `digest` does not fit".into());
        }
        Ok(self.ready(action, None))
    }

    /// The same; what cannot be made ready waits.
    pub fn open_or_wait(&self, opening: Opening<'_>) -> Ready {
        self.try_open(opening).unwrap_or_else(|why| self.ready(Arc::new(Waits), Some(why)))
    }

    fn ready(&self, action: Arc<dyn Action>, waits: Option<String>) -> Ready {
        let (kind, common, targets) = (self.kind.clone(), self.common.clone(), self.spec.targets());
        Ready { kind, common, targets, action, waits }
    }
}

/// An action that cannot be made ready. Nobody asks it: its deliveries wait in the ledger.
struct Waits;

impl Action for Waits {
    fn send<'a>(&'a self, _: &'a Call) -> Sending<'a> {
        Box::pin(async { Answer::later(None, "the action is not ready") })
    }

    fn show<'a>(&'a self, _: &'a Call) -> Showing<'a> {
        Box::pin(async { Err("the action is not ready".into()) })
    }
}

impl Common {
    /// `rate`: the service's own, for an action that names none.
    fn read(settings: &mut Settings, kind: &Kind, rate: Option<&str>) -> Self {
        let quiet = Quiet::read(settings).map(Arc::new);
        let (max, never) = Self::brakes(settings);
        let digest = settings.duration("digest");
        if digest.is_some_and(|time| time.is_zero() || time > DIGEST_MAX) {
            settings.fail("digest", "must be more than nothing and at most 24h");
        }
        if digest.is_some() && kind.changes_machines {
            settings.fail("digest", "is for people: a machine is changed for each match");
        }
        let mut age = |key: &str, default: Duration, max: Duration| {
            let value = settings.duration(key).unwrap_or(default);
            if value > max || value.is_zero() {
                settings.fail(key, format!("must be more than nothing and at most {} s", max.as_secs()));
            }
            value
        };
        let max_age = age("max_age", MAX_AGE, AGE_MAX);
        let give_up = age("give_up", GIVE_UP, AGE_MAX);
        let timeout = age("timeout", kind.timeout, TIMEOUT_MAX);
        if quiet.as_ref().is_some_and(|quiet| quiet.longest_ms() >= ms(max_age.min(give_up))) {
            settings.fail("quiet", "is as long as `max_age` or `give_up`: what waits would never be told");
        }
        let parallel = settings.int("parallel").unwrap_or(1);
        if !(1..=PARALLEL_MAX).contains(&parallel) {
            settings.fail("parallel", format!("is 1 to {PARALLEL_MAX}"));
        }
        let spacing = settings.str("rate").and_then(|text| {
            let spacing = parse_rate(&text);
            if spacing.is_none() {
                settings.fail("rate", format!("`{text}` is no rate; write it as \"1/s\", \"20/m\" or \"100/h\""));
            }
            spacing
        });
        let spacing = spacing.or_else(|| rate.filter(|_| !settings.has("rate")).and_then(parse_rate));
        Self {
            repeatable: settings.bool("repeatable").unwrap_or(kind.repeatable),
            max_age,
            give_up,
            timeout,
            parallel: usize::try_from(parallel).unwrap_or(1).max(1),
            spacing,
            dry_run: settings.bool("dry_run").unwrap_or(false),
            digest,
            quiet,
            max,
            never,
        }
    }

    /// `max = "20/h"`, and `never`, a scope.
    fn brakes(settings: &mut Settings) -> (Option<u64>, Option<Arc<Scope>>) {
        let max = settings.str("max").and_then(|text| {
            let max = text.strip_suffix("/h").and_then(|n| n.trim().parse().ok()).filter(|n| (1..=MAX_MAX).contains(n));
            if max.is_none() {
                settings.fail("max", format!("`{text}` is no number of machines an hour; write it as \"20/h\""));
            }
            max
        });
        let never = settings.has("never").then(|| Arc::new(Scope::read_as("never", settings)));
        let is_turned = |scope: &Arc<Scope>| {
            let lists =
                [&scope.not_platforms, &scope.not_units, &scope.not_tags, &scope.not_groups, &scope.not_machines];
            lists.iter().any(|list| !list.is_empty())
        };
        if never.as_ref().is_some_and(is_turned) {
            settings.fail("never", "lists what is never touched: platforms, units, tags, groups, machines");
        }
        (max, never)
    }
}

/// `"1/s"`, `"20/m"`, `"100/h"` as the time between two.
pub(crate) fn parse_rate(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_once('/')?;
    let number: u32 = number.trim().parse().ok()?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    };
    unit.checked_div(number)
}

/// Reads all actions, or those named; all that is wrong comes back at once.
pub fn read_all(
    config: &Config,
    texts: &Texts,
    names: &[String],
) -> Result<BTreeMap<String, Configured>, Vec<Finding>> {
    let (mut all, mut findings) = (BTreeMap::new(), Vec::new());
    for (name, settings) in config.actions.iter().filter(|(n, _)| names.is_empty() || names.contains(n)) {
        match Configured::read(settings, config, texts) {
            Ok(configured) => {
                all.insert(name.clone(), configured);
            }
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok(all) } else { Err(findings) }
}

/// Everything that is wrong with the actions of a configuration, secrets that cannot be looked up included if
/// `secrets`.
pub fn check(config: &Config, texts: &Texts, secrets: bool) -> Vec<Finding> {
    let (mut findings, jq) = (Vec::new(), if secrets { Jq::start().ok() } else { None });
    let registry = config.registry();
    for settings in config.actions.values() {
        match (Configured::read(settings, config, texts), &jq) {
            (Err(found), _) => findings.extend(found),
            (Ok(configured), Some(jq)) => {
                if let Err(why) = configured.try_open(Opening { jq, registry: &registry, dry_run: false }) {
                    findings.push(placed(settings, &why));
                }
            }
            (Ok(configured), None) => findings.extend(configured.unbraked(settings)),
        }
    }
    findings
}

/// Why an action cannot be made ready, where it stands: at the secret that cannot be read, if it is one of the table's own.
fn placed(settings: &Settings, why: &str) -> Finding {
    let secret = settings.unreadable().into_iter().find(|finding| finding.text == why);
    let elsewhere = || settings.finding("kind", format!("cannot be made ready: {why}"));
    secret.or_else(elsewhere).unwrap_or_else(|| Finding::file(settings.file(), why))
}

/// Tries the credentials of every action that has a way to, without telling anybody: its name, and how that went (`None`:
/// there is no such way). An action whose settings or secrets are wrong is none of them.
pub fn check_online(config: &Config, texts: &Texts) -> Vec<(String, Option<Result<(), String>>)> {
    let registry = config.registry();
    let (Ok(jq), Ok(runtime)) = (Jq::start(), tokio::runtime::Builder::new_current_thread().enable_all().build())
    else {
        return Vec::new();
    };
    let opening = Opening { jq: &jq, registry: &registry, dry_run: false };
    let configured = config.actions.values().filter_map(|settings| Configured::read(settings, config, texts).ok());
    let mut all = Vec::new();
    for configured in configured {
        let Ok(ready) = configured.open(opening) else { continue };
        let tried = ready.action.online().map(|trying| {
            runtime.block_on(async {
                let limit = ready.common.timeout.min(ONLINE_MAX);
                let over = || Err(format!("no answer within {} s", limit.as_secs()));
                tokio::time::timeout(limit, trying).await.unwrap_or_else(|_| over())
            })
        });
        all.push((configured.name, tried));
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// The findings of an action made of `key=value` words, as one text.
    fn check_words(words: &[(&str, &str)]) -> String {
        let words: Vec<(String, String)> = words.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let settings = Settings::from_words("action.a", "a", &words).unwrap();
        let mut config = Config::empty(None);
        config.actions.insert("a".into(), settings);
        check(&config, &actions::texts_at("pipeline.toml".into()), true)
            .iter()
            .map(|f| format!("{} {}\n", f.key, f.text))
            .collect()
    }

    #[test]
    fn mistakes_are_named() {
        let hook = ("url", "\"https://hooks.example.com/T/B/x\"");
        for (words, part) in [
            (vec![("kind", "slak")], "action.a.kind `slak` is no kind of action (email, exec, file, http, "),
            (vec![], "needs the key `kind`"),
            (vec![("kind", "slack")], "needs the key `url`"),
            (vec![("kind", "slack"), hook, ("rte", "1/s")], "action.a.rte unknown key; did you mean `rate`?"),
            (vec![("kind", "slack"), hook, ("rate", "0/s")], "action.a.rate `0/s` is no rate"),
            (vec![("kind", "slack"), hook, ("parallel", "17")], "action.a.parallel is 1 to 16"),
            (vec![("kind", "slack"), hook, ("timeout", "2h")], "action.a.timeout must be"),
            (vec![("kind", "slack"), hook, ("digest", "25h")], "action.a.digest must be"),
            (
                vec![("kind", "slack"), hook, ("quiet", "{ from = \"25:00\", to = \"7\" }")],
                "action.a.quiet.from `25:00`",
            ),
            (vec![("kind", "slack"), hook, ("max", "2/d")], "action.a.max `2/d` is no number of machines"),
            (vec![("kind", "http"), ("url", "ftp://x/")], "action.a.url "),
            (vec![("kind", "http"), hook, ("body", "{a: (}")], "action.a.body "),
            (vec![("kind", "http"), ("url", "{ env = \"ZENTRAL_TEST_NOT_SET\" }")], "ZENTRAL_TEST_NOT_SET is not set"),
            (vec![("kind", "exec")], "needs the key `run`"),
            (vec![("kind", "file")], "needs the key `path`"),
            (
                vec![("kind", "email"), ("smtp", "{ url = \"smtps://m\" }"), ("from", "a@b.c"), ("to", "group:x")],
                "action.a.to ",
            ),
        ] {
            let found = check_words(&words);
            assert!(found.contains(part), "{words:?}: {found}");
        }
        assert_eq!(check_words(&[("kind", "slack"), hook, ("rate", "1/s"), ("give_up", "3d")]), "");
    }
}
