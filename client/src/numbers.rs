//! A set of order numbers, small because the numbers of a run lie close together.

use std::collections::BTreeMap;

use bazaar_rpc::OrderNumber;

/// Numbers in one block of the map, a bit each.
const BLOCK: u64 = 1024;

/// A set of order numbers: some two bits a number where they are dense.
#[derive(Debug, Default)]
pub(crate) struct NumberSet {
    blocks: BTreeMap<u64, [u64; (BLOCK / 64) as usize]>,
}

impl NumberSet {
    /// Adds `number`; false when it is there already.
    pub(crate) fn insert(&mut self, number: OrderNumber) -> bool {
        let words = self.blocks.entry(number.0 / BLOCK).or_default();
        let word = &mut words[(number.0 % BLOCK / 64) as usize];
        let bit = 1 << (number.0 % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether `number` is in it.
    pub(crate) fn contains(&self, number: OrderNumber) -> bool {
        let bit = 1 << (number.0 % 64);
        self.blocks
            .get(&(number.0 / BLOCK))
            .is_some_and(|words| words[(number.0 % BLOCK / 64) as usize] & bit != 0)
    }

    /// The least and the greatest number.
    pub(crate) fn bounds(&self) -> Option<(OrderNumber, OrderNumber)> {
        let (first, words) = self.blocks.first_key_value()?;
        let word = words.iter().position(|word| *word != 0)?;
        let least = first * BLOCK + word as u64 * 64 + u64::from(words[word].trailing_zeros());
        let (last, words) = self.blocks.last_key_value()?;
        let word = words.iter().rposition(|word| *word != 0)?;
        let greatest =
            last * BLOCK + word as u64 * 64 + 63 - u64::from(words[word].leading_zeros());
        Some((OrderNumber(least), OrderNumber(greatest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in prop::collection::vec(
            prop_oneof![0_u64..3000, Just(u64::MAX), any::<u64>()], 0..200,
        )) {
            let mut model = BTreeSet::new();
            let mut set = NumberSet::default();
            for &number in &numbers {
                prop_assert_eq!(set.insert(OrderNumber(number)), model.insert(number));
            }
            for number in (0..3000).chain(numbers) {
                prop_assert_eq!(set.contains(OrderNumber(number)), model.contains(&number));
            }
            let bounds = model.first().zip(model.last());
            prop_assert_eq!(set.bounds(), bounds.map(|(a, b)| (OrderNumber(*a), OrderNumber(*b))));
        }
    }
}
