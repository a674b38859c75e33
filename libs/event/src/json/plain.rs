//! The plain run of a string: what everybody who reads JSON passes over most of the time.

use wide::u8x16;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How many bytes stand before the first quote, backslash or control character; all of them if there is none.
#[inline]
pub fn plain(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let special = special_of_16(*chunk);
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special(u64::from_le_bytes(*chunk));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// A bit for each byte that ends a plain run.
#[inline]
fn special_of_16(bytes: [u8; 16]) -> u32 {
    let all = u8x16::new(bytes);
    let is = |byte| all.simd_eq(u8x16::splat(byte));
    let control = all.min(u8x16::splat(0x1f)).simd_eq(all);
    (is(b'"') | is(b'\\') | control).to_bitmask()
}

/// The high bit of each byte that ends a plain run, in eight bytes read from the low end on. Bits above the lowest one may
/// be wrong (borrows run upward), the lowest never is.
#[inline]
pub fn special(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ends_where_a_byte_is_special(text in proptest::collection::vec(prop_oneof![
            8 => 0x5d..0x80u8, 1 => 0x18..0x24u8, 1 => 0x5a..0x5eu8, 4 => 0x7e..0x82u8, 4 => 0xfe..=0xffu8
        ], 0..80)) {
            let want = text.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20).unwrap_or(text.len());
            prop_assert_eq!(super::plain(&text), want);
        }
    }
}
