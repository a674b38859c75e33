//! `enrol package`: what makes the agent of a machine speak to this hub.

use packages::{Error, Format, Package, Request};
use pipe::StageError;
use pipe::config::Config;
use registry::enrolments::Enrolment;

/// The package; the same input gives the same bytes.
pub fn build(config: &Config, enrolment: &Enrolment, secret: &str, format: Format) -> Result<Package, StageError> {
    let url = config.url.as_deref().ok_or_else(|| StageError::usage("the configuration has no `url`"))?;
    let path = config.authority().unwrap_or_default();
    let fail = |what: String| StageError::usage(format!("{}: {what}", path.display()));
    let pem = match config.authority().map(std::fs::read).transpose() {
        Ok(pem) => pem,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("no {}: the package trusts the authorities of each machine", path.display());
            pipe::cli::complain(&text);
            None
        }
        Err(e) => return Err(fail(e.to_string())),
    };
    let request = Request {
        source: &enrolment.source,
        url,
        authorities: pem.as_deref(),
        enrolment: &enrolment.id,
        generation: enrolment.generation,
        created: enrolment.created,
        unit: &enrolment.unit,
        secret,
    };
    packages::build(&request, format).map_err(|error| match error {
        Error::Authorities(what) => fail(what),
        other => StageError::usage(other.to_string()),
    })
}
