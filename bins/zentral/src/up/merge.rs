//! Several Prometheus texts as one: each metric family once, its help and type before all its lines.

use std::collections::BTreeMap;

/// Families by name.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<String, Family>);

#[derive(Debug, Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    lines: Vec<String>,
}

/// What may stand behind a family's name in a line of a histogram or summary.
const PARTS: [&str; 4] = ["", "_bucket", "_sum", "_count"];

impl Families {
    /// Takes in one text. Lines of a family whose type differs from what another text said are left out: a reader would
    /// refuse the whole answer for them.
    pub fn add(&mut self, text: &str) {
        let mut family = String::new();
        let mut fits = true;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                (family, fits) = (name.to_owned(), true);
                self.of(name).help.get_or_insert_with(|| help.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
                family = name.to_owned();
                fits = self.of(name).kind.get_or_insert_with(|| kind.to_owned()) == kind;
            } else if !line.is_empty() && !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap_or(line);
                let part = name.strip_prefix(family.as_str()).unwrap_or("?");
                if family.is_empty() || !PARTS.contains(&part) {
                    (family, fits) = (name.to_owned(), true);
                }
                if fits {
                    let family = family.clone();
                    self.of(&family).lines.push(line.to_owned());
                }
            }
        }
    }

    /// Leaves a family out.
    pub fn drop(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The whole as text; families without lines are left out.
    pub fn text(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, family) in self.0.iter().filter(|(_, f)| !f.lines.is_empty()) {
            for (what, text) in [("HELP", &family.help), ("TYPE", &family.kind)] {
                if let Some(text) = text {
                    out.push_str(&format!("# {what} {name} {text}\n"));
                }
            }
            for line in &family.lines {
                out.push_str(line);
                out.push('\n');
            }
        }
        out.into_bytes()
    }

    /// The value of each line of a family with the value of one of its labels.
    pub fn by_label(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let lines = self.0.get(name).map(|f| f.lines.as_slice()).unwrap_or_default();
        lines.iter().filter_map(|line| Some((label_of(line, label)?, line.rsplit(' ').next()?.parse().ok()?))).collect()
    }

    /// The value of each line of a family with the values of two of its labels.
    pub fn by_labels(&self, name: &str, one: &str, two: &str) -> Vec<(String, String, f64)> {
        let lines = self.0.get(name).map(|f| f.lines.as_slice()).unwrap_or_default();
        let value = |line: &str| line.rsplit(' ').next()?.parse().ok();
        lines.iter().filter_map(|line| Some((label_of(line, one)?, label_of(line, two)?, value(line)?))).collect()
    }

    fn of(&mut self, name: &str) -> &mut Family {
        self.0.entry(name.to_owned()).or_default()
    }
}

/// The value of a label. Names of probes, stages and topics need no escapes, so a quote ends the value.
fn label_of(line: &str, label: &str) -> Option<String> {
    let (_, labels) = line.split_once('{')?;
    let (_, rest) =
        labels.split(',').map(|l| l.trim_start()).find_map(|l| l.split_once("=\"").filter(|p| p.0 == label))?;
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_family_comes_once_and_whole() {
        let one = "# HELP a_total As.\n# TYPE a_total counter\na_total{stage=\"x\"} 1\n\
                   # HELP d_seconds Ds.\n# TYPE d_seconds histogram\nd_seconds_bucket{stage=\"x\",le=\"+Inf\"} 2\n\
                   d_seconds_sum{stage=\"x\"} 0.5\nd_seconds_count{stage=\"x\"} 2\n";
        let two = "# HELP d_seconds Ds.\n# TYPE d_seconds histogram\nd_seconds_bucket{stage=\"y\",le=\"+Inf\"} 3\n\
                   d_seconds_sum{stage=\"y\"} 1\nd_seconds_count{stage=\"y\"} 3\n\
                   # HELP a_total Other words.\n# TYPE a_total counter\na_total{stage=\"y\"} 4\nbare 7\n";
        let odd = "# HELP a_total As.\n# TYPE a_total gauge\na_total{stage=\"z\"} 9\n# TYPE empty gauge\nnot a metric";
        let mut all = Families::default();
        [one, two, odd, "\u{0}{{{ ,=\"\n\n#\n# TYPE\n# HELP \n"].iter().for_each(|t| all.add(t));
        all.drop("not");
        let text = String::from_utf8(all.text()).unwrap();
        let want = "# HELP a_total As.\n# TYPE a_total counter\na_total{stage=\"x\"} 1\na_total{stage=\"y\"} 4\n\
                    bare 7\n# HELP d_seconds Ds.\n# TYPE d_seconds histogram\n\
                    d_seconds_bucket{stage=\"x\",le=\"+Inf\"} 2\nd_seconds_sum{stage=\"x\"} 0.5\n\
                    d_seconds_count{stage=\"x\"} 2\nd_seconds_bucket{stage=\"y\",le=\"+Inf\"} 3\n\
                    d_seconds_sum{stage=\"y\"} 1\nd_seconds_count{stage=\"y\"} 3\n";
        assert!(text.contains(want), "{text}");
        assert_eq!(text.matches("# TYPE d_seconds").count(), 1);
        assert_eq!(all.by_label("a_total", "stage"), [("x".to_owned(), 1.0), ("y".to_owned(), 4.0)]);
    }
}
