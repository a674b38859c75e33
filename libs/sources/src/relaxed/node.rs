//! What a file says, as a tree that remembers lines; and a place in it.

use std::rc::Rc;

/// Levels of nesting that are read. Zentral, osquery and Fleet write at most ten.
pub const DEPTH_MAX: usize = 64;

/// A value and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// A number is kept as it is written. Keys are unique: readers keep the first (as osquery does) and name the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// Items in order.
    List(Vec<Node>),
    /// Members in order.
    Map(Vec<(String, Node)>),
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// A lower-case fragment.
    pub text: String,
}

/// The documents of a file, and the keys that stood twice: line and key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// What each says.
    pub roots: Vec<Node>,
    /// The keys that stood there before: line and key.
    pub twice: Vec<(usize, String)>,
}

/// A node and the way to it: `FILE:LINE: a.b[2]`.
#[derive(Debug, Clone)]
pub struct Spot<'a> {
    /// The file as people write its path.
    pub file: Rc<str>,
    /// The way to it: `a.b[2]`.
    pub path: String,
    /// What stands there.
    pub node: &'a Node,
}

impl<'a> Spot<'a> {
    /// The root of a document.
    pub fn root(file: &Rc<str>, node: &'a Node) -> Self {
        Self { file: Rc::clone(file), path: String::new(), node }
    }

    /// For a message.
    pub fn place(&self) -> String {
        match self.path.as_str() {
            "" => format!("{}:{}", self.file, self.node.line),
            path => format!("{}:{}: {path}", self.file, self.node.line),
        }
    }

    fn below(&self, step: &str, node: &'a Node) -> Self {
        let dot = if self.path.is_empty() || step.starts_with('[') { "" } else { "." };
        Self { file: Rc::clone(&self.file), path: format!("{}{dot}{step}", self.path), node }
    }

    /// The value of a key that is there and not null.
    pub fn get(&self, key: &str) -> Option<Self> {
        let Value::Map(members) = &self.node.value else { return None };
        let (_, node) = members.iter().find(|(k, v)| k == key && v.value != Value::Null)?;
        Some(self.below(key, node))
    }

    /// The items of a list; of anything else none.
    pub fn items(&self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else { return Vec::new() };
        items.iter().enumerate().map(|(i, node)| self.below(&format!("[{i}]"), node)).collect()
    }

    /// The members of a map; of anything else none.
    pub fn members(&self) -> Vec<(&'a str, Self)> {
        let Value::Map(members) = &self.node.value else { return Vec::new() };
        members.iter().map(|(key, node)| (key.as_str(), self.below(key, node))).collect()
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Nothing is said: null, an empty text, list or map.
    pub fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::Text(text) => text.trim().is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(members) => members.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, or a number as it is written.
    pub fn word(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value in any of the spellings that osquery takes.
    pub fn truth(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(truth) => Some(*truth),
            Value::Text(text) | Value::Number(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Some(true),
                "false" | "no" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number, also one within quotes.
    pub fn whole(&self) -> Option<u64> {
        self.word()?.trim().parse().ok()
    }

    /// A list of words; a single word is a list of one.
    pub fn words(&self) -> Option<Vec<&'a str>> {
        if let Some(word) = self.word() {
            return Some(vec![word]);
        }
        self.is_list().then(|| self.items().iter().map(Self::word).collect())?
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        json(self.node)
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(members) => members.iter().map(|(k, v)| (k.clone(), json(v))).collect(),
    }
}
