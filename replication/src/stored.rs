//! The encoding of what the log stores: postcard, behind a length that is checked by itself.
//!
//! raft-log puts a checksum at the end of each record and takes a record that reaches beyond the
//! end of the file for one that was being written when the machine stopped: it cuts the log there.
//! A length is therefore never believed unchecked, or one flipped bit in it would look like a torn
//! tail, and everything after it would be cut off.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest encoded value, in bytes.
const MAX_VALUE: usize = 64 << 20;

/// A value as the log stores it: its length (4 bytes), a checksum of the length (4 bytes), and the
/// value in postcard. Both numbers are little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored<T>(pub(crate) T);

impl<T: Serialize> codeq::Encode for Stored<T> {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        let value = postcard::to_stdvec(&self.0).map_err(io::Error::other)?;
        let length = u32::try_from(value.len())
            .ok()
            .filter(|_| value.len() <= MAX_VALUE)
            .ok_or_else(|| io::Error::other("a value is too large for the log"))?
            .to_le_bytes();
        writer.write_all(&length)?;
        writer.write_all(&crc32fast::hash(&length).to_le_bytes())?;
        writer.write_all(&value)?;
        Ok(8 + value.len())
    }
}

impl<T: DeserializeOwned> codeq::Decode for Stored<T> {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let (mut length, mut check) = ([0; 4], [0; 4]);
        reader.read_exact(&mut length)?;
        reader.read_exact(&mut check)?;
        if u32::from_le_bytes(check) != crc32fast::hash(&length) {
            return Err(damaged("a length does not match its checksum"));
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_VALUE {
            return Err(damaged("a length is out of bounds"));
        }
        let mut value = vec![0; length];
        reader.read_exact(&mut value)?;
        postcard::from_bytes(&value)
            .map(Self)
            .map_err(|_| damaged("a value cannot be decoded"))
    }
}

#[cfg(test)]
mod tests {
    use codeq::{Decode, Encode};
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = Stored(value.to_vec()).encode(&mut bytes).unwrap();
        assert_eq!(written, bytes.len());
        bytes
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back(value: Vec<u8>) {
            let read = Stored::<Vec<u8>>::decode(&encoded(&value)[..]).unwrap();
            prop_assert_eq!(read.0, value);
        }

        #[test]
        fn a_cut_value_ends_unexpectedly(value: Vec<u8>, cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&value);
            let error = Stored::<Vec<u8>>::decode(&bytes[..cut.index(bytes.len())]).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }

        #[test]
        fn a_damaged_length_never_looks_like_a_cut(value: Vec<u8>, bit in 0_usize..64) {
            let mut bytes = encoded(&value);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = Stored::<Vec<u8>>::decode(&bytes[..]).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
