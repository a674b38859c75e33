//! Values as the server's types hold them: by what it says of a place or a column.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::Value;

type Wrong = Box<dyn Error + Sync + Send>;

/// No text of PostgreSQL's holds a NUL; SQLite's may, so it is written as the character for what is not known, and
/// looked for as that.
const NUL: char = '\0';

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(n), &Type::INT8) => n.to_sql(ty, out),
            // What the server takes for a small number because it is compared with one.
            (Self::Int(n), &Type::INT4) => i32::try_from(*n)?.to_sql(ty, out),
            (Self::Int(n), &Type::INT2) => i16::try_from(*n)?.to_sql(ty, out),
            (Self::Int(n), &Type::FLOAT8) => (*n as f64).to_sql(ty, out),
            (Self::Int(n), &Type::TEXT | &Type::VARCHAR) => n.to_string().to_sql(ty, out),
            (Self::Real(n), &Type::FLOAT8) => n.to_sql(ty, out),
            (Self::Text(s), &Type::TEXT | &Type::VARCHAR | &Type::NAME) => {
                if s.contains(NUL) {
                    s.replace(NUL, "\u{fffd}").to_sql(ty, out)
                } else {
                    s.as_str().to_sql(ty, out)
                }
            }
            (Self::Text(s), &Type::BYTEA) => s.as_bytes().to_sql(ty, out),
            (Self::Blob(b), &Type::BYTEA) => b.as_slice().to_sql(ty, out),
            (value, ty) => Err(format!("{} does not fit {ty}", value.kind()).into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Int(bool::from_sql(ty, raw)?.into()),
            Type::OID => Self::Int(u32::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(ty, raw)?),
            Type::TEXT | Type::VARCHAR | Type::NAME => Self::Text(<&str>::from_sql(ty, raw)?.to_owned()),
            Type::BYTEA => Self::Blob(raw.to_vec()),
            // A sum of BIGINTs; whole, since nothing else is summed.
            Type::NUMERIC => Self::Int(whole(raw).ok_or("no whole number that fits 64 bits")?),
            ref other => return Err(format!("a column of the type {other}").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Wrong> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A NUMERIC as it travels: how many digits of base 10,000, the weight of the first, the sign, the scale, the digits
/// (`numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`).
fn whole(raw: &[u8]) -> Option<i64> {
    let mut words = raw.chunks_exact(2).filter_map(|two| two.try_into().ok()).map(i16::from_be_bytes);
    let (count, weight, sign, _scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut n: i64 = 0;
    let digits: Vec<i16> = words.take(usize::try_from(count).ok()?).collect();
    for place in 0..=weight {
        let digit = digits.get(usize::try_from(place).ok()?).copied().unwrap_or(0);
        n = n.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    match sign {
        0 => Some(n),
        0x4000 => n.checked_neg(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn sums_are_whole_numbers() {
        let raw = |words: &[i16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
        assert_eq!(whole(&raw(&[0, 0, 0, 0])), Some(0));
        assert_eq!(whole(&raw(&[2, 1, 0, 0, 12, 345])), Some(120_345));
        assert_eq!(whole(&raw(&[1, 2, 0x4000, 0, 3])), Some(-300_000_000));
        assert_eq!(whole(&raw(&[1, 5, 0, 0, 9999])), None);
    }
}
