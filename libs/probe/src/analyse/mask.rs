//! What a filter may do at an event, as bits.

/// What the outputs of a filter may be, as bits. [`NONE`] says that there may be no output at all and no error.
pub(crate) type Mask = u8;
/// An output that decides (neither false nor null) and is no object.
pub(crate) const YES: Mask = 1;
/// An output that is false or null.
pub(crate) const NO: Mask = 2;
/// A runtime error, or the `break` of a label.
pub(crate) const ERROR: Mask = 4;
/// No output.
pub(crate) const NONE: Mask = 8;
/// An output that decides and may be an object, the match's context.
pub(crate) const CONTEXT: Mask = 16;
/// Anything.
pub(crate) const ANY: Mask = YES | NO | ERROR | NONE | CONTEXT;
/// Outputs that are neither false nor null.
pub(crate) const TRUE: Mask = YES | CONTEXT;

// How the masks of parts make the mask of a whole: of every output of the left part what the whole does with it.

pub(crate) fn and(l: Mask, r: impl FnOnce() -> Mask) -> Mask {
    let left = l & (NO | ERROR | NONE);
    if l & TRUE != 0 { left | boolean(r()) } else { left }
}

pub(crate) fn or(l: Mask, r: impl FnOnce() -> Mask) -> Mask {
    let left = boolean(l & (TRUE | ERROR | NONE));
    if l & NO != 0 { left | boolean(r()) } else { left }
}

pub(crate) fn not(m: Mask) -> Mask {
    let (yes, no) = (if m & NO != 0 { YES } else { 0 }, if m & TRUE != 0 { NO } else { 0 });
    yes | no | (m & (ERROR | NONE))
}

fn boolean(m: Mask) -> Mask {
    (m & (NO | ERROR | NONE)) | if m & TRUE != 0 { YES } else { 0 }
}

pub(crate) fn then(l: Mask, r: impl FnOnce() -> Mask) -> Mask {
    let left = l & (ERROR | NONE);
    if l & (TRUE | NO) != 0 { left | r() } else { left }
}

pub(crate) fn when(c: Mask, n: impl FnOnce() -> Mask) -> Mask {
    let out = (c & (ERROR | NONE)) | if c & NO != 0 { NONE } else { 0 };
    if c & TRUE != 0 { out | n() } else { out }
}

pub(crate) fn choose(c: Mask, t: impl FnOnce() -> Mask, e: impl FnOnce() -> Mask) -> Mask {
    let mut out = c & (ERROR | NONE);
    if c & TRUE != 0 {
        out |= t();
    }
    if c & NO != 0 {
        out |= e();
    }
    out
}

pub(crate) fn otherwise(l: Mask, r: impl FnOnce() -> Mask) -> Mask {
    let out = l & (TRUE | ERROR);
    if l & (NO | NONE) != 0 { out | r() } else { out }
}

pub(crate) fn attempt(m: Mask, catch: impl FnOnce() -> Mask) -> Mask {
    if m & ERROR != 0 { (m & !ERROR) | catch() } else { m }
}

pub(crate) fn label(m: Mask) -> Mask {
    m | NONE
}

pub(crate) fn both(l: Mask, r: Mask) -> Mask {
    ((l | r) & !NONE) | (l & r & NONE)
}
