//! `enrol package`: what makes the agent of a machine speak to this hub.

use packages::{Address, Agent, Authorities, Format, Package, Request};
use pipe::StageError;
use pipe::config::Config;
use registry::enrolments::Enrolment;

/// The package; the same input gives the same bytes.
pub fn build(config: &Config, enrolment: &Enrolment, secret: &str, format: Format) -> Result<Package, StageError> {
    let url = config.url.as_deref().ok_or_else(|| StageError::usage("the configuration has no `url`"))?;
    let none = || StageError::usage(format!("there is no package for {}", enrolment.source));
    let authorities = authorities(config)?;
    let request = Request {
        agent: Agent::of(&enrolment.source).ok_or_else(none)?,
        address: &Address::parse(url).map_err(StageError::usage)?,
        authorities: authorities.as_ref(),
        enrolment: &enrolment.id,
        generation: enrolment.generation,
        created: u32::try_from(enrolment.created / 1000).unwrap_or_default(),
        unit: &enrolment.unit,
        secret,
    };
    packages::build(&request, format).map_err(|e| StageError::usage(e.to_string()))
}

/// Those that agents are to believe: none if the hub has a certificate that everybody believes.
fn authorities(config: &Config) -> Result<Option<Authorities>, StageError> {
    let Some(path) = config.authority() else { return Ok(None) };
    let fail = |what: String| StageError::usage(format!("{}: {what}", path.display()));
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("no {}: the package trusts the authorities of each machine", path.display());
            pipe::cli::complain(&text);
            Ok(None)
        }
        other => {
            let pem = other.map_err(|e| fail(e.to_string()))?;
            Authorities::read(&pem).map(Some).map_err(fail)
        }
    }
}
