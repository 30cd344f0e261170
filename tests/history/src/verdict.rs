//! What a checker says.

use serde::Serialize;

/// The most findings of a checker that are kept to be shown; all are counted.
pub const MAX_FINDINGS: usize = 20;

/// The most pieces of evidence that a finding shows.
pub(crate) const MAX_EVIDENCE: usize = 20;

/// What a checker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise was kept, as far as the evidence goes.
    Ok,
    /// It was broken.
    Violation(Findings),
    /// It could not be found out.
    Unknown(String),
}

/// What breaks a promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How often it is broken.
    pub count: u64,
    /// The first few of them, [`MAX_FINDINGS`] at most.
    pub first: Vec<Finding>,
}

/// One way in which a promise is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The operations and records that prove it.
    pub evidence: Vec<String>,
}

impl Verdict {
    /// Whether the promise was kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}

impl Findings {
    /// Adds a finding. The closures are called only where it will be shown.
    pub(crate) fn add<E: ToString>(
        &mut self,
        what: impl FnOnce() -> String,
        evidence: impl IntoIterator<Item = E>,
    ) {
        self.count += 1;
        if self.first.len() < MAX_FINDINGS {
            let evidence = evidence.into_iter().take(MAX_EVIDENCE);
            self.first.push(Finding {
                what: what(),
                evidence: evidence.map(|piece| piece.to_string()).collect(),
            });
        }
    }

    /// The verdict on these, where nothing is left open.
    pub(crate) fn verdict(self) -> Verdict {
        if self.count == 0 {
            Verdict::Ok
        } else {
            Verdict::Violation(self)
        }
    }
}
