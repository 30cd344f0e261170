//! What becomes of one supervised process: a pure state machine of what is wanted and what happens.
//!
//! It promises that a process which dies unasked is started again, after a wait that doubles while
//! it keeps dying; that one killed on demand stays down until it is started on demand; and that
//! nothing is started once the supervisor stops.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a process that died stays down, at first and at the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A process that ran so long has recovered: its next death is its first.
const STEADY: Duration = Duration::from_secs(20);

/// One supervised process.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: Phase,
    /// How often in a row it died before it was steady.
    deaths: u32,
}

/// Times are since any fixed moment.
#[derive(Debug)]
enum Phase {
    /// Killed on demand.
    Down,
    /// Started at that time.
    Up { since: Duration },
    /// Killed on demand, and not ended yet.
    Dying { start_again: bool },
    /// To be started at that time.
    Waiting { until: Duration },
    /// Told to end for good.
    Stopping,
    /// Ended for good.
    Stopped,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants it to be started.
    Start,
    /// Somebody wants it to be killed.
    Kill,
    /// Somebody wants it to be paused.
    Pause,
    /// Somebody wants it to go on.
    Resume,
    /// The supervisor stops.
    Stop,
    /// It has ended, or could not be started.
    Ended,
    /// The time given by [`Lifecycle::due`] has come.
    Due,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Start it. Where that fails, it has [`Event::Ended`].
    Spawn,
    /// Send SIGKILL.
    Kill,
    /// Send SIGSTOP.
    Pause,
    /// Send SIGCONT.
    Resume,
    /// Ask it to end: SIGTERM, and SIGCONT in case it is paused.
    Terminate,
}

/// What a process does, as `bazaar status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Runs.
    Running,
    /// Is stopped by a signal.
    Paused,
    /// Was killed on demand and stays down.
    Killed,
    /// Died, and will be started again.
    Restarting,
    /// Ended with the supervisor.
    Stopped,
}

/// Why a process is not told what somebody wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is nothing to pause or resume.
    #[error("is not running")]
    NotRunning,
    /// Nothing is started or killed any more.
    #[error("is being stopped with the cluster")]
    Stopping,
}

impl Lifecycle {
    /// A process that is due to be started.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            phase: Phase::Waiting { until: now },
            deaths: 0,
        }
    }

    /// Takes notice of `event`; returns what to do.
    pub(crate) fn on(&mut self, event: Event, now: Duration) -> Result<Action, Refusal> {
        match event {
            Event::Start => self.start(now),
            Event::Kill => self.kill(),
            Event::Pause => self.only_when_up(Action::Pause),
            Event::Resume => self.only_when_up(Action::Resume),
            Event::Stop => Ok(self.stop()),
            Event::Ended => Ok(self.ended(now)),
            Event::Due => match self.phase {
                Phase::Waiting { until } if until <= now => Ok(self.spawn(now)),
                _ => Ok(Action::Nothing),
            },
        }
    }

    /// When to tell it [`Event::Due`].
    pub(crate) fn due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        }
    }

    /// What the process does.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Up { .. } => State::Running,
            Phase::Down | Phase::Dying { start_again: false } => State::Killed,
            Phase::Waiting { .. } | Phase::Dying { start_again: true } => State::Restarting,
            Phase::Stopping | Phase::Stopped => State::Stopped,
        }
    }

    /// Whether the process has ended for good.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    fn start(&mut self, now: Duration) -> Result<Action, Refusal> {
        match &mut self.phase {
            Phase::Up { .. } => Ok(Action::Nothing),
            Phase::Dying { start_again } => {
                *start_again = true;
                Ok(Action::Nothing)
            }
            Phase::Down | Phase::Waiting { .. } => {
                self.deaths = 0;
                Ok(self.spawn(now))
            }
            Phase::Stopping | Phase::Stopped => Err(Refusal::Stopping),
        }
    }

    fn kill(&mut self) -> Result<Action, Refusal> {
        match self.phase {
            Phase::Down => Ok(Action::Nothing),
            Phase::Waiting { .. } => {
                self.phase = Phase::Down;
                Ok(Action::Nothing)
            }
            Phase::Up { .. } | Phase::Dying { .. } => {
                self.phase = Phase::Dying { start_again: false };
                Ok(Action::Kill)
            }
            Phase::Stopping | Phase::Stopped => Err(Refusal::Stopping),
        }
    }

    fn only_when_up(&self, action: Action) -> Result<Action, Refusal> {
        match self.phase {
            Phase::Up { .. } => Ok(action),
            Phase::Stopping | Phase::Stopped => Err(Refusal::Stopping),
            Phase::Down | Phase::Dying { .. } | Phase::Waiting { .. } => Err(Refusal::NotRunning),
        }
    }

    fn stop(&mut self) -> Action {
        match self.phase {
            Phase::Up { .. } | Phase::Dying { .. } | Phase::Stopping => {
                self.phase = Phase::Stopping;
                Action::Terminate
            }
            Phase::Down | Phase::Waiting { .. } | Phase::Stopped => {
                self.phase = Phase::Stopped;
                Action::Nothing
            }
        }
    }

    fn ended(&mut self, now: Duration) -> Action {
        match self.phase {
            Phase::Up { since } => {
                if now.saturating_sub(since) >= STEADY {
                    self.deaths = 0;
                }
                let (first, longest) = BACK_OFF;
                // From the fifth doubling on it is the longest anyway.
                let wait = (first * (1 << self.deaths.min(5))).min(longest);
                self.deaths += 1;
                self.phase = Phase::Waiting { until: now + wait };
                Action::Nothing
            }
            Phase::Dying { start_again: true } => self.spawn(now),
            Phase::Dying { start_again: false } => {
                self.phase = Phase::Down;
                Action::Nothing
            }
            Phase::Stopping => {
                self.phase = Phase::Stopped;
                Action::Nothing
            }
            Phase::Down | Phase::Waiting { .. } | Phase::Stopped => Action::Nothing,
        }
    }

    fn spawn(&mut self, now: Duration) -> Action {
        self.phase = Phase::Up { since: now };
        Action::Spawn
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A process that was started at second 0.
    fn started() -> Lifecycle {
        let mut process = Lifecycle::new(seconds(0));
        assert_eq!(process.on(Event::Due, seconds(0)), Ok(Action::Spawn));
        process
    }

    #[test]
    fn a_process_that_dies_is_started_again_after_a_second() {
        let mut process = started();
        assert_eq!(process.on(Event::Ended, seconds(5)), Ok(Action::Nothing));
        assert_eq!(process.state(), State::Restarting);
        assert_eq!(process.due(), Some(seconds(6)));
        assert_eq!(process.on(Event::Due, seconds(6)), Ok(Action::Spawn));
        assert_eq!(process.state(), State::Running);
    }

    #[test]
    fn a_process_that_keeps_dying_waits_longer_until_it_has_run_for_a_while() {
        let mut process = started();
        let mut now = seconds(0);
        let mut waits = Vec::new();
        let mut die = |process: &mut Lifecycle, after| {
            now += after;
            process.on(Event::Ended, now).unwrap();
            let due = process.due().unwrap();
            waits.push((due - now).as_secs());
            now = due;
            assert_eq!(process.on(Event::Due, now), Ok(Action::Spawn));
        };
        for _ in 0..7 {
            die(&mut process, Duration::from_millis(1));
        }
        die(&mut process, STEADY);
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 1]);
    }

    #[test]
    fn a_process_killed_on_demand_stays_down_until_it_is_started() {
        let mut process = started();
        assert_eq!(process.on(Event::Kill, seconds(1)), Ok(Action::Kill));
        assert_eq!(process.on(Event::Ended, seconds(1)), Ok(Action::Nothing));
        assert_eq!((process.state(), process.due()), (State::Killed, None));
        assert_eq!(process.on(Event::Kill, seconds(2)), Ok(Action::Nothing));
        assert_eq!(
            process.on(Event::Pause, seconds(2)),
            Err(Refusal::NotRunning)
        );
        assert_eq!(process.on(Event::Start, seconds(9)), Ok(Action::Spawn));
    }

    #[test]
    fn a_start_that_overtakes_a_death_is_not_lost() {
        let mut process = started();
        process.on(Event::Kill, seconds(1)).unwrap();
        assert_eq!(process.on(Event::Start, seconds(1)), Ok(Action::Nothing));
        assert_eq!(process.on(Event::Ended, seconds(1)), Ok(Action::Spawn));
    }

    #[test]
    fn a_process_that_waits_can_be_kept_down_or_hurried() {
        let mut kept_down = started();
        kept_down.on(Event::Ended, seconds(1)).unwrap();
        assert_eq!(kept_down.on(Event::Kill, seconds(1)), Ok(Action::Nothing));
        assert_eq!(kept_down.on(Event::Due, seconds(2)), Ok(Action::Nothing));

        let mut hurried = started();
        hurried.on(Event::Ended, seconds(1)).unwrap();
        assert_eq!(hurried.on(Event::Start, seconds(1)), Ok(Action::Spawn));
    }

    fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
        let event = prop_oneof![
            Just(Event::Start),
            Just(Event::Kill),
            Just(Event::Pause),
            Just(Event::Resume),
            Just(Event::Ended),
            Just(Event::Due),
        ];
        proptest::collection::vec((event, 0..40u64), 0..50)
    }

    proptest! {
        /// There is never a second process, never a signal to none, and no way past a stop.
        #[test]
        fn there_is_one_process_at_most(before in events(), after in events()) {
            let mut process = Lifecycle::new(seconds(0));
            let mut alive = false;
            let mut stopped = false;
            let mut now = seconds(0);
            let stop = std::iter::once((Event::Stop, 0));
            for (event, wait) in before.into_iter().chain(stop).chain(after) {
                now += seconds(wait);
                if event == Event::Ended {
                    if !alive {
                        continue;
                    }
                    alive = false;
                }
                stopped |= event == Event::Stop;
                match process.on(event, now) {
                    Ok(Action::Spawn) => {
                        prop_assert!(!alive && !stopped);
                        alive = true;
                    }
                    Ok(Action::Nothing) | Err(_) => {}
                    Ok(_signal) => prop_assert!(alive),
                }
                if !alive && !stopped {
                    prop_assert_eq!(process.due().is_some(), process.state() == State::Restarting);
                }
                prop_assert_eq!(process.is_over(), stopped && !alive);
            }
        }
    }
}
