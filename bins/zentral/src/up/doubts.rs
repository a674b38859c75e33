//! What `zentral check` warns of, in the log: who appends a probe to the files of a running hub hears here that it is
//! most likely not meant so, once.

use std::collections::HashSet;
use std::path::PathBuf;

use pipe::config::{Config, Finding, Level};

use super::copies::Copies;

/// Warnings that are told of one configuration.
const TOLD_MAX: usize = 20;

/// Looks at each configuration that comes into force.
#[derive(Debug)]
pub struct Doubts {
    data: PathBuf,
    /// The copy that was looked at.
    judged: Option<String>,
    /// What is still so, and was told.
    told: HashSet<String>,
}

impl Doubts {
    /// Those about the configurations of this data folder.
    pub fn of(data: PathBuf) -> Self {
        Self { data, judged: None, told: HashSet::new() }
    }

    /// Tells what is new if another configuration is in force. The copy is read: it does not change meanwhile.
    pub fn look(&mut self) {
        let copies = Copies::of(&self.data);
        let Some(name) = copies.in_force().filter(|name| self.judged.as_ref() != Some(name)) else { return };
        self.judged = Some(name);
        if let Ok((config, _)) = Config::load(&copies.current(), Some(&self.data)) {
            self.news(&crate::check::doubts(&config)).iter().for_each(|text| tracing::warn!("{text}"));
        }
    }

    /// The warnings that were not told before, a line each without its picture, which `check` draws.
    fn news(&mut self, findings: &[Finding]) -> Vec<String> {
        let warnings = findings.iter().filter(|f| f.level == Level::Warning);
        // Lines move when others are added; that is no news.
        let known = |f: &Finding| format!("{} {} {}", f.file.display(), f.key, f.text);
        let was = std::mem::take(&mut self.told);
        let mut news = Vec::new();
        for finding in warnings {
            let known = known(finding);
            if !was.contains(&known) && !self.told.contains(&known) {
                news.push(line(finding));
            }
            self.told.insert(known);
        }
        let more = news.len().saturating_sub(TOLD_MAX);
        news.truncate(TOLD_MAX);
        if more > 0 {
            news.push(format!("{more} more such warnings; `zentral check` tells all"));
        }
        news
    }
}

fn line(f: &Finding) -> String {
    let place = if f.line > 0 { format!(":{}:{}", f.line, f.column) } else { String::new() };
    let key = if f.key.is_empty() { String::new() } else { format!("`{}`: ", f.key) };
    format!("{}{place}: {key}{}", f.file.display(), f.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_while_it_is_so() {
        let at = |line: usize, text: &str| Finding::drawn("a.toml", line, 2, "probe.x", text, String::new()).warning();
        let mut doubts = Doubts::of(PathBuf::new());
        let wrong = Finding::file("a.toml", "wrong");
        assert_eq!(doubts.news(&[at(1, "odd"), at(1, "odd"), wrong]), ["a.toml:1:2: `probe.x`: odd"]);
        assert!(doubts.news(&[at(7, "odd")]).is_empty(), "it only moved");
        assert_eq!(doubts.news(&[at(7, "odd"), at(8, "new")]), ["a.toml:8:2: `probe.x`: new"]);
        assert!(doubts.news(&[]).is_empty());
        assert_eq!(doubts.news(&[at(7, "odd")]).len(), 1, "it was mended, and is there again");
        let many: Vec<Finding> = (0..TOLD_MAX + 5).map(|i| at(i, &i.to_string())).collect();
        let told = doubts.news(&many);
        assert_eq!(told.len(), TOLD_MAX + 1);
        assert_eq!(told.last().map(String::as_str), Some("5 more such warnings; `zentral check` tells all"));
    }
}
