//! `zentral init` where a pipeline.toml is already: what it names and what is missing is made, the rest stays.

use std::path::{Path, PathBuf};

use event::Time;
use packages::Address;
use pipe::StageError;
use pipe::cli::{Global, complain};
use pipe::config::{Config, StageKind, render};
use registry::server_key;

use super::{Args, Plan};
use crate::ca;

/// What is missing of the certificate, its key, the authority and the key of the data folder.
pub fn plan(global: &Global, args: &Args) -> Result<Plan, StageError> {
    let main = args.dir.join("pipeline.toml");
    let there = format!("{} is there already", main.display());
    if args.listen.is_some() || args.url.is_some() {
        return Err(StageError::usage(format!("{there} and says what --listen and --url would; nothing was written")));
    }
    if args.guide {
        return Err(StageError::usage(format!("{there}; --guide needs a new folder; nothing was written")));
    }
    let (config, _) = Config::load(&main, global.data.as_deref()).map_err(|findings| {
        complain(&render(&findings));
        StageError::usage(format!("{there} and is wrong; nothing was written"))
    })?;
    let whole =
        |path: PathBuf| std::path::absolute(&path).map_err(|e| StageError::usage(format!("{}: {e}", path.display())));
    let mut plan = Plan { files: Vec::new(), kept: vec!["pipeline.toml".into()] };
    if let Some((cert, key)) = tls(&config) {
        certificates(&mut plan, &config, whole(cert)?, whole(key)?)?;
    }
    let secret = whole(config.data.join(server_key::FILE))?;
    if secret.exists() {
        plan.kept.push(secret);
    } else {
        let key = server_key::random().map_err(|e| StageError::state(format!("no random numbers: {e}")))?;
        plan.files.push((secret, 0o600, key.0.to_vec()));
    }
    if plan.files.is_empty() {
        return Err(StageError::usage(format!("{there}, and nothing that it needs is missing; nothing was written")));
    }
    // As people see them: from the folder on.
    let dir = whole(args.dir.clone())?;
    let paths = plan.files.iter_mut().map(|(path, ..)| path).chain(&mut plan.kept);
    for path in paths {
        if let Ok(inner) = path.strip_prefix(&dir) {
            *path = inner.to_owned();
        }
    }
    Ok(plan)
}

/// The files of certificate and key, as `receive` is told.
fn tls(config: &Config) -> Option<(PathBuf, PathBuf)> {
    let stage = config.stages.iter().find(|s| s.runs(StageKind::Receive))?;
    let mut tls = stage.settings.clone().table("tls")?;
    Some((tls.path("cert")?, tls.path("key")?))
}

fn certificates(plan: &mut Plan, config: &Config, cert: PathBuf, key: PathBuf) -> Result<(), StageError> {
    // Where packages look for it.
    let authority = cert.with_file_name("ca.pem");
    match (cert.exists(), key.exists()) {
        (true, true) => {
            plan.kept.extend([cert, key]);
            return Ok(());
        }
        (false, false) => {}
        (one, _) => {
            let (there, missing) = if one { (&cert, &key) } else { (&key, &cert) };
            return Err(lonely(there, &format!("{} is not", missing.display())));
        }
    }
    if authority.exists() {
        let why = format!("{} is not, and the key of an authority is kept nowhere", cert.display());
        return Err(lonely(&authority, &why));
    }
    let host = match &config.url {
        Some(url) => Address::parse(url).map_err(StageError::usage)?.host,
        None => "localhost".to_owned(),
    };
    let made = ca::make(&ca::names(&host), Time::now()).map_err(StageError::state)?;
    plan.files.extend([
        (authority, 0o644, made.ca.into()),
        (cert, 0o644, made.hub.into()),
        (key, 0o600, made.hub_key.into()),
    ]);
    Ok(())
}

fn lonely(there: &Path, why: &str) -> StageError {
    StageError::usage(format!("{} is there, but {why}: put it aside; nothing was written", there.display()))
}
