//! The encoding of what is replicated or stored: a byte that names the format, then postcard.
//!
//! Whatever changes the meaning of stored bytes raises [`FORMAT`], so that no version ever misreads
//! what another one wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this version writes, and the only one that it reads.
pub(crate) const FORMAT: u8 = 2;

/// Bytes that are no record of this version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidRecord {
    /// There are none.
    #[error("an empty record")]
    Empty,
    /// Another version wrote them.
    #[error("a record of format {0}, where this version knows format {FORMAT}")]
    Format(u8),
    /// They are damaged.
    #[error("a damaged record: {0}")]
    Damaged(#[from] postcard::Error),
}

impl From<InvalidRecord> for std::io::Error {
    fn from(error: InvalidRecord) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Encodes `value` as a record.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("plain data can be encoded into memory")
}

/// Decodes a record.
pub(crate) fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, InvalidRecord> {
    match record.split_first() {
        None => Err(InvalidRecord::Empty),
        Some((&FORMAT, body)) => Ok(postcard::from_bytes(body)?),
        Some((&format, _)) => Err(InvalidRecord::Format(format)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_format_is_not_read() {
        let mut record = encode(&7_u64);
        assert_eq!(decode::<u64>(&record).unwrap(), 7);
        record[0] += 1;
        assert!(matches!(
            decode::<u64>(&record),
            Err(InvalidRecord::Format(3))
        ));
        assert!(matches!(decode::<u64>(&[]), Err(InvalidRecord::Empty)));
        assert!(matches!(
            decode::<u64>(&[FORMAT]),
            Err(InvalidRecord::Damaged(_))
        ));
    }
}
