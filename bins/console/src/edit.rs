//! Writing the files of probes: only those that the configuration includes, below its folder, and only what was right
//! before it is written. Whoever saves says which text they saw; if it is another by now nothing is written.

pub mod take;

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipe::config::{Config, ProbeConf, render};
use probe::{CompileError, FilterSet};
use sha2::{Digest as _, Sha256};

use crate::specs::Gate;

/// Bytes of a filter that is written here; what is longer is for an editor of one's own.
pub const FILTER_MAX: usize = 16 << 10;
/// Bytes of an event that becomes an example.
pub const EXAMPLE_MAX: usize = 256 << 10;
/// Bytes of a file of examples beyond which none is added here.
const EXAMPLES_MAX: usize = 4 << 20;

/// The files as they are on disk now, which may be newer than what is in force.
pub struct Disk {
    config: Config,
}

/// A filter on disk.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// Its text.
    pub text: String,
    /// What an editor who saw this text says when saving.
    pub seen: String,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum Unsaved {
    /// The text is another by now.
    Changed(OnDisk),
    /// The filter is wrong.
    Wrong(Vec<CompileError>),
    /// It cannot be written here; what to tell a person.
    Not(String),
    /// The registry does not answer, which has to be told of every change.
    Registry(registry::db::DbError),
}

impl From<registry::db::DbError> for Unsaved {
    fn from(e: registry::db::DbError) -> Self {
        Self::Registry(e)
    }
}

/// A digest of a text.
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

impl Disk {
    /// Reads the files that the configuration in force was made of. The error is what to tell a person.
    pub fn read(in_force: &Config) -> Result<Self, String> {
        let main = in_force.file.as_ref().ok_or("There is no pipeline.toml here.")?;
        let (config, _) = Config::load(main, Some(&in_force.data)).map_err(|found| {
            format!("The configuration on disk is wrong, and nothing is written to it:\n{}", render(&found).trim_end())
        })?;
        Ok(Self { config })
    }

    fn conf(&self, name: &str) -> Result<&ProbeConf, String> {
        self.config.probes.get(name).ok_or_else(|| format!("There is no probe `{name}` on disk any more."))
    }

    /// The filter of a probe. The error is what to tell a person.
    pub fn filter(&self, name: &str) -> Result<OnDisk, String> {
        let text = self.conf(name)?.filter.source.clone();
        Ok(OnDisk { seen: digest(&text), text })
    }

    /// The file that is written when the filter of a probe is saved. The error is what to tell a person.
    pub fn file(&self, name: &str) -> Result<PathBuf, String> {
        let conf = self.conf(name)?;
        match &conf.filter.file {
            Some(file) => self.ours(file),
            None if self.is_main(conf.settings.file()) => {
                Err("The filter stands in pipeline.toml, which the console does not write: move the table into an included file.".into())
            }
            None => self.ours(conf.settings.file()),
        }
    }

    fn is_main(&self, file: &Path) -> bool {
        let whole = |path: &Path| std::fs::canonicalize(path).ok();
        self.config.file.as_deref().is_none_or(|main| whole(main) == whole(file))
    }

    /// The file itself if it lies below the folder of the configuration, outside the data folder, and is no link.
    fn ours(&self, file: &Path) -> Result<PathBuf, String> {
        let name = file.display();
        let cannot = |e: std::io::Error| format!("{name}: {e}");
        let (Some(folder), Some(own)) = (file.parent(), file.file_name()) else {
            return Err(format!("{name} is no file."));
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder = std::fs::canonicalize(folder).map_err(cannot)?;
        let base = std::fs::canonicalize(&self.config.base).map_err(cannot)?;
        let data = std::fs::canonicalize(&self.config.data).ok();
        if !folder.starts_with(&base) || data.is_some_and(|data| folder.starts_with(data)) {
            return Err(format!(
                "{name} does not lie in the folder of pipeline.toml, so the console does not write it."
            ));
        }
        let file = folder.join(own);
        match std::fs::symlink_metadata(&file) {
            Ok(found) if !found.is_file() => {
                Err(format!("{name} is a link or no file, so the console does not write it."))
            }
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot(e)),
            _ => Ok(file),
        }
    }

    /// What is to be written for the filter of a probe, which `seen` is the digest of, to be this text; only if every probe
    /// compiles with it.
    pub fn prepare(&self, name: &str, seen: &str, text: &str) -> Result<Ready, Unsaved> {
        let now = self.filter(name).map_err(Unsaved::Not)?;
        if now.seen != seen {
            return Err(Unsaved::Changed(now));
        }
        let file = self.file(name).map_err(Unsaved::Not)?;
        self.check(name, text).map_err(Unsaved::Wrong)?;
        let conf = self.conf(name).map_err(Unsaved::Not)?;
        let whole = if conf.filter.file.is_some() {
            text.to_owned()
        } else {
            // In a table a text with this end is the name of a file.
            let rewritten = conf.settings.rewritten("filter", text).filter(|_| !text.trim_end().ends_with(".jq"));
            rewritten.ok_or_else(|| Unsaved::Not("This text cannot stand in the table of the probe.".into()))?
        };
        Ok(Ready { file, whole })
    }

    /// What is wrong with the probes once this text is the filter of one of them: others may have the same file.
    fn check(&self, name: &str, text: &str) -> Result<(), Vec<CompileError>> {
        let file = self.config.probes.get(name).and_then(|conf| conf.filter.file.as_deref());
        let is_file = |path: &Path| file.is_some_and(|file| same(file, path));
        let is_changed = |conf: &ProbeConf| conf.name == name || conf.filter.file.as_deref().is_some_and(is_file);
        let specs = self
            .config
            .probes
            .values()
            .map(|conf| Gate::of(conf).spec(if is_changed(conf) { text } else { conf.filter.source.as_str() }));
        FilterSet::build(specs.collect(), &|path: &str| self.config.module(path)).map(drop)
    }

    /// What is to be written for one more example of a probe's filter: `add` makes the new text of the old one, or says why
    /// not. With the place where it stands then.
    pub fn prepare_example(
        &self,
        name: &str,
        add: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<(Ready, String), String> {
        let conf = self.conf(name)?;
        let beside = crate::examples::file(conf);
        let beside =
            beside.ok_or("Only a filter in a file NAME.jq has examples; this one stands in the configuration.")?;
        let file = self.ours(&beside)?;
        let before = crate::examples::read(&file)?.unwrap_or_default();
        if before.len() > EXAMPLES_MAX {
            return Err("The file of examples is too long to add one here.".into());
        }
        let whole = add(&before)?;
        let near = beside.strip_prefix(&self.config.base).unwrap_or(&beside).display().to_string();
        let place = format!("{near}:{}", whole.lines().count());
        Ok((Ready { file, whole }, place))
    }

    /// The configuration as it is on disk.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// A file and what is to stand in it.
#[derive(Debug)]
pub struct Ready {
    file: PathBuf,
    whole: String,
}

impl Ready {
    /// Writes it.
    pub fn write(&self) -> Result<(), Unsaved> {
        replace(&self.file, &self.whole).map_err(|e| Unsaved::Not(format!("{}: {e}", self.file.display())))
    }
}

/// Whether two paths are written alike, but for a `./` before them.
fn same(a: &Path, b: &Path) -> bool {
    let parts = |path: &Path| path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
    parts(a) == parts(b)
}

/// The old text or the new one is there, never a part of either.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut next = tempfile::Builder::new().prefix(".zentral-").tempfile_in(folder)?;
    next.write_all(text.as_bytes())?;
    let permissions = match std::fs::metadata(file) {
        Ok(old) => old.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    next.as_file().set_permissions(permissions)?;
    next.as_file().sync_all()?;
    next.persist(file).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;

    struct Folder {
        dir: tempfile::TempDir,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder = Self { dir };
            std::fs::create_dir_all(folder.path("hub/filters")).unwrap();
            std::fs::create_dir_all(folder.path("hub/data")).unwrap();
            folder.write(
                "hub/pipeline.toml",
                "version = 1\ninclude = [\"filters/*.toml\"]\n[probe.main]\nfilter = \"true\"\n",
            );
            folder.write(
                "hub/filters/a.toml",
                "# kept\n[probe.file]\nfilter = \"a.jq\"\n[probe.same]\nfilter = \"a.jq\" # kept, too\n[probe.inline]\nseverity = \"major\"\nfilter = \".a\"\n\
                 [probe.out]\nfilter = \"../../out.jq\"\n\
                 [probe.link]\nfilter = \"link.jq\"\n[probe.secret]\nfilter = \"../data/x.jq\"\n",
            );
            folder.write("hub/filters/a.jq", ".a");
            folder.write("out.jq", ".out");
            folder.write("hub/data/x.jq", ".x");
            std::os::unix::fs::symlink(folder.path("out.jq"), folder.path("hub/filters/link.jq")).unwrap();
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).unwrap()
        }

        fn disk(&self) -> Disk {
            let loaded = Config::load(&self.path("hub/pipeline.toml"), None);
            Disk::read(&loaded.map_err(|f| render(&f)).unwrap().0).map_err(|e| panic!("{e}")).unwrap()
        }

        fn save(&self, name: &str, text: &str) -> Result<(), Unsaved> {
            let disk = self.disk();
            disk.prepare(name, &disk.filter(name).unwrap().seen, text)?.write()
        }
    }

    #[test]
    fn files_and_tables_are_written() {
        let folder = Folder::new();
        folder.save("file", "# b\n\t.b").unwrap();
        assert_eq!(folder.read("hub/filters/a.jq"), "# b\n\t.b");
        let before = folder.read("hub/filters/a.toml");
        for text in
            ["# It's\n.a == \"x\\\\\" and\n'''", ".b", "'", "# a\n\t.c | test(\"\\\\d\")\n", "\u{7f}.a", ".a\n'"]
        {
            // A filter that is none is refused; what is written is read back as it is.
            match folder.save("inline", text) {
                Ok(()) => assert_eq!(folder.disk().filter("inline").unwrap().text, text),
                Err(Unsaved::Wrong(_)) => {}
                Err(other) => panic!("{text}: {other:?}"),
            }
        }
        folder.save("inline", ".a").unwrap();
        assert_eq!(folder.read("hub/filters/a.toml"), before.replace("\".a\"", "'.a'"), "all else stays as it is");
        let named = folder.save("inline", ".a.jq");
        assert!(matches!(named, Err(Unsaved::Not(_))), "in a table that is the name of a file: {named:?}");
        let left = std::fs::read_dir(folder.path("hub/filters")).unwrap().count();
        assert_eq!(left, 3, "nothing is left over");
    }

    #[test]
    fn what_is_broken_or_elsewhere_is_not_written() {
        let folder = Folder::new();
        let before = (folder.read("hub/filters/a.jq"), folder.read("hub/filters/a.toml"), folder.read("out.jq"));
        for (name, text, says) in [
            ("file", ".a ==", "a wrong filter"),
            ("same", "def f: 1;", "a filter has an output"),
            ("inline", "nothing_known", "a wrong filter"),
        ] {
            assert!(matches!(folder.save(name, text), Err(Unsaved::Wrong(_))), "{says}");
        }
        for (name, says) in [("main", "pipeline.toml"), ("out", "folder"), ("link", "link"), ("secret", "folder")] {
            match folder.save(name, ".a") {
                Err(Unsaved::Not(why)) => assert!(why.contains(says), "{why}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(
            matches!(folder.disk().prepare("file", "another", ".a"), Err(Unsaved::Changed(now)) if now.text == before.0)
        );
        assert_eq!((folder.read("hub/filters/a.jq"), folder.read("hub/filters/a.toml"), folder.read("out.jq")), before);
        folder.write("hub/filters/a.toml", "[probe.x]\n");
        let in_force = Config::load(&folder.path("hub/pipeline.toml"), None);
        assert!(in_force.is_err());
    }

    #[test]
    fn examples_are_added_where_there_is_a_file() {
        let folder = Folder::new();
        let disk = folder.disk();
        let (ready, place) = disk.prepare_example("file", |before| Ok(format!("{before}one\n"))).unwrap();
        ready.write().unwrap();
        assert_eq!((place.as_str(), folder.read("hub/filters/a.ndjson").as_str()), ("filters/a.ndjson:1", "one\n"));
        let (_, place) = disk.prepare_example("same", |before| Ok(format!("{before}two\n"))).unwrap();
        assert_eq!(place, "filters/a.ndjson:2");
        assert_eq!(disk.prepare_example("file", |_| Err("no".into())).unwrap_err(), "no");
        assert!(disk.prepare_example("inline", |_| Ok(String::new())).is_err());
        assert!(disk.prepare_example("out", |_| Ok(String::new())).is_err());
        assert!(!folder.path("out.ndjson").exists());
    }
}
