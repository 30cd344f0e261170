//! What a power cut does to a file that was being appended to, and how that is told from other
//! damage.
//!
//! A disk writes sectors whole or not at all, and in any order. Of what was not synced, some sectors
//! are there and some are not: those that are missing before others read as zeros. So behind what was
//! synced, a record is whole, or the file ends in it, or it has a blank sector. Damage of any other
//! kind has hit what was synced, or is none of a power cut's doing.

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A blank that is shorter says nothing: four zeros in a row are nothing special.
const MIN_BLANK: usize = 4;

/// Whether a sector is blank that the record in `from..to` of a file reaches into; `bytes` are the
/// whole file. What stands before the record does not count: it may have been synced before.
#[must_use]
pub fn has_blank_sector(bytes: &[u8], from: usize, to: usize) -> bool {
    let to = to.min(bytes.len());
    let mut at = from;
    while at < to {
        let end = ((at / SECTOR + 1) * SECTOR).min(bytes.len());
        let share = &bytes[at..end];
        if share.len() >= MIN_BLANK && share.iter().all(|&byte| byte == 0) {
            return true;
        }
        at = end;
    }
    false
}

/// How many of a file's bytes there are before the zeros at its end: a file that was preallocated is
/// longer than what was written to it.
#[must_use]
pub fn written(bytes: &[u8]) -> usize {
    // Compared a sector at a time: that is quick without optimisation, too.
    let blank = bytes.rchunks(SECTOR).take_while(|it| **it == [0; SECTOR]);
    let len = bytes.len() - SECTOR * blank.count();
    let last = bytes[..len].iter().rposition(|&byte| byte != 0);
    last.map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_not_written() {
        assert_eq!(written(&[]), 0);
        assert_eq!(written(&[0; 3 * SECTOR + 7]), 0);
        let mut bytes = vec![0; 3 * SECTOR + 7];
        for at in [0, 5, SECTOR, 2 * SECTOR + 6, 2 * SECTOR + 7, 3 * SECTOR + 6] {
            bytes[at] = 1;
            assert_eq!(written(&bytes), at + 1);
        }
    }

    #[test]
    fn a_blank_sector_is_found_in_the_record_alone() {
        let mut bytes = vec![1; 4 * SECTOR];
        assert!(!has_blank_sector(&bytes, 100, bytes.len()));
        bytes[700..1000].fill(0);
        assert!(!has_blank_sector(&bytes, 100, bytes.len()), "not all of it");
        bytes[SECTOR..2 * SECTOR].fill(0);
        assert!(has_blank_sector(&bytes, 100, bytes.len()));
        assert!(has_blank_sector(&bytes, 700, 701));
        assert!(!has_blank_sector(&bytes, 100, 300));
        assert!(
            !has_blank_sector(&bytes, 2 * SECTOR - 3, 3 * SECTOR),
            "short"
        );
        assert!(!has_blank_sector(&bytes, 2 * SECTOR, 9 * SECTOR));
    }

    #[test]
    fn the_rest_of_a_sector_may_be_blank() {
        let mut bytes = vec![1; 2 * SECTOR];
        bytes[300..SECTOR].fill(0);
        assert!(has_blank_sector(&bytes, 300, 600));
        assert!(!has_blank_sector(&bytes, 299, 600));
    }
}
