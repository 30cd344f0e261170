//! The order in which items are evicted.

use std::collections::VecDeque;

use bazaar_rpc::ItemKey;

/// The keys that have a lasting place in the cache, the next candidate for eviction first.
pub(super) struct Ring {
    keys: VecDeque<ItemKey>,
    capacity: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            keys: VecDeque::new(),
            capacity,
        }
    }

    /// Adds `key`, and takes out whom that leaves no place for.
    ///
    /// A candidate for which `spare` answers yes goes to the end of the queue instead, once around
    /// the ring at most: then the first candidate has had its second chance.
    pub(super) fn admit(
        &mut self,
        key: ItemKey,
        mut spare: impl FnMut(&ItemKey) -> bool,
    ) -> Option<ItemKey> {
        self.keys.push_back(key);
        if self.keys.len() <= self.capacity {
            return None;
        }
        for _ in 0..self.keys.len() {
            if !self.keys.front().is_some_and(&mut spare) {
                break;
            }
            self.keys.rotate_left(1);
        }
        self.keys.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bazaar_rpc::ItemNumber;

    use super::*;

    fn key(number: u64) -> ItemKey {
        ItemKey::Number(ItemNumber(number))
    }

    #[test]
    fn what_was_used_since_the_hand_passed_stays() {
        let mut ring = Ring::new(3);
        let mut used = BTreeSet::new();
        for number in 1..=3 {
            assert_eq!(ring.admit(key(number), |_| false), None);
        }
        used.insert(key(1));
        assert_eq!(ring.admit(key(4), |key| used.remove(key)), Some(key(2)));
        assert_eq!(ring.admit(key(5), |key| used.remove(key)), Some(key(3)));
        assert_eq!(ring.admit(key(6), |key| used.remove(key)), Some(key(4)));
        assert_eq!(ring.admit(key(7), |key| used.remove(key)), Some(key(1)));
    }

    #[test]
    fn one_is_evicted_when_all_are_in_use() {
        let mut ring = Ring::new(2);
        ring.admit(key(1), |_| true);
        ring.admit(key(2), |_| true);
        assert_eq!(ring.admit(key(3), |_| true), Some(key(1)));
        assert_eq!(ring.keys.len(), 2);
    }
}
