//! Numbers: integers exactly while they fit 64 bits, everything else as jq does, in doubles.

use super::Val;

/// A number to calculate with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Num {
    Int(i64),
    Float(f64),
}

impl Val {
    pub(crate) fn num(&self) -> Option<Num> {
        match self {
            Self::Int(i) => Some(Num::Int(*i)),
            Self::Float(f) => Some(Num::Float(*f)),
            Self::Dec(text) => Some(Num::Float(text.parse().unwrap_or(f64::NAN))),
            _ => None,
        }
    }

    /// A number literal: an integer if it is one and fits, else its text.
    pub(crate) fn literal(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(0) if text.starts_with('-') => Self::Dec(text.into()),
            Ok(i) => Self::Int(i),
            Err(_) => Self::Dec(text.into()),
        }
    }
}

impl Num {
    #[expect(clippy::cast_precision_loss, reason = "integers beyond 2^53 are rounded, as in jq")]
    pub(crate) fn f64(self) -> f64 {
        match self {
            Self::Int(i) => i as f64,
            Self::Float(f) => f,
        }
    }

    /// The number with the other sign; an integer that has none becomes a double, as does zero.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Int(i) if i != 0 => i.checked_neg().map_or(Self::Float(9_223_372_036_854_775_808.0), Self::Int),
            n => Self::Float(-n.f64()),
        }
    }

    /// The integer below, as `floor`; NaN and what does not fit saturate.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is meant")]
    pub(crate) fn floor(self) -> i64 {
        match self {
            Self::Int(i) => i,
            Self::Float(f) => f.floor() as i64,
        }
    }

    /// The integer above.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is meant")]
    pub(crate) fn ceil(self) -> i64 {
        match self {
            Self::Int(i) => i,
            Self::Float(f) => f.ceil() as i64,
        }
    }

    /// Both as integers with `exact`, or both as doubles with `rounded`.
    pub(crate) fn both(self, other: Self, exact: fn(i64, i64) -> Option<i64>, rounded: fn(f64, f64) -> f64) -> Val {
        if let (Self::Int(x), Self::Int(y)) = (self, other)
            && let Some(z) = exact(x, y)
        {
            return Val::Int(z);
        }
        Val::Float(rounded(self.f64(), other.f64()))
    }
}

/// Below this an integral double is written without an exponent.
const PLAIN: f64 = 1e17;

/// A double in the shortest text that reads back as the same; `None` if it is not finite.
pub(crate) fn format(f: f64) -> Option<String> {
    let size = f.abs();
    if !f.is_finite() {
        None
    } else if size == 0.0 {
        Some(if f.is_sign_negative() { "-0" } else { "0" }.into())
    } else if (1e-5..PLAIN).contains(&size) {
        Some(format!("{f}"))
    } else {
        Some(format!("{f:e}").replacen("e", if size >= 1.0 { "e+" } else { "e" }, 1))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts() {
        for (f, text) in [
            (1.0, Some("1")),
            (-0.0, Some("-0")),
            (0.1 + 0.2, Some("0.30000000000000004")),
            (1e17, Some("1e+17")),
            (1.5e300, Some("1.5e+300")),
            (2.5e-7, Some("2.5e-7")),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(super::format(f).as_deref(), text);
        }
    }
}
