//! A package of Red Hat, Fedora and SUSE.

use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder, Scriptlet};

use super::archive::writer;
use crate::contents::Contents;
use crate::{Error, Order};

/// rpm changes its root itself; ZENTRAL_ROOT is for tests.
const BEGIN: &str = "set -eu\nroot=${ZENTRAL_ROOT:-}\n\n";

/// The package; of the form that every rpm since 4.14 reads.
pub fn write(order: &Order, contents: &Contents) -> Result<Vec<u8>, Error> {
    let agent = order.agent.name();
    let (name, version) = (format!("zentral-{agent}"), format!("1.{}", order.created));
    let summary = format!("Makes {agent} speak to a hub for endpoint events");
    let mut package = PackageBuilder::new(&name, &version, "Apache-2.0", "noarch", &summary);
    package
        .using_config(BuildConfig::v4().compression(CompressionType::Gzip).source_date(order.created))
        .description(format!(
            "The hub is {}\n(enrolment {}, unit {}).",
            order.address.url(),
            order.enrolment,
            order.unit
        ))
        .recommends(Dependency::any(agent))
        .requires(Dependency::any(SHELL))
        .post_install_script(script(format!("{BEGIN}{}", contents.scripts.after)));
    if let Some(removal) = &contents.scripts.removal {
        // 0: the last one goes, there is no newer one.
        package.pre_uninstall_script(script(format!("[ \"$1\" = 0 ] || exit 0\n{BEGIN}{removal}")));
    }
    for file in &contents.files {
        let options = FileOptions::new(format!("/{}", file.path)).permissions(file.mode);
        let options = if file.config { options.config().noreplace() } else { options };
        package.with_file_contents(file.bytes.as_slice(), options).map_err(writer)?;
    }
    let mut bytes = Vec::new();
    package.build().and_then(|package| package.write(&mut bytes)).map_err(writer)?;
    Ok(bytes)
}

const SHELL: &str = "/bin/sh";

fn script(text: String) -> Scriptlet {
    Scriptlet::new(text).prog(vec![SHELL])
}
