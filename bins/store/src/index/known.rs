//! Which ids are surely new to a day's index: a Bloom filter. An upsert has to look for the old document in every
//! part of the index, which costs more than adding the new one; almost every event is new, and this says so.

/// Bits for one day: at a million events one new id in 10,000 is looked for in vain, at ten millions one in four.
const BITS: u64 = 1 << 25;
/// Bits set for each id.
const HASHES: u64 = 4;

/// The ids added to one day's index.
pub struct Known(Vec<u64>);

impl Default for Known {
    fn default() -> Self {
        Self(vec![0; (BITS / 64) as usize])
    }
}

impl Known {
    /// Adds an id; whether it may have been there before.
    pub fn add(&mut self, (hi, lo): (u64, u64)) -> bool {
        // The halves of a UUIDv8 are mostly hash; of other ids one half is (FNV). Mixing makes both do.
        let a = (hi ^ lo.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let b = lo.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (hi >> 17) | 1;
        let mut all = true;
        for i in 0..HASHES {
            let bit = (a.wrapping_add(b.wrapping_mul(i)) >> 20) % BITS;
            if let Some(word) = self.0.get_mut((bit / 64) as usize) {
                all &= *word >> (bit % 64) & 1 == 1;
                *word |= 1 << (bit % 64);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::document::id_order;

    #[test]
    fn known_ids_are_never_forgotten_and_new_ones_rarely_mistaken() {
        let mut known = Known::default();
        let id =
            |i: u64| id_order(&event::id::event_id(1_700_000_000_000 + i as i64, "osquery", "m", &i.to_be_bytes(), 0));
        let mistaken = (0..100_000).filter(|&i| known.add(id(i))).count();
        assert!(mistaken < 20, "{mistaken}");
        assert!((0..100_000).all(|i| known.add(id(i))));
        assert!(!known.add(id_order("short")) && known.add(id_order("short")));
    }
}
