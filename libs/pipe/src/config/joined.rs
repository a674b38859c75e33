//! `run = "normalize | filter"`: which stages may share a process, and why others may not.

use super::settings::nearest;
use super::{Settings, StageKind};

/// What may be joined, in the order in which lines pass. One of them has state, `normalize`; what `filter` remembers is
/// positions and quarantine, which any state file has room for.
const JOINED: [StageKind; 2] = [StageKind::Normalize, StageKind::Filter];

/// The words of `run`: `normalize | filter`.
pub(crate) fn words(kinds: &[StageKind]) -> String {
    kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(" | ")
}

/// The stages that `run` names, or what is wrong with them.
pub(super) fn read(table: &mut Settings, run: &str) -> Option<Vec<StageKind>> {
    let (mut kinds, mut right) = (Vec::new(), true);
    for word in run.split('|').map(str::trim) {
        match next(&kinds, word) {
            Ok(kind) => kinds.push(kind),
            Err(why) => {
                table.fail("run", why);
                right = false;
            }
        }
    }
    right.then_some(kinds)
}

/// The stage after these, if it may stand there.
fn next(before: &[StageKind], word: &str) -> Result<StageKind, String> {
    let all = StageKind::ALL.map(|(word, _)| word);
    if word.is_empty() {
        return Err("there is no stage on one side of a `|`".into());
    }
    let kind =
        StageKind::of(word).ok_or_else(|| format!("there is no stage `{word}`{}", nearest(word, all.into_iter())))?;
    let apart = |why: &str| Err(format!("`{word}` cannot be joined: {why} ({} can)", words(&JOINED)));
    match kind {
        StageKind::Receive => return apart("it listens to agents, and what faces them links nothing else"),
        StageKind::Pull => return apart("it waits for other servers"),
        StageKind::Act => return apart("its queue is state of its own, and it would hold up the stages before it"),
        StageKind::Store => return apart("its commits would hold up the stages before it"),
        StageKind::Console => return apart("it answers people, and no line passes it"),
        // No word stands for a foreign program.
        StageKind::Foreign | StageKind::Normalize | StageKind::Filter => {}
    }
    match before.iter().find(|earlier| earlier.flow() >= kind.flow()) {
        Some(same) if *same == kind => Err(format!("`{word}` stands here twice")),
        Some(later) => Err(format!("`{word}` comes before `{}`: it makes what that one reads", later.word())),
        None => Ok(kind),
    }
}
