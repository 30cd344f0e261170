//! What happened, in order, with a digest: two runs of one seed have the same.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

/// The lines that are kept to be shown.
const KEPT: usize = 100_000;

/// What happened. Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Lines>>);

#[derive(Default)]
struct Lines {
    digest: u64,
    count: u64,
    kept: VecDeque<String>,
}

impl Trace {
    /// Notes that `event` happened at `time`.
    pub fn note(&self, time: Duration, event: impl Display) {
        let line = format!("{:>10.3} {event}", time.as_secs_f64() * 1e3);
        let mut lines = self.0.borrow_mut();
        // FNV-1a: the digest tells runs apart, and nobody forges it.
        let byte =
            |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        lines.digest = line.as_bytes().iter().chain(b"\n").fold(lines.digest, byte);
        lines.count += 1;
        if lines.kept.len() == KEPT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }

    /// Notes an event from within a client or a machine.
    pub fn note_now(&self, event: impl Display) {
        self.note(turmoil::sim_elapsed().unwrap_or_default(), event);
    }

    /// The digest of all lines so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }

    /// How many lines there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.borrow().count
    }

    /// The last lines, at most 100,000.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().kept.iter().cloned().collect()
    }
}
