//! What came of the last edits, so that a request that is sent again is not made again.

use std::sync::Arc;

use bazaar_rpc::RequestId;
use bazaar_rpc::catalog::REMEMBERED_EDITS;
use bazaar_rpc::edit::{Edit, EditOutcome, EditRefusal};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// The last edits, at most [`REMEMBERED_EDITS`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub(super) struct LastEdits {
    /// How many edits there were.
    count: u64,
    /// The last ones, by how many there were before each.
    last: OrdMap<u64, Arc<Made>>,
    /// The same by request id.
    #[serde(skip)]
    requests: OrdMap<RequestId, u64>,
}

/// An edit that was asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    request: RequestId,
    /// The CRC-32 of what was asked for: enough to tell a client that it uses a key twice.
    asked: u32,
    outcome: EditOutcome,
}

impl LastEdits {
    /// What came of `request` before, if it is known; [`EditRefusal::KeyReused`] where it asked for
    /// something else than `edit`.
    pub(super) fn outcome(&self, request: &RequestId, edit: &Edit) -> Option<EditOutcome> {
        let made = self.last.get(self.requests.get(request)?)?;
        Some(if made.asked == sum(edit) {
            made.outcome.clone()
        } else {
            Err(EditRefusal::KeyReused)
        })
    }

    /// Remembers what came of `edit`, which `request` asked for, in place of the oldest where there
    /// are too many.
    pub(super) fn remember(&mut self, request: RequestId, edit: &Edit, outcome: EditOutcome) {
        let asked = sum(edit);
        let made = Made {
            request,
            asked,
            outcome,
        };
        self.last.insert(self.count, Arc::new(made));
        self.requests.insert(request, self.count);
        self.count += 1;
        if self.last.len() > REMEMBERED_EDITS
            && let (Some((_, oldest)), last) = self.last.without_min_with_key()
        {
            self.requests.remove(&oldest.request);
            self.last = last;
        }
    }
}

fn sum(edit: &Edit) -> u32 {
    let bytes = postcard::to_stdvec(edit).expect("an edit is plain data, and a vector grows");
    crc32fast::hash(&bytes)
}

/// The last edits as they are read back.
#[derive(Deserialize)]
struct Unchecked {
    count: u64,
    last: OrdMap<u64, Arc<Made>>,
}

/// What no edits lead to.
#[derive(Debug, thiserror::Error)]
#[error("the last edits are not the {REMEMBERED_EDITS} before edit {count}, each once")]
struct InvalidEdits {
    count: u64,
}

impl TryFrom<Unchecked> for LastEdits {
    type Error = InvalidEdits;

    fn try_from(unchecked: Unchecked) -> Result<Self, InvalidEdits> {
        let Unchecked { count, last } = unchecked;
        let requests: OrdMap<_, _> = last.iter().map(|(at, made)| (made.request, *at)).collect();
        let first = count.saturating_sub(REMEMBERED_EDITS as u64);
        if !last.keys().copied().eq(first..count) || requests.len() != last.len() {
            return Err(InvalidEdits { count });
        }
        Ok(Self {
            count,
            last,
            requests,
        })
    }
}
