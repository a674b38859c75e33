//! Secrets, cut from everything that is said.

use reqwest::Url;
use serde_json::Value;

/// What is shorter, in bytes, is too common a word to be taken for a secret.
const SECRET_MIN: usize = 8;
/// Parts of a URL that are this long, in bytes, are secrets by themselves.
const PART_MIN: usize = 16;

/// The secrets, the longest first: of a part nothing is left over.
#[derive(Default)]
pub struct Hidden(Vec<String>);

impl Hidden {
    /// One more. Of `Bearer X` an answer may repeat X alone.
    pub fn add(&mut self, secret: &str) {
        let words = secret.split_ascii_whitespace().chain([secret.trim()]);
        self.0.extend(words.filter(|word| word.len() >= SECRET_MIN).map(str::to_owned));
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.dedup();
    }

    /// The URL of a webhook: path and query are what makes it secret; they or their parts might be echoed alone.
    pub fn add_url(&mut self, text: &str, url: &Url) {
        let query = url.query().unwrap_or("");
        for part in [text, url.as_str(), url.path(), query] {
            self.add(part);
        }
        for part in url.path().split('/').chain(query.split(['&', '='])).filter(|part| part.len() >= PART_MIN) {
            self.add(part);
        }
    }

    /// The text without them.
    pub fn cut(&self, mut text: String) -> String {
        for secret in &self.0 {
            text = text.replace(secret.as_str(), "***");
        }
        text
    }

    /// The words of a jq error: the values in it are cut, so that a secret may stand there in part.
    pub fn cut_parts(&self, text: String) -> String {
        let mut text = self.cut(text);
        for secret in &self.0 {
            for part in (SECRET_MIN..secret.len()).rev().filter_map(|end| secret.get(..end)) {
                text = text.replace(&format!("{part}…"), "***…");
            }
        }
        text
    }

    /// The value with no string that holds them.
    pub fn cut_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.cut(text)),
            Value::Array(all) => all.into_iter().map(|value| self.cut_value(value)).collect(),
            Value::Object(all) => {
                Value::Object(all.into_iter().map(|(key, value)| (self.cut(key), self.cut_value(value))).collect())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_their_parts() {
        let mut hidden = Hidden::default();
        hidden.add("Bearer tokentoken");
        hidden.add("short");
        assert_eq!(hidden.cut("Bearer tokentoken, tokentoken short".into()), "***, *** short");
        assert_eq!(hidden.cut_parts("tokentok… token…".into()), "***… token…");
        assert_eq!(hidden.cut_value(json!([{"tokentoken": ["x tokentoken", 1]}])), json!([{"***": ["x ***", 1]}]));
    }
}
