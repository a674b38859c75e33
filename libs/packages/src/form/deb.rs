//! A package of Debian: an `ar` archive of two packed tar archives (deb(5)).

use super::archive::{gzip, writer};
use crate::contents::Contents;
use crate::{Error, Order};

/// dpkg may install below another folder without changing its root (`--force-script-chrootless`), and says so.
const BEGIN: &str = "#!/bin/sh\nset -eu\n\n";
const ROOT: &str = "root=${DPKG_ROOT:-}\n\n";

/// The package.
pub fn write(order: &Order, contents: &Contents) -> Result<Vec<u8>, Error> {
    let (agent, time) = (order.agent.name(), order.created);
    let mut data = Tar::new(time);
    data.add("./", 0o755, None)?;
    let mut bytes = 0;
    for entry in contents.entries() {
        let file = entry.file.map(|file| file.bytes.as_slice());
        let end = if file.is_some() { "" } else { "/" };
        data.add(&format!("./{}{end}", entry.path), entry.mode, file)?;
        bytes += file.map_or(0, <[u8]>::len);
    }
    let control = format!(
        "Package: zentral-{agent}\nVersion: 1.{time}\nArchitecture: all\nMaintainer: zentral packagers \
         <packagers@example.org>\nInstalled-Size: {}\nRecommends: {agent}\nSection: admin\nPriority: optional\n\
         Description: makes {agent} speak to a hub for endpoint events\n The hub is {}\n (enrolment {}, unit {}).\n",
        bytes.div_ceil(1024),
        order.address.url(),
        order.enrolment,
        order.unit
    );
    let mut about = Tar::new(time);
    about.add("./", 0o755, None)?;
    about.add("./control", 0o644, Some(control.as_bytes()))?;
    let config: String = contents.files.iter().filter(|f| f.config).map(|f| format!("/{}\n", f.path)).collect();
    about.add("./conffiles", 0o644, Some(config.as_bytes()))?;
    let after = format!("{BEGIN}[ \"$1\" = configure ] || exit 0\n{ROOT}{}", contents.scripts.after);
    about.add("./postinst", 0o755, Some(after.as_bytes()))?;
    if let Some(removal) = &contents.scripts.removal {
        let removal = format!("{BEGIN}[ \"$1\" = remove ] || exit 0\n{ROOT}{removal}");
        about.add("./prerm", 0o755, Some(removal.as_bytes()))?;
    }

    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&about.finish()?)?),
        ("data.tar.gz", gzip(&data.finish()?)?),
    ] {
        let mut head = ar::Header::new(name.into(), bytes.len() as u64);
        head.set_mode(0o100_644);
        head.set_mtime(time.into());
        archive.append(&head, bytes.as_slice()).map_err(writer)?;
    }
    archive.into_inner().map_err(writer)
}

/// A tar archive, root's.
struct Tar {
    tar: tar::Builder<Vec<u8>>,
    time: u32,
}

impl Tar {
    fn new(time: u32) -> Self {
        Self { tar: tar::Builder::new(Vec::new()), time }
    }

    /// A file, or a folder if there are no bytes.
    fn add(&mut self, path: &str, mode: u16, bytes: Option<&[u8]>) -> Result<(), Error> {
        let mut head = tar::Header::new_gnu();
        head.set_entry_type(if bytes.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        let bytes = bytes.unwrap_or_default();
        // As dpkg-deb writes names: `set_path` would take the `./` away.
        let name = head.as_old_mut().name.get_mut(..path.len()).ok_or_else(|| writer(format!("{path} is too long")))?;
        name.copy_from_slice(path.as_bytes());
        head.set_mode(mode.into());
        head.set_size(bytes.len() as u64);
        head.set_mtime(self.time.into());
        head.set_uid(0);
        head.set_gid(0);
        head.set_username("root").and_then(|()| head.set_groupname("root")).map_err(writer)?;
        head.set_cksum();
        self.tar.append(&head, bytes).map_err(writer)
    }

    fn finish(self) -> Result<Vec<u8>, Error> {
        self.tar.into_inner().map_err(writer)
    }
}
