//! Paths of Unix and of Windows, as text: nothing is looked up.

use jaq_core::box_iter::box_once;
use jaq_core::native::{bome, v};

use super::{Run, any_of, f, fail, string};
use crate::budget;
use crate::value::{Error, Str, Val, ValR};

pub(super) fn natives() -> Vec<Run> {
    vec![
        ("basename", v(0), |cv| bome(part(&cv.1, |text| split(text).1))),
        ("dirname", v(0), |cv| bome(part(&cv.1, |text| split(text).0))),
        ("under", f(), |cv| box_once(any_of(cv, |path, dir| Ok(under(text(path)?, text(dir)?))))),
        ("has_extension", f(), |cv| box_once(any_of(cv, |path, end| Ok(has_extension(text(path)?, text(end)?))))),
        ("in_home", v(0), |cv| bome(text(&cv.1).map(|path| Val::Bool(in_home(path))))),
        ("in_downloads", v(0), |cv| bome(text(&cv.1).map(|path| Val::Bool(in_downloads(path))))),
        ("in_temp", v(0), |cv| bome(text(&cv.1).map(|path| Val::Bool(in_temp(path))))),
        ("is_hidden", v(0), |cv| bome(text(&cv.1).map(|path| Val::Bool(is_hidden(path))))),
    ]
}

/// Longest path, in bytes: twice what Windows allows, and 16 times as much as Linux. Longer ones are no paths, and judging
/// them would only use up a filter's time.
const PATH_MAX: usize = 64 << 10;

fn text(value: &Val) -> Result<&str, Error> {
    let text = string(value)?.as_str();
    if text.len() > PATH_MAX {
        return fail(format_args!("a path is no longer than {PATH_MAX} bytes"));
    }
    budget::work_bytes(text.len());
    Ok(text)
}

fn part(value: &Val, cut: impl Fn(&str) -> &str) -> ValR {
    let path = string(value)?;
    let cut = cut(text(value)?);
    // `.` for "no folder" is no part of the path.
    Ok(Val::Str(if cut == "." { Str::from(cut) } else { path.slice_at(cut.as_bytes()) }))
}

/// Has a drive, or backslashes and no slash. A name with a backslash on Unix is taken for Windows' too.
fn is_windows(path: &str) -> bool {
    drive(path).is_some() || (path.contains('\\') && !path.contains('/'))
}

/// `C:` before a separator, or alone.
fn drive(path: &str) -> Option<&str> {
    match path.as_bytes() {
        [letter, b':'] | [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => path.get(..2),
        _ => None,
    }
}

/// Folder and name, as dirname(1) and basename(1) have them.
fn split(path: &str) -> (&str, &str) {
    let windows = is_windows(path);
    let between = |c: char| c == '/' || (windows && c == '\\');
    let root = drive(path).map_or(1, |_| 3);
    let trimmed = path.trim_end_matches(between);
    if trimmed.is_empty() || Some(trimmed) == drive(path) {
        let root = path.get(..root).unwrap_or(path);
        return (if root.is_empty() { "." } else { root }, root);
    }
    let Some((folder, name)) = trimmed.rfind(between).and_then(|at| Some((path.get(..at)?, trimmed.get(at + 1..)?)))
    else {
        return (".", trimmed);
    };
    let folder = folder.trim_end_matches(between);
    let folder = if folder.is_empty() || Some(folder) == drive(path) { path.get(..root) } else { Some(folder) };
    (folder.unwrap_or("."), name)
}

/// Where a path leads, by its text: without `.`, `..` and doubled separators.
struct Clean<'a> {
    windows: bool,
    /// The drive, `/` for any other root, or nothing.
    root: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Clean<'a> {
    fn new(path: &'a str) -> Self {
        let windows = is_windows(path);
        // `\\?\C:\x` and `\\.\C:\x` are `C:\x`.
        let path = path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\\.\")).unwrap_or(path);
        let between = |c: char| c == '/' || (windows && c == '\\');
        let (root, rest) = match drive(path) {
            Some(drive) => (drive, path.get(2..).unwrap_or_default()),
            None if path.starts_with(between) => ("/", path),
            None => ("", path),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in rest.split(between) {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                ".." if !root.is_empty() => {}
                part => parts.push(part),
            }
        }
        Self { windows, root, parts }
    }

    fn same(&self, l: &str, r: &str) -> bool {
        l == r || (self.windows && l.chars().flat_map(char::to_lowercase).eq(r.chars().flat_map(char::to_lowercase)))
    }

    /// In the name of a folder `*` stands for any characters, as at the shell.
    fn fits(&self, name: &str, folder: &str) -> bool {
        if !folder.contains('*') {
            return self.same(name, folder);
        }
        let lower = |text: &str| if self.windows { text.to_lowercase() } else { text.to_owned() };
        let (name, folder) = (lower(name), lower(folder));
        let mut parts = folder.split('*');
        let (first, last) = (parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default());
        let Some(rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
        let found = parts.try_fold(rest, |rest, part| rest.get(rest.find(part)? + part.len()..));
        found.is_some()
    }

    fn is_below(&self, dir: &Clean<'_>) -> bool {
        self.windows == dir.windows
            && self.same(self.root, dir.root)
            && self.parts.len() > dir.parts.len()
            && self.parts.iter().zip(&dir.parts).all(|(name, dir)| self.fits(name, dir))
    }

    /// The first names of a path from a root, of Windows' in lower case.
    fn top(&self) -> Vec<String> {
        let top = self.parts.iter().take(if self.root.is_empty() { 0 } else { TOP });
        top.map(|part| if self.windows { part.to_lowercase() } else { (*part).to_owned() }).collect()
    }
}

/// As many names as the well-known folders below have, and one more.
const TOP: usize = 6;

fn under(path: &str, dir: &str) -> bool {
    Clean::new(path).is_below(&Clean::new(dir))
}

fn has_extension(path: &str, extension: &str) -> bool {
    let name = split(path).1.to_lowercase();
    let extension = extension.trim_start_matches('.').to_lowercase();
    // `.bashrc` is a name without an extension.
    name.strip_suffix(&extension).and_then(|front| front.strip_suffix('.')).is_some_and(|front| !front.is_empty())
        && !extension.is_empty()
}

/// Below the home of somebody who logs in, or of root.
fn in_home(path: &str) -> bool {
    let path = Clean::new(path);
    let top = path.top();
    below_home(&path, &top).is_some_and(|rest| !rest.is_empty())
}

/// Below the folder of such a home where browsers put what they load.
fn in_downloads(path: &str) -> bool {
    let path = Clean::new(path);
    let top = path.top();
    let downloads = if path.windows { "downloads" } else { "Downloads" };
    matches!(below_home(&path, &top), Some([folder, _, ..]) if folder == downloads)
}

/// The names that follow the home in which a path lies.
fn below_home<'t>(path: &Clean<'_>, top: &'t [String]) -> Option<&'t [String]> {
    let names: Vec<&str> = top.iter().map(String::as_str).collect();
    let home = match names.as_slice() {
        ["users", name, ..] if path.windows => {
            if matches!(*name, "public" | "default" | "default user" | "all users") {
                return None;
            }
            2
        }
        _ if path.windows => return None,
        ["Users", "Shared", ..] => return None,
        ["Users" | "home", _, ..] => 2,
        ["var", "home", _, ..] | ["private", "var", "root", ..] => 3,
        ["root", ..] => 1,
        ["var", "root", ..] => 2,
        _ => return None,
    };
    top.get(home..)
}

/// In a folder for passing files, or one that everybody may write to.
fn in_temp(path: &str) -> bool {
    let path = Clean::new(path);
    let top = path.top();
    let top: Vec<&str> = top.iter().map(String::as_str).collect();
    match top.as_slice() {
        ["temp" | "tmp", _, ..] | ["windows", "temp", _, ..] | ["users", "public", _, ..] if path.windows => true,
        ["users", _, "appdata", "local", "temp", _, ..] => path.windows,
        _ if path.windows => false,
        ["private", rest @ ..] | rest => matches!(
            rest,
            ["tmp", _, ..]
                | ["var", "tmp" | "folders", _, ..]
                | ["dev" | "run", "shm", _, ..]
                | ["Users", "Shared", _, ..]
        ),
    }
}

/// The file or a folder on the way to it has a name that starts with a dot.
fn is_hidden(path: &str) -> bool {
    Clean::new(path).parts.iter().any(|part| part.starts_with('.') && *part != "..")
}
