//! Probes at random: a filter, and all that is around it.

use probe::{Scope, Source, Spec};

use super::chance::Chance;
use super::check;
use super::grow::Grower;
use super::known::{Known, shipped, tree};
use super::mutate::{combine, mutate};
use super::naive::Naive;
use super::tree::Tree;
use super::value::J;

/// A probe whose filters are still trees.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub tree: Tree,
    pub until: Option<Tree>,
    /// All but the filters' texts.
    pub rest: Spec,
}

impl Plan {
    /// A probe that is nothing but its filter.
    pub fn bare(tree: Tree) -> Self {
        let rest = Spec { severity: "major".into(), first_run: false, ..Spec::bare("p", "") };
        Self { tree, until: None, rest }
    }

    pub fn spec(&self) -> Spec {
        let name = self.rest.filter.name.clone();
        let until =
            self.until.as_ref().map(|t| Source { name: format!("{name}, until").into(), text: t.program().into() });
        let text = self.tree.program();
        Spec { rev: probe::rev(&text, ""), filter: Source { name, text: text.into() }, until, ..self.rest.clone() }
    }

    pub fn naive(&self) -> Option<Naive> {
        Naive::new(self.spec(), &check::modules())
    }
}

/// What all parts of a run draw from.
pub struct Stock {
    pub grower: Grower,
    pub shipped: Vec<Known>,
    pub examples: Vec<J>,
    /// Hand-made filters at the borders.
    pub edges: Vec<Tree>,
}

/// Filters of one line each; lines that begin with `#` and empty ones are left out.
pub const EDGES: &str = include_str!("grammar/edges.jq");

pub fn edges() -> impl Iterator<Item = &'static str> {
    EDGES.lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
}

impl Stock {
    pub fn new() -> Self {
        let shipped = shipped();
        let examples = shipped.iter().flat_map(|k| k.events.clone()).collect();
        Self { grower: Grower::new(), shipped, examples, edges: edges().filter_map(tree).collect() }
    }

    /// A filter: grown, or one that ships or was made by hand, changed.
    pub fn filter(&self, c: &mut Chance) -> Tree {
        let grower = &self.grower;
        match c.below(100) {
            0..64 => grower.filter(c),
            64..79 => mutate(&grower.filter(c), grower, c),
            // These take a hundred times as long as the others.
            79..80 => c.one(&self.shipped).tree.clone(),
            80..84 => mutate(&c.one(&self.shipped).tree, grower, c),
            84..89 => c.one(&self.edges).clone(),
            89..96 => mutate(c.one(&self.edges), grower, c),
            _ => {
                let (l, r) = (self.filter(c), self.filter(c));
                combine(l, r, c)
            }
        }
    }
}

const MACHINES: [&str; 4] = ["C02XL0AAJGH5", "ada-mbp", "5CG1234XYZ", "7"];
const QUERIES: [&str; 3] = ["zentral/usb/1f6c09aa", "zentral/login/00ff00ff", "zentral/na\"me/\u{e9}"];
const BYS: &[&str] = &[
    "machine_key",
    " machine_key ",
    ".machine.hostname",
    ".payload.columns.path",
    ".payload",
    "empty",
    "error",
    ".tags[]",
    "1, 2",
    "\"x\" * 3000",
    "null",
    ".type, error",
];

/// A probe that compiles.
pub fn plan(stock: &Stock, i: usize, c: &mut Chance) -> (Plan, Naive) {
    loop {
        let words = |list: &[&str], c: &mut Chance| -> Vec<String> {
            (0..c.between(1, 2)).map(|_| c.pick(list).to_owned()).collect()
        };
        let mut scope = Scope::default();
        if c.percent(25) {
            match c.below(10) {
                0 | 1 => scope.platforms = words(&["macos", "linux", "windows"], c),
                2 => scope.units = words(&["berlin", "default", "lab"], c),
                3 => scope.tags = words(&["vip", "office", "lab"], c),
                4 => scope.not_platforms = words(&["macos", "linux"], c),
                5 => scope.not_units = words(&["berlin", "default"], c),
                6 => scope.groups = words(&["dev", "ops", "lab"], c),
                7 => scope.not_groups = words(&["dev", "ops"], c),
                8 => scope.machines = words(&MACHINES, c),
                9 => scope.not_machines = words(&MACHINES, c),
                _ => (scope.platforms, scope.not_tags) = (words(&["macos", "linux"], c), words(&["vip", "office"], c)),
            }
        }
        let query_name = c.percent(20).then(|| c.pick(&QUERIES).to_owned());
        let mut plan = Plan::bare(stock.filter(c));
        let name = format!("p{i}");
        plan.rest.filter.name = format!("probe {name}").into();
        plan.rest.by = c.percent(10).then(|| c.pick(BYS).to_owned());
        plan.rest.first_run = query_name.is_some() && c.percent(30);
        plan.rest = Spec { name, scope, query_name, ..plan.rest };
        plan.until = c.percent(8).then(|| stock.filter(c));
        if let Some(naive) = plan.naive() {
            return (plan, naive);
        }
    }
}
