//! The search for an order of operations that explains their answers.
//!
//! It is Wing & Gong's: of the operations that may be next, because no other was completed before
//! they were invoked, take one that fits the state, and go back where none does. Lowe's addition is
//! to remember configurations, (operations taken, state), from which there was no way.
//!
//! What makes it fast here is that little is left to choose:
//!
//! - what only reads, and fits the state, is taken at once: later would be no better;
//! - a trade that shows the version it made has one place, and no other trade can take that place;
//! - of trades that change the stock by the same amount, the one that must be done first is as good
//!   as any: whatever order has another in its place, has these two exchanged as well. So one that
//!   was never completed comes last, and those of one amount are told apart by their number only;
//! - where the stock at a version is known from answers, a trade has to lead there;
//! - an edit has one place, as the version that it made is known, and so mostly what it left in stock.
//!
//! With versions in all answers there is a choice only between trades of unknown outcome of different
//! amounts, made one after the other with no lookup between. A step costs as much as there are
//! operations under way at a time, so n operations of p processes take n·p steps, and memory for what
//! is remembered: a configuration is remembered as its state, the first operations all of which are
//! taken, those before the last that are not, and how many of each amount, in some 100 bytes. Without
//! versions it is exponential at worst, as the problem is (Gibbons & Korach 1997): so it has a
//! budget.

use std::collections::{HashMap, HashSet};

use super::model::{Action, NEVER, State, Step};

/// Marks the end of a list.
const NONE: u32 = u32::MAX;

/// How much a search may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most configurations that are remembered, some 100 bytes each.
    pub configurations: usize,
    /// The most operations that are taken, those taken again included.
    pub steps: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            configurations: 2_000_000,
            steps: 50_000_000,
        }
    }
}

/// What a search finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order that explains everything.
    Order,
    /// There is none.
    NoOrder(DeadEnd),
    /// The budget ran out.
    NothingYet,
}

/// The point where most was explained.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeadEnd {
    /// The state there.
    pub(super) state: State,
    /// The operations taken last, the very last one last.
    pub(super) last: Vec<usize>,
    /// The operations that could be next, and are not possible there.
    pub(super) next: Vec<usize>,
}

/// How many of the operations taken last a dead end tells.
const TOLD: usize = 5;

/// The operations that were never completed, change the stock by one amount, and show no version: in
/// the order of their invocation, which is the order in which they are taken.
#[derive(Debug, Default)]
struct Class {
    members: Vec<u32>,
    taken: usize,
}

/// A configuration.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// Up to the last operation taken, those that are not, and then that operation.
    gaps: Box<[u32]>,
    /// How many of each class are taken.
    taken: Box<[u32]>,
}

/// What was taken, so that it can be given back.
#[derive(Debug)]
struct Taken {
    step: u32,
    class: Option<usize>,
    /// The state before.
    before: State,
    /// The last operation before.
    top: u32,
}

/// Where there was a choice.
#[derive(Debug)]
struct Choice {
    /// How many were taken then.
    depth: usize,
    /// What is still to be tried.
    others: Vec<Candidate>,
}

/// A change that may be next.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    step: u32,
    class: Option<usize>,
}

/// What may be next.
enum Next {
    /// Everything that must be explained is.
    Nothing,
    /// These; of none, it is a dead end.
    OneOf(Vec<Candidate>),
}

/// A search under way.
pub(super) struct Search<'a> {
    /// By invocation.
    steps: &'a [Step],
    state: State,
    /// The completed operations that are not taken, as a list in the order of invocation: the places
    /// of the one behind and the one before. The list's ends are at place `steps.len()`.
    after: Vec<u32>,
    before: Vec<u32>,
    /// The trades that show which version they made.
    by_version: HashMap<u64, Vec<u32>>,
    /// The others that were never completed.
    classes: Vec<Class>,
    deltas: Vec<i64>,
    /// The stock at a version, where answers tell.
    known: HashMap<u64, u64>,
    is_taken: Vec<bool>,
    top: u32,
    trail: Vec<Taken>,
    choices: Vec<Choice>,
    seen: HashSet<Configuration>,
    /// How many completed operations are taken, and were at the best point so far.
    explained: usize,
    best: Option<(usize, DeadEnd)>,
    budget: Budget,
}

impl<'a> Search<'a> {
    /// Of `steps`, which are in the order of invocation, on an item that is `initial` at first.
    pub(super) fn new(steps: &'a [Step], initial: State, budget: Budget) -> Self {
        let end = place(steps.len());
        let mut search = Self {
            steps,
            state: initial,
            after: vec![end; steps.len() + 1],
            before: vec![end; steps.len() + 1],
            by_version: HashMap::new(),
            classes: Vec::new(),
            deltas: Vec::new(),
            known: known_stock(steps, initial),
            is_taken: vec![false; steps.len()],
            top: NONE,
            trail: Vec::new(),
            choices: Vec::new(),
            seen: HashSet::new(),
            explained: 0,
            best: None,
            budget,
        };
        for (at, step) in (0..).zip(steps) {
            search.enlist(at, *step);
        }
        search
    }

    fn enlist(&mut self, at: u32, step: Step) {
        let end = place(self.steps.len());
        if step.returned != NEVER {
            let last = self.before[end as usize];
            self.after[last as usize] = at;
            self.before[at as usize] = last;
            self.after[at as usize] = end;
            self.before[end as usize] = at;
        }
        match step.action {
            Action::Trade {
                version: Some(version),
                ..
            } => self.by_version.entry(version).or_default().push(at),
            Action::Trade { delta, .. } if step.returned == NEVER => {
                let class = self.deltas.iter().position(|known| *known == delta);
                let class = class.unwrap_or_else(|| {
                    self.deltas.push(delta);
                    self.classes.push(Class::default());
                    self.classes.len() - 1
                });
                self.classes[class].members.push(at);
            }
            Action::Edit { version, .. } => {
                self.by_version.entry(version).or_default().push(at);
            }
            // A question that was never answered tells nothing.
            Action::Trade { .. } | Action::Read { .. } | Action::Short { .. } => {}
        }
    }

    /// Searches to the end.
    pub(super) fn run(mut self) -> Found {
        loop {
            let horizon = self.take_reads();
            let mut candidates = match self.next(horizon) {
                Next::Nothing => return Found::Order,
                Next::OneOf(candidates) => candidates,
            };
            if candidates.is_empty() {
                self.note_dead_end(horizon);
            } else if !self.is_news(candidates.len()) {
                candidates.clear();
            }
            if self.seen.len() > self.budget.configurations || self.budget.steps == 0 {
                return Found::NothingYet;
            }
            match candidates.pop() {
                Some(candidate) => {
                    if !candidates.is_empty() {
                        self.choices.push(Choice {
                            depth: self.trail.len(),
                            others: candidates,
                        });
                    }
                    self.take(candidate);
                }
                None => {
                    let Some(candidate) = self.go_back() else {
                        let (_, dead_end) =
                            self.best.expect("a search that fails has failed somewhere");
                        return Found::NoOrder(dead_end);
                    };
                    self.take(candidate);
                }
            }
        }
    }

    /// Whether this configuration was not met before. One is met again only from another side of a
    /// choice: where there is nothing else left to try, it need not be remembered.
    fn is_news(&mut self, candidates: usize) -> bool {
        if candidates > 1 || !self.choices.is_empty() {
            let configuration = self.configuration();
            self.seen.insert(configuration)
        } else {
            self.seen.is_empty() || !self.seen.contains(&self.configuration())
        }
    }

    fn configuration(&self) -> Configuration {
        let end = place(self.steps.len());
        let mut gaps = Vec::new();
        if self.top != NONE {
            let mut at = self.after[end as usize];
            while at < self.top {
                gaps.push(at);
                at = self.after[at as usize];
            }
            gaps.push(self.top);
        }
        Configuration {
            state: self.state,
            gaps: gaps.into(),
            taken: self
                .classes
                .iter()
                .map(|class| place(class.taken))
                .collect(),
        }
    }

    /// Takes what reads and fits the state, as long as there is any. Returns the horizon: when the
    /// first of the others was completed. What was invoked later cannot be next.
    fn take_reads(&mut self) -> u64 {
        loop {
            let mut horizon = NEVER;
            let mut has_taken = false;
            let mut at = self.after[self.steps.len()];
            while let Some(step) = self.steps.get(at as usize) {
                if step.invoked > horizon {
                    break;
                }
                let next = self.after[at as usize];
                let reads = !step.action.changes();
                if reads && self.state.after(step.action).is_some() {
                    self.take(Candidate {
                        step: at,
                        class: None,
                    });
                    has_taken = true;
                } else {
                    horizon = horizon.min(step.returned);
                }
                at = next;
            }
            if !has_taken {
                return horizon;
            }
        }
    }

    /// The changes that may be next, the most promising last.
    fn next(&self, horizon: u64) -> Next {
        let end = self.steps.len();
        if self.after[end] as usize == end {
            return Next::Nothing;
        }
        let version = self.state.version + 1;
        if let Some(makers) = self.by_version.get(&version) {
            let candidates = makers.iter().map(|step| Candidate {
                step: *step,
                class: None,
            });
            return Next::OneOf(
                candidates
                    .filter(|one| self.is_possible(*one, horizon))
                    .collect(),
            );
        }
        // Those that were never completed first, as the others are to be tried before them.
        let mut candidates: Vec<Candidate> = self.open_candidates(horizon).collect();
        let mut at = self.after[end];
        while let Some(step) = self.steps.get(at as usize) {
            if step.invoked > horizon {
                break;
            }
            let one = Candidate {
                step: at,
                class: None,
            };
            if self.is_possible(one, horizon) {
                self.add(&mut candidates, one);
            }
            at = self.after[at as usize];
        }
        Next::OneOf(candidates)
    }

    fn open_candidates(&self, horizon: u64) -> impl Iterator<Item = Candidate> + '_ {
        let classes = self.classes.iter().enumerate();
        let firsts = classes.filter_map(|(class, members)| {
            Some(Candidate {
                step: *members.members.get(members.taken)?,
                class: Some(class),
            })
        });
        firsts.filter(move |one| self.is_possible(*one, horizon))
    }

    /// Adds `one`, which takes the place of another of the same amount that may be done later.
    fn add(&self, candidates: &mut Vec<Candidate>, one: Candidate) {
        let step = self.steps[one.step as usize];
        let same = |other: &Candidate| self.steps[other.step as usize].action == step.action;
        match candidates.iter().position(same) {
            Some(at) if self.steps[candidates[at].step as usize].returned <= step.returned => {}
            Some(at) => {
                candidates.remove(at);
                candidates.push(one);
            }
            None => candidates.push(one),
        }
    }

    /// Whether `one` is a change that may be next.
    fn is_possible(&self, one: Candidate, horizon: u64) -> bool {
        let step = &self.steps[one.step as usize];
        if self.is_taken[one.step as usize] || step.invoked > horizon || !step.action.changes() {
            return false;
        }
        let Some(after) = self.state.after(step.action) else {
            return false;
        };
        let known = self.known.get(&after.version);
        known.is_none_or(|known| after.quantity.is_none_or(|quantity| quantity == *known))
    }

    fn take(&mut self, one: Candidate) {
        let Candidate { step: at, class } = one;
        let step = &self.steps[at as usize];
        self.trail.push(Taken {
            step: at,
            class,
            before: self.state,
            top: self.top,
        });
        self.state = self
            .state
            .after(step.action)
            .expect("only what is possible is taken");
        self.is_taken[at as usize] = true;
        if let Some(class) = class {
            self.classes[class].taken += 1;
        }
        if step.returned != NEVER {
            let (before, after) = (self.before[at as usize], self.after[at as usize]);
            self.after[before as usize] = after;
            self.before[after as usize] = before;
            self.explained += 1;
            if self.top == NONE || self.top < at {
                self.top = at;
            }
        }
        self.budget.steps = self.budget.steps.saturating_sub(1);
    }

    fn give_back(&mut self) {
        let Taken {
            step: at,
            class,
            before: state,
            top,
        } = self.trail.pop().expect("only what was taken is given back");
        self.state = state;
        self.top = top;
        self.is_taken[at as usize] = false;
        if let Some(class) = class {
            self.classes[class].taken -= 1;
        }
        if self.steps[at as usize].returned != NEVER {
            let (before, after) = (self.before[at as usize], self.after[at as usize]);
            self.after[before as usize] = at;
            self.before[after as usize] = at;
            self.explained -= 1;
        }
    }

    /// Goes back to where there was a choice, and returns what to try there instead.
    fn go_back(&mut self) -> Option<Candidate> {
        let choice = self.choices.last_mut()?;
        let depth = choice.depth;
        let candidate = choice.others.pop();
        if choice.others.is_empty() {
            self.choices.pop();
        }
        while self.trail.len() > depth {
            self.give_back();
        }
        candidate
    }

    fn note_dead_end(&mut self, horizon: u64) {
        let best = self.best.as_ref();
        if best.is_some_and(|(explained, _)| *explained >= self.explained) {
            return;
        }
        let steps = self.trail.iter().map(|taken| taken.step as usize);
        let skip = self.trail.len().saturating_sub(TOLD);
        let mut next = Vec::new();
        let mut at = self.after[self.steps.len()];
        while let Some(step) = self.steps.get(at as usize) {
            if step.invoked > horizon {
                break;
            }
            next.push(at as usize);
            at = self.after[at as usize];
        }
        // What has to be done first is most of the reason.
        next.sort_by_key(|at| self.steps[*at].returned);
        let dead_end = DeadEnd {
            state: self.state,
            last: steps.skip(skip).collect(),
            next,
        };
        self.best = Some((self.explained, dead_end));
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a history has fewer than 2^32 operations")
}

/// The stock at each version, as far as lookups show it, and trades between them tell.
pub(super) fn known_stock(steps: &[Step], initial: State) -> HashMap<u64, u64> {
    let initially = initial.quantity.map(|quantity| (initial.version, quantity));
    let mut known: HashMap<_, _> = initially.into_iter().collect();
    let mut deltas = HashMap::new();
    let mut versions = Vec::new();
    for step in steps {
        match step.action {
            Action::Read {
                quantity,
                version: Some(version),
            } if step.returned != NEVER => {
                known.entry(version).or_insert(quantity);
            }
            Action::Trade {
                delta,
                version: Some(version),
            } => {
                deltas.insert(version, delta);
                versions.push(version);
            }
            Action::Read { .. }
            | Action::Trade { .. }
            | Action::Short { .. }
            | Action::Edit { .. } => {}
        }
    }
    versions.sort_unstable();
    let mut tell = |from: u64, to: u64, delta: i64| {
        let told = known
            .get(&from)
            .and_then(|known| known.checked_add_signed(delta));
        if let Some(told) = told {
            known.entry(to).or_insert(told);
        }
    };
    for version in &versions {
        tell(version.wrapping_sub(1), *version, deltas[version]);
    }
    for version in versions.iter().rev() {
        tell(*version, version.wrapping_sub(1), -deltas[version]);
    }
    known
}
