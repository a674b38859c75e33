//! From texts to one program's definitions: parsing, modules, imported data.
//!
//! All filters of a set and every module they use go into one program, so the functions that all of them share are
//! compiled once. A module's definitions get names there that no program can spell.

use std::collections::HashMap;

use jaq_core::load::Arena;
use jaq_core::load::lex::Token;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};

use crate::error::Problem;
use crate::source::{self, Errors, Import, clean, joined};
use crate::walk::{DATA, Known, Names, Walk};

/// Longest imported data, in bytes.
const DATA_MAX: usize = 16 << 20;
/// The longest chain of modules that import each other.
const CHAIN_MAX: usize = 16;

/// Where imports come from.
pub trait Modules: Sync {
    /// The text of `path` inside the folder of filters; `None` if there is none. The path is relative, has no `..`, and
    /// its extension is `.jq` or `.json`.
    fn read(&self, path: &str) -> Option<String>;
}

/// No imports.
pub struct NoModules;

impl Modules for NoModules {
    fn read(&self, _: &str) -> Option<String> {
        None
    }
}

impl<F: Fn(&str) -> Option<String> + Sync> Modules for F {
    fn read(&self, path: &str) -> Option<String> {
        self(path)
    }
}

/// Changes programs (not modules) on their way from words to linked terms, without changing what they say.
pub(crate) trait Edit: Sync {
    /// Before they are parsed.
    fn words(&self, words: &mut [Token<&str>]);
    /// Before names are resolved.
    fn term<'s>(&self, text: &'s str, words: &[Token<&'s str>], arena: &'s Arena, term: &mut Term<&'s str>);
}

struct File<'s> {
    name: String,
    text: &'s str,
    problems: Vec<Problem>,
    /// Files that this one imports.
    uses: Vec<usize>,
    /// Data that this one imports, as places.
    data: Vec<usize>,
}

struct Module<'s> {
    file: usize,
    exports: Vec<Known<'s>>,
}

pub(crate) struct Linker<'s, 'm> {
    arena: &'s Arena,
    modules: &'m dyn Modules,
    pub(crate) edit: Option<&'m dyn Edit>,
    files: Vec<File<'s>>,
    loaded: HashMap<String, Module<'s>>,
    open: Vec<String>,
    /// Definitions of modules, in an order in which each sees what it needs.
    pub(crate) defs: Vec<Def<&'s str>>,
    /// JSON texts of imported data.
    pub(crate) data: Vec<String>,
    data_places: HashMap<String, usize>,
}

impl<'s, 'm> Linker<'s, 'm> {
    pub(crate) fn new(arena: &'s Arena, modules: &'m dyn Modules) -> Self {
        Self {
            arena,
            modules,
            edit: None,
            files: Vec::new(),
            loaded: HashMap::new(),
            open: Vec::new(),
            defs: Vec::new(),
            data: Vec::new(),
            data_places: HashMap::new(),
        }
    }

    /// Takes in a program; its term if nothing is wrong with it so far, and its place among the files.
    pub(crate) fn program(&mut self, name: &str, text: &str) -> (usize, Option<Term<&'s str>>) {
        let file = self.file(name, text);
        let text = self.text(file);
        let term = self.noted(file, source::tokens(text)).and_then(|mut tokens| {
            if let Some(edit) = self.edit {
                edit.words(&mut tokens);
            }
            let (imports, rest) = self.noted(file, source::header(&tokens))?;
            let mut term = self.noted(file, source::parsed(text, rest, |p| p.term()))?;
            if let Some(edit) = self.edit {
                edit.term(text, &tokens, self.arena, &mut term);
            }
            let (names, data) = self.names(file, "", &imports)?;
            let mut walk = Walk::new(&names);
            walk.vars = data.iter().map(|(name, _)| *name).collect();
            walk.term(&mut term);
            let errors = walk.errors;
            self.errors(file, errors);
            Some(bind(term, &data))
        });
        (file, term)
    }

    /// What is wrong with a program and the modules it uses.
    pub(crate) fn problems(&self, file: usize) -> Vec<Problem> {
        self.with_uses(file).iter().flat_map(|f| f.problems.iter().cloned()).collect()
    }

    /// Whether something is wrong with a program or a module that it uses.
    pub(crate) fn is_broken(&self, file: usize) -> bool {
        self.with_uses(file).iter().any(|f| !f.problems.is_empty())
    }

    /// Texts of everything that a program imports, through its modules too: in the order in which they are named.
    pub(crate) fn imported(&self, file: usize) -> Vec<&str> {
        let files = self.with_uses(file);
        let modules = files.iter().skip(1).map(|f| f.text);
        let data = files.iter().flat_map(|f| &f.data).filter_map(|place| self.data.get(*place)).map(String::as_str);
        modules.chain(data).collect()
    }

    /// Path and text of imported data.
    pub(crate) fn imported_data(&self, place: usize) -> Option<(&str, &str)> {
        let path = self.data_places.iter().find(|(_, known)| **known == place).map(|(path, _)| path);
        Some((path?, self.data.get(place)?))
    }

    /// A file and all that it imports, each once.
    fn with_uses(&self, file: usize) -> Vec<&File<'s>> {
        let mut seen = vec![file];
        let mut files = Vec::new();
        let mut next = 0;
        while let Some(file) = seen.get(next).and_then(|i| self.files.get(*i)) {
            files.push(file);
            for used in &file.uses {
                if !seen.contains(used) {
                    seen.push(*used);
                }
            }
            next += 1;
        }
        files
    }

    /// Files a problem under the text that `part` is a slice of; `false` if it is of none.
    pub(crate) fn blame(&mut self, part: &str, message: String) -> bool {
        let at = part.as_ptr() as usize;
        let within = |f: &File<'_>| {
            let start = f.text.as_ptr() as usize;
            (start..=start + f.text.len()).contains(&at)
        };
        let file = self.files.iter().position(within);
        if let Some(i) = file {
            self.fail(i, part, message);
        }
        file.is_some()
    }

    fn file(&mut self, name: &str, text: &str) -> usize {
        // A newline more keeps texts apart: the end of one is never the start of the next.
        let text = self.arena.alloc(format!("{text}\n")).as_str();
        self.files.push(File { name: name.to_owned(), text, problems: Vec::new(), uses: Vec::new(), data: Vec::new() });
        self.files.len() - 1
    }

    fn fail(&mut self, file: usize, part: &str, message: impl Into<String>) {
        if let Some(file) = self.files.get_mut(file) {
            let problem = Problem::new(&file.name, file.text, part, message);
            // What the walk has refused the compiler cannot resolve either: once is enough.
            if !file.problems.iter().any(|p| (p.line, p.column) == (problem.line, problem.column)) {
                file.problems.push(problem);
            }
        }
    }

    fn errors(&mut self, file: usize, errors: Errors<'s>) {
        errors.into_iter().for_each(|(part, message)| self.fail(file, part, message));
    }

    /// The result, or `None` with its errors noted.
    fn noted<T>(&mut self, file: usize, result: Result<T, Errors<'s>>) -> Option<T> {
        result.map_err(|errors| self.errors(file, errors)).ok()
    }

    pub(crate) fn text(&self, file: usize) -> &'s str {
        self.files.get(file).map_or("", |f| f.text)
    }

    /// Loads what a file imports: the names it may call, and its data as (variable, place).
    fn names(
        &mut self,
        file: usize,
        folder: &str,
        imports: &[Import<'s>],
    ) -> Option<(Names<'s>, Vec<(&'s str, &'s str)>)> {
        let (mut names, mut data) = (Names::default(), Vec::new());
        let mut fine = true;
        for import in imports {
            let loaded = match import.name {
                Some(name) if name.starts_with('$') => {
                    self.load_data(file, folder, import).map(|place| data.push((name, place)))
                }
                name => self.load(file, folder, import).map(|known| match name {
                    Some(name) => names.prefixed.push((name, known)),
                    None => names.plain.extend(known),
                }),
            };
            if let Err(message) = loaded {
                fine = false;
                self.fail(file, import.path, message);
            }
        }
        fine.then_some((names, data))
    }

    /// The first candidate that exists: its path and text.
    fn find(&self, folder: &str, import: &Import<'s>, extension: &str) -> Result<(String, String), String> {
        let path = clean(import.path)?;
        let last = path.rsplit('/').next().unwrap_or_default();
        let mut folders = Vec::new();
        for search in &import.search {
            folders.push(joined(folder, &clean(search)?));
        }
        folders.push(folder.to_owned());
        folders.push(String::new());
        for folder in folders {
            let stem = joined(&folder, &path);
            for candidate in [format!("{stem}.{extension}"), format!("{stem}/{last}.{extension}")] {
                if let Some(text) = self.modules.read(&candidate) {
                    return Ok((candidate, text));
                }
            }
        }
        Err(format!("no file `{path}.{extension}` among the filters"))
    }

    fn load_data(&mut self, user: usize, folder: &str, import: &Import<'s>) -> Result<&'s str, String> {
        let (path, text) = self.find(folder, import, "json")?;
        if text.len() > DATA_MAX {
            return Err(format!("data is longer than {DATA_MAX} bytes"));
        }
        let place = match self.data_places.get(&path) {
            Some(place) => *place,
            None => {
                crate::data::check(&text).map_err(|e| format!("{path} is no JSON: {e}"))?;
                self.data.push(text);
                self.data_places.insert(path, self.data.len() - 1);
                self.data.len() - 1
            }
        };
        if let Some(user) = self.files.get_mut(user) {
            user.data.push(place);
        }
        Ok(self.arena.alloc(place.to_string()).as_str())
    }

    fn load(&mut self, user: usize, folder: &str, import: &Import<'s>) -> Result<Vec<Known<'s>>, String> {
        let (path, text) = self.find(folder, import, "jq")?;
        if let Some(module) = self.loaded.get(&path) {
            let (file, exports) = (module.file, module.exports.clone());
            self.used(user, file);
            return Ok(exports);
        }
        if self.open.contains(&path) {
            return Err("modules import each other in a circle".into());
        }
        if self.open.len() >= CHAIN_MAX {
            return Err(format!("more than {CHAIN_MAX} modules import one another"));
        }
        let file = self.file(&path, &text);
        self.used(user, file);
        self.open.push(path.clone());
        // A module with errors exports nothing; what else is wrong with its users would only be noise.
        let exports = self.module(file, &path).unwrap_or_default();
        self.open.pop();
        self.loaded.insert(path, Module { file, exports: exports.clone() });
        Ok(exports)
    }

    fn used(&mut self, user: usize, file: usize) {
        if let Some(user) = self.files.get_mut(user) {
            user.uses.push(file);
        }
    }

    fn module(&mut self, file: usize, path: &str) -> Option<Vec<Known<'s>>> {
        let text = self.text(file);
        let tokens = self.noted(file, source::tokens(text))?;
        let (imports, rest) = self.noted(file, source::header(&tokens))?;
        let defs = self.noted(file, source::parsed(text, rest, |p| p.defs()))?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (mut names, data) = self.names(file, folder, &imports)?;
        let mut exports = Vec::new();
        for mut def in defs {
            let full = self.arena.alloc(format!("{path}!{}", def.name)).as_str();
            let known = (def.name, def.args.len(), full);
            names.plain.push(known);
            exports.push(known);
            let mut walk = Walk::new(&names);
            walk.vars = data.iter().map(|(name, _)| *name).collect();
            walk.def(&mut def);
            let errors = walk.errors;
            self.errors(file, errors);
            // The walk left calls of itself alone, as those of a local definition.
            let own = Def { name: def.name, args: def.args.clone(), body: bind(def.body, &data) };
            self.defs.push(wrapped(full, own));
        }
        Some(exports)
    }
}

/// `def FULL(args): def name(args): body; name(args);`: recursion in the body finds the plain name.
fn wrapped<'s>(full: &'s str, own: Def<&'s str>) -> Def<&'s str> {
    let args = own.args.clone();
    let handed = args.iter().map(|a| if a.starts_with('$') { Term::Var(*a) } else { Term::Call(*a, Vec::new()) });
    let call = Term::Call(own.name, handed.collect());
    Def { name: full, args, body: Term::Def(vec![own], Box::new(call)) }
}

/// `!data(PLACE) as $name | … | body`.
fn bind<'s>(body: Term<&'s str>, data: &[(&'s str, &'s str)]) -> Term<&'s str> {
    data.iter().rev().fold(body, |body, (name, place)| {
        let value = Term::Call(DATA, vec![Term::Num(*place)]);
        Term::BinOp(Box::new(value), BinaryOp::Pipe(Some(Pattern::Var(*name))), Box::new(body))
    })
}
