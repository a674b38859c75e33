//! What must hold before a probe's filter is asked: its scope, its query, and that it is no first run.

use jaq_core::ops::Cmp;
use std::sync::Arc;

use crate::analyse::{Each, Literal, Node, PathRef, Paths, Set};
use crate::scope::{KEYS, Scope};
use crate::spec::Spec;
use crate::value::Num;

/// The condition of a probe, as [`Scope::holds`] and the rule of first runs say it; `None` if it has none.
pub(crate) fn gate(spec: &Spec, paths: &mut Paths) -> Option<Node> {
    let query = spec.query_name.as_deref().map(|name| query(name, spec.first_run, paths));
    let conditions = query.into_iter().chain(scope(&spec.scope, paths));
    conditions.reduce(Node::and)
}

fn text(path: PathRef, text: &str) -> Node {
    Node::Compare(Box::new(Node::Path(path)), Cmp::Eq, Box::new(Node::Literal(Literal::Str(text.into()))))
}

/// What fails or is not there is false.
fn or_false(node: Node) -> Node {
    Node::Else(Box::new(Node::Try(Box::new(node), None)), Box::new(Node::FALSE))
}

fn query(name: &str, first_run: bool, paths: &mut Paths) -> Node {
    let result = text(paths.of(&["type"]), "osquery_result");
    let own = result.and(text(paths.of(&["payload", "name"]), name));
    if first_run {
        return own;
    }
    let counter = paths.of(&["payload", "counter"]);
    let zero = Node::Literal(Literal::Num(Num::Int(0)));
    let zero = text(counter, "0").or(Node::Compare(Box::new(Node::Path(counter)), Cmp::Eq, Box::new(zero)));
    let snapshot = or_false(Node::Has(Box::new(Node::Path(paths.of(&["payload"]))), (*b"snapshot").into()))
        .or(or_false(text(paths.of(&["payload", "action"]), "snapshot")));
    own.and(or_false(zero).and(snapshot.not()).not())
}

fn one_of(value: Node, list: &[String]) -> Option<Node> {
    let list: Vec<Literal> = list.iter().map(|word| Literal::Str(word.as_str().into())).collect();
    Some(or_false(Node::In(Box::new(value), Arc::new(Set::new(&list)?))))
}

fn scope(scope: &Scope, paths: &mut Paths) -> Vec<Node> {
    let (platform, unit) = (paths.of(&["machine", "platform"]), paths.of(&["machine", "unit"]));
    let (tags, groups) = (paths.of(&["machine", "tags"]), paths.of(&["machine", "groups"]));
    let has = |over: PathRef, list: &[String]| {
        let each = Each { level: 1, over, optional: true, arrays_only: true };
        let one = one_of(Node::Path(PathRef::of(1)), list)?;
        Some(Node::Any(Box::new(Node::Each(each, Box::new(one)))))
    };
    let keys = KEYS.map(|key| Node::Path(paths.of(&["machine", key])));
    let key = keys.into_iter().reduce(|first, next| Node::Else(Box::new(first), Box::new(next)));
    let named = |list: &[String]| one_of(key.clone()?, list);
    let lists: [(&[String], Option<Node>, bool); 10] = [
        (&scope.platforms, one_of(Node::Path(platform), &scope.platforms), true),
        (&scope.units, one_of(Node::Path(unit), &scope.units), true),
        (&scope.tags, has(tags, &scope.tags), true),
        (&scope.groups, has(groups, &scope.groups), true),
        (&scope.machines, named(&scope.machines), true),
        (&scope.not_platforms, one_of(Node::Path(platform), &scope.not_platforms), false),
        (&scope.not_units, one_of(Node::Path(unit), &scope.not_units), false),
        (&scope.not_tags, has(tags, &scope.not_tags), false),
        (&scope.not_groups, has(groups, &scope.not_groups), false),
        (&scope.not_machines, named(&scope.not_machines), false),
    ];
    let named = lists.into_iter().filter(|(list, ..)| !list.is_empty());
    named.filter_map(|(_, node, want)| node.map(|node| if want { node } else { node.not() })).collect()
}
