//! Append requests under way to one follower, and which of their answers openraft may be told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::raft::StreamAppendResult;

use crate::types::{AppendRequest, AppendResponse, LogId, Types};

/// What part of the log an append request covers: after `previous`, up to `last`.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    previous: Option<LogId>,
    /// The last entry that the follower has when it agrees.
    pub(crate) last: Option<LogId>,
}

impl Span {
    /// What `request` covers.
    pub(crate) fn of(request: &AppendRequest) -> Self {
        let previous = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(previous);
        Self { previous, last }
    }

    /// The answer of a follower to this part.
    pub(crate) fn result(&self, response: AppendResponse) -> StreamAppendResult<Types> {
        response.into_stream_result(self.previous, self.last)
    }
}

/// The requests of a stream that were sent and are not answered, in order.
///
/// openraft takes an answer for one to every request that ends where the answer does. A request
/// without entries, sent later, ends there too: so a leader that was deposed since, and is told late of
/// an append from before, would take itself for confirmed at the time of its last request. Such an
/// answer is kept from it: the one to the later request says as much.
#[derive(Clone, Default)]
pub(crate) struct Outstanding(Arc<Mutex<VecDeque<Span>>>);

impl Outstanding {
    /// One more request is sent.
    pub(crate) fn push(&self, span: Span) {
        self.spans().push_back(span);
    }

    /// The first request, `span`, is answered. Returns whether openraft may be told.
    pub(crate) fn answered(&self, span: &Span) -> bool {
        let mut spans = self.spans();
        spans.pop_front();
        spans.iter().all(|later| later.last != span.last)
    }

    fn spans(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::leader_id_std::CommittedLeaderId;

    use super::*;

    fn span(previous: u64, last: u64) -> Span {
        let id = |index| {
            Some(LogId {
                leader_id: CommittedLeaderId::new(1),
                index,
            })
        };
        Span {
            previous: id(previous),
            last: id(last),
        }
    }

    #[test]
    fn an_answer_is_kept_back_while_a_later_request_ends_where_it_does() {
        let outstanding = Outstanding::default();
        for span in [span(1, 4), span(4, 4), span(4, 6)] {
            outstanding.push(span);
        }
        assert!(!outstanding.answered(&span(1, 4)));
        assert!(outstanding.answered(&span(4, 4)));
        assert!(outstanding.answered(&span(4, 6)));
    }
}
