//! Times as answers write them.

use std::time::{Duration, UNIX_EPOCH};

use bazaar_rpc::Timestamp;

/// The last moment that has a form in RFC 3339, in milliseconds.
const END_OF_TIME: u64 = 253_402_300_799_999;

/// `time` as RFC 3339 has it, in UTC.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.0.min(END_OF_TIME));
    humantime::format_rfc3339_millis(time).to_string()
}

/// `time` in whole seconds, as headers count it; rounded up, so that no one comes too early.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_rfc_3339_has_them() {
        assert_eq!(rfc3339(Timestamp(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)).len(), 24);
    }

    #[test]
    fn only_no_time_at_all_is_zero_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
    }
}
