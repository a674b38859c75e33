//! Taking a probe that ships: its files are written beside the other probes, never over anything that is there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use pipe::config::{Config, is_name};
use probe::FilterSet;

use super::{Disk, Unsaved};
use crate::shelf::Item;
use crate::specs::Gate;

/// What is to be written.
#[derive(Debug)]
pub struct Taken {
    folder: PathBuf,
    files: Vec<(String, String)>,
    /// The files as people call them, from the folder of `pipeline.toml`; the table comes last.
    pub names: Vec<String>,
}

/// The first folder of which `include` takes every table, as `probes/*.toml` does. The error is what to tell a person.
pub fn folder(config: &Config) -> Result<PathBuf, String> {
    let all = |pattern: &PathBuf| pattern.file_name().is_some_and(|name| name == "*.toml" || name == "*");
    let pattern = config.includes().into_iter().find(all);
    let folder = pattern.as_deref().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| "`include` in pipeline.toml names no folder: add `include = [\"probes/*.toml\"]`.".to_owned())
}

impl Disk {
    /// What is to be written to take this probe, told by these actions; only if every probe compiles with it.
    pub fn prepare_taken(&self, item: &Item, act: &[&str]) -> Result<Taken, Unsaved> {
        let name = &item.conf.name;
        if let Some(there) = self.config.probes.get(name) {
            let file = there.settings.file().strip_prefix(&self.config.base).unwrap_or(there.settings.file());
            return Err(Unsaved::Not(format!("There is a probe `{name}` already, in {}.", file.display())));
        }
        if let Some(unknown) = act.iter().find(|name| !(is_name(name) && self.config.actions.contains_key(**name))) {
            return Err(Unsaved::Not(format!("The configuration on disk has no action `{unknown}`.")));
        }
        let folder = folder(&self.config).map_err(Unsaved::Not)?;
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for (name, text) in item.files.files() {
            let file = folder.join(&name);
            let near = file.strip_prefix(&self.config.base).unwrap_or(&file).display().to_string();
            self.ours(&file).map_err(Unsaved::Not)?;
            if std::fs::symlink_metadata(&file).is_ok() {
                return Err(Unsaved::Not(format!("{near} is there already, and stays as it is.")));
            }
            let text = if name.ends_with(".toml") { item.table(act) } else { text.to_owned() };
            files.push((name, text));
            names.push(near);
        }
        let others = self.config.probes.values().map(|conf| Gate::of(conf).spec(&conf.filter.source));
        let specs = others.chain([Gate::of(&item.conf).spec(item.files.filter)]).collect();
        FilterSet::build(specs, &|path: &str| self.config.module(path)).map_err(Unsaved::Wrong)?;
        Ok(Taken { folder, files, names })
    }
}

impl Taken {
    /// Writes all of it, or nothing: the table, which makes it a probe, comes last.
    pub fn write(&self) -> Result<(), Unsaved> {
        let mut made = Vec::new();
        let written = self.files.iter().try_for_each(|(name, text)| {
            let file = self.folder.join(name);
            add(&file, text).map_err(|e| Unsaved::Not(format!("{}: {e}", file.display())))?;
            made.push(file);
            Ok(())
        });
        if written.is_err() {
            made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        }
        written
    }
}

/// The whole file is there, or none; what is there already stays.
fn add(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut next = tempfile::Builder::new().prefix(".zentral-").tempfile_in(folder)?;
    next.write_all(text.as_bytes())?;
    next.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    next.as_file().sync_all()?;
    next.persist_noclobber(file).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::shelf;

    struct Hub {
        dir: tempfile::TempDir,
    }

    impl Hub {
        fn new(include: &str) -> Self {
            let hub = Self { dir: tempfile::tempdir().unwrap() };
            std::fs::create_dir_all(hub.dir.path().join("probes")).unwrap();
            std::fs::create_dir_all(hub.dir.path().join("data")).unwrap();
            hub.write(
                "pipeline.toml",
                &format!("version = 1\ninclude = {include}\n[action.log]\nkind = \"file\"\npath = \"x\"\n"),
            );
            hub
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.dir.path().join(name), text).unwrap();
        }

        fn files(&self) -> Vec<String> {
            let folder = std::fs::read_dir(self.dir.path().join("probes")).unwrap();
            let mut all: Vec<String> = folder.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            all.sort();
            all
        }

        fn config(&self) -> Config {
            Config::load(&self.dir.path().join("pipeline.toml"), None).unwrap().0
        }

        fn take(&self, name: &str, act: &[&str]) -> Result<Vec<String>, String> {
            let disk = Disk::read(&self.config()).unwrap();
            let all: Arc<_> = shelf::all().unwrap();
            let item = all.iter().find(|item| item.conf.name == name).unwrap();
            let ready = disk.prepare_taken(item, act).and_then(|ready| ready.write().map(|()| ready.names));
            ready.map_err(|why| match why {
                Unsaved::Not(why) => why,
                other => panic!("{other:?}"),
            })
        }
    }

    #[test]
    fn every_probe_that_ships_can_be_taken_once() {
        let hub = Hub::new("[\"units.toml\", \"probes/*.toml\"]");
        hub.write("units.toml", "[unit.default]\n");
        let all = shelf::all().unwrap();
        for item in all.iter() {
            let name = &item.conf.name;
            let names = hub.take(name, &["log"]).unwrap();
            assert_eq!(names.last(), Some(&format!("probes/{name}.toml")));
            assert!(hub.take(name, &[]).unwrap_err().contains("already, in probes/"), "{name}");
        }
        let config = hub.config();
        assert_eq!(config.probes.len(), all.len());
        assert!(config.probes.values().all(|conf| conf.act == ["log"]));
        assert_eq!(hub.files().len(), 3 * all.len(), "nothing is left over");
    }

    #[test]
    fn nothing_is_written_over_or_elsewhere() {
        let hub = Hub::new("[\"probes/*.toml\"]");
        hub.write("probes/usb-device.jq", "mine");
        assert!(hub.take("usb-device", &[]).unwrap_err().starts_with("probes/usb-device.jq is there already"));
        assert_eq!(hub.files(), ["usb-device.jq"]);
        assert!(hub.take("ssh-key-added", &["nobody"]).unwrap_err().contains("no action `nobody`"));
        // A name that is used in another file.
        hub.write("probes/own.toml", "[probe.ssh-key-added]\nfilter = \"true\"\n");
        assert!(hub.take("ssh-key-added", &[]).unwrap_err().contains("in probes/own.toml"));
        assert_eq!(hub.files(), ["own.toml", "usb-device.jq"]);
        // Somebody else was quicker: what stands there stays, and nothing lies half done.
        let disk = Disk::read(&hub.config()).unwrap();
        let all = shelf::all().unwrap();
        let item = all.iter().find(|item| item.conf.name == "cron-job-added").unwrap();
        let ready = disk.prepare_taken(item, &[]).unwrap();
        hub.write("probes/cron-job-added.toml", "# theirs\n");
        assert!(matches!(ready.write(), Err(Unsaved::Not(why)) if why.contains("cron-job-added.toml")));
        assert_eq!(hub.files(), ["cron-job-added.toml", "own.toml", "usb-device.jq"]);
        let elsewhere = tempfile::tempdir().unwrap();
        let outside = format!("[\"{}/*.toml\"]", elsewhere.path().display());
        for (include, says) in [
            ("[]", "names no folder"),
            ("[\"probes/own.toml\"]", "names no folder"),
            (outside.as_str(), "does not lie in the folder"),
            ("[\"data/*.toml\"]", "does not lie in the folder"),
            ("[\"nowhere/*.toml\"]", "nowhere"),
        ] {
            let hub = Hub::new(include);
            hub.write("probes/own.toml", "[unit.a]\n");
            let why = hub.take("usb-device", &[]).unwrap_err();
            assert!(why.contains(says), "{include}: {why}");
        }
    }
}
