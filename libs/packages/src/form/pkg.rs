//! A flat installer of macOS: `Bom`, `PackageInfo`, `Payload` and `Scripts` in a XAR, signed if somebody is named who signs it;
//! `productsign` of macOS signs it as it is, too.

use super::archive::{Cpio, gzip};
use super::{bom, xar};
use crate::contents::Contents;
use crate::{Error, Identity, Order, fill_all};

const FOLDER: u16 = 0o040_000;
const FILE: u16 = 0o100_000;

/// Installer says as the third word which disk it installs to.
const BEGIN: &str = "#!/bin/sh\nset -eu\n\nroot=${3:-/}\nroot=${root%/}\n\n";

/// The package.
pub fn write(order: &Order, contents: &Contents, signer: Option<&Identity>) -> Result<Vec<u8>, Error> {
    let time = order.created;
    let mut payload = Cpio::new(time);
    payload.add(".", FOLDER | 0o755, None);
    let mut paths = vec![bom::Path { name: ".".into(), parent: None, mode: FOLDER | 0o755, file: None }];
    let mut places = vec![String::new()];
    let mut bytes = 0;
    for entry in contents.entries() {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let data = entry.file.map(|file| file.bytes.as_slice());
        let mode = entry.mode | if data.is_some() { FILE } else { FOLDER };
        payload.add(&format!("./{}", entry.path), mode, data);
        let parent = places.iter().position(|place| place == folder);
        let file = data.map(|data| (data.len() as u32, bom::sum(data)));
        paths.push(bom::Path { name: name.into(), parent, mode, file });
        places.push(entry.path.clone());
        bytes += data.map_or(0, <[u8]>::len);
    }
    let (mut scripts, mut named) = (Cpio::new(time), String::new());
    scripts.add(".", FOLDER | 0o755, None);
    let both = [("preinstall", contents.scripts.before.as_ref()), ("postinstall", Some(&contents.scripts.after))];
    for (name, text) in both.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        scripts.add(&format!("./{name}"), FILE | 0o755, Some((BEGIN.to_owned() + text).as_bytes()));
        named.push_str(&format!("        <{name} file=\"./{name}\"/>\n"));
    }
    let info = fill_all(
        include_str!("PackageInfo.xml"),
        order,
        &[
            ("@VERSION@", &format!("1.{time}")),
            ("@FILES@", &paths.len().to_string()),
            ("@KBYTES@", &bytes.div_ceil(1024).to_string()),
            ("@SCRIPTS@\n", &named),
        ],
    );
    let files: [(&str, &[u8]); 4] = [
        ("Bom", &bom::write(&paths, time)?),
        ("PackageInfo", info.as_bytes()),
        ("Payload", &gzip(&payload.finish())?),
        ("Scripts", &gzip(&scripts.finish())?),
    ];
    xar::write(&files, time, signer)
}
