//! The last good configuration: the copy of its files that `up` put in force, for when the files themselves are broken.

use std::path::{Path, PathBuf};

use super::{Config, Files};

/// Where the copy in force is found in a data folder: a link to its folder.
pub fn copy_in_force(data: &Path) -> PathBuf {
    data.join("config").join("current")
}

impl Config {
    /// The copy that was last in force of the file `main`, if there is one. `data` overrides the data folder of the file.
    pub fn last_good(main: &Path, data: Option<&Path>) -> Option<(Self, Files)> {
        let own = || said_data(main).unwrap_or_else(|| base(main).join("data"));
        let data = data.map_or_else(own, Path::to_owned);
        let (config, files) = Self::load(&copy_in_force(&data), Some(&data)).ok()?;
        config.file.as_deref().is_some_and(|file| same_file(file, main)).then_some((config, files))
    }
}

/// The folder of a file.
fn base(file: &Path) -> PathBuf {
    file.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// What a file says about `data`, though it be broken elsewhere: the way to its last good copy.
fn said_data(main: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(main).ok()?;
    let top = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    let value = top.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "data")?.1.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let said = value.get(1..)?.split(quote).next()?;
    Some(base(main).join(said))
}

fn same_file(a: &Path, b: &Path) -> bool {
    let whole =
        |p: &Path| std::fs::canonicalize(p).or_else(|_| std::path::absolute(p)).unwrap_or_else(|_| p.to_owned());
    whole(a) == whole(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_of_a_broken_file() {
        let check = |text: &str, want: Option<&str>| {
            let dir = tempfile::tempdir().unwrap();
            let main = dir.path().join("pipeline.toml");
            std::fs::write(&main, text).unwrap();
            assert_eq!(said_data(&main), want.map(|w| dir.path().join(w)), "{text}");
        };
        check("version = 1\ndata = \"here\" # why\n[stage.x\n", Some("here"));
        check("data='/var/lib/z'\nbroken", Some("/var/lib/z"));
        check("[topic.x]\ndata = \"no\"", None);
        check("data = 7", None);
        check("", None);
    }

    #[test]
    fn only_the_copy_of_this_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (main, other) = (dir.path().join("pipeline.toml"), dir.path().join("other.toml"));
        std::fs::write(&main, "version = 1\ndata = \"here\"\n[unit.berlin]\n").unwrap();
        assert!(Config::last_good(&main, None).is_none(), "there is no copy yet");
        let (_, files) = Config::load(&main, None).map_err(|found| super::super::render(&found)).unwrap();
        let folder = files.copy_to(&dir.path().join("here/config")).unwrap();
        std::os::unix::fs::symlink(folder, copy_in_force(&dir.path().join("here"))).unwrap();
        std::fs::write(&main, "version = 1\ndata = \"here\"\n[unit.berlin\n").unwrap();
        std::fs::write(&other, "version = 1\ndata = \"here\"\n[unit.berlin\n").unwrap();
        assert!(Config::last_good(&main, None).is_some_and(|(config, _)| config.units.contains_key("berlin")));
        assert!(Config::last_good(&main, Some(dir.path())).is_none(), "no copy there");
        assert!(Config::last_good(&other, None).is_none(), "it is another file's");
    }
}
