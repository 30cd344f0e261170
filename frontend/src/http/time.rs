//! Times of day, for people to read.

use std::time::{Duration, UNIX_EPOCH};

use bazaar_rpc::Timestamp;

/// The last moment that has a form in RFC 3339, in milliseconds.
const END_OF_TIME: u64 = 253_402_300_799_999;

/// `time` as RFC 3339 has it, in UTC.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.0.min(END_OF_TIME));
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_rfc_3339_has_them() {
        assert_eq!(rfc3339(Timestamp(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)).len(), 24);
    }
}
