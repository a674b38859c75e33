//! `kind = "http"`: events are sent on, batch by batch, to a service that keeps them.

use super::Kind;
use crate::forward::{Forward, preset};

/// This kind.
pub const KIND: Kind = Kind {
    name: "http",
    open: |settings, reading| Some(Box::new(Forward::new(preset::read(settings)?, reading.keep))),
};
