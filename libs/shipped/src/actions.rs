//! The kinds of action, as `docs/actions.md` and its pages tell them: each with its least table, which `tests/pages.rs`
//! takes to `zentral check`. A test keeps the list in step with the folder.

/// What all kinds have in common.
const INDEX: &str = include_str!("../../../docs/actions.md");

macro_rules! pages {
    ($($kind:literal)*) => {
        const PAGES: &[(&str, &str)] = &[$(($kind, include_str!(concat!("../../../docs/actions/", $kind, ".md"))),)*];
    };
}

pages! {
    "email"
    "exec"
    "file"
    "freshdesk"
    "github"
    "google-chat"
    "http"
    "jamf"
    "jira"
    "jira-data-center"
    "munki"
    "ntfy"
    "osquery"
    "pagerduty"
    "pagerduty-change"
    "pushover"
    "santa"
    "servicenow"
    "servicenow-change"
    "slack"
    "slack-bot"
    "tag"
    "teams"
    "trello"
    "twilio"
    "zendesk"
}

/// Kinds that serve the same end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `people`, `tickets`, …
    pub name: &'static str,
    /// Each with what it does, in Markdown.
    pub kinds: Vec<(&'static str, &'static str)>,
}

/// All kinds, as the index groups them.
pub fn groups() -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    for row in INDEX.lines().filter_map(cells) {
        let [what, told] = row;
        if let Some(name) = what.strip_prefix("**").and_then(|rest| rest.strip_suffix("**")) {
            all.push(Group { name, kinds: Vec::new() });
        } else if let Some(group) = all.last_mut().filter(|_| what.contains("](actions/")) {
            let kinds = what.split('[').skip(1).filter_map(|rest| Some(rest.split_once("](actions/")?.0));
            group.kinds.extend(kinds.map(|kind| (kind, told)));
        }
    }
    all
}

/// The page of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    text: &'static str,
}

/// The page of this kind, if there is such a kind.
pub fn page(kind: &str) -> Option<Page> {
    PAGES.iter().find(|(name, _)| *name == kind).map(|(_, text)| Page { text })
}

impl Page {
    /// Its heading.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// The least table, with the contacts that it needs: the first block of TOML.
    pub fn table(&self) -> &'static str {
        let block = self.text.split_once("\n```toml\n").and_then(|(_, rest)| rest.split_once("```"));
        block.map_or("", |(table, _)| table)
    }

    /// What stands above the list of its keys, in paragraphs of Markdown: what it is for, where its secret comes from.
    pub fn prose(&self) -> Vec<&'static str> {
        let head = self.text.split("\n## ").next().unwrap_or_default();
        // Every other piece is a block of code.
        let around = head.split("```").step_by(2).flat_map(|text| text.split("\n\n")).map(str::trim);
        let told = around.filter(|piece| !piece.is_empty() && !piece.starts_with('#'));
        told.take_while(|piece| !piece.starts_with('|')).collect()
    }

    /// Its own keys and what each is, in Markdown: the first table of the page.
    pub fn keys(&self) -> Vec<(&'static str, &'static str)> {
        let rows = self.text.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
        rows.map_while(cells).map(|[key, what]| (key, what)).collect()
    }
}

/// The two cells of a row of a table; none: it is no such row.
fn cells(line: &'static str) -> Option<[&'static str; 2]> {
    let row = line.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
    let (first, second) = row.split_once(" |")?;
    Some([first.trim(), second.trim()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_folder_is_here_and_in_one_group() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/actions");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()
        };
        let mut there: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
        let mut grouped: Vec<&str> = groups().iter().flat_map(|group| &group.kinds).map(|(kind, _)| *kind).collect();
        there.sort();
        grouped.sort_unstable();
        assert_eq!(PAGES.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), there);
        assert_eq!(grouped, there, "each stands in one group of docs/actions.md");
    }

    #[test]
    fn each_page_tells_what_a_person_needs() {
        for (kind, _) in PAGES {
            let page = page(kind).unwrap();
            assert!(!page.title().is_empty() && !page.prose().is_empty() && !page.keys().is_empty(), "{kind}");
            assert!(page.table().contains(&format!("\"{kind}\"\n")), "{kind}: {}", page.table());
            assert!(page.prose().iter().all(|piece| !piece.contains("```") && !piece.starts_with('|')), "{kind}");
        }
        let slack = page("slack").unwrap();
        assert_eq!(slack.table(), "[action.slack-secops]\nkind = \"slack\"\nurl  = { env = \"SLACK_SECOPS_URL\" }\n");
        assert!(slack.keys().first().unwrap().1.contains("a secret"), "{:?}", slack.keys());
        assert!(page("nobody").is_none());
    }
}
