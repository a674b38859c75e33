//! When a stage that ended starts again (contract § 3): the exit code decides.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use pipe::Exit;

/// A stage that ran so long starts again without what it was held for before.
const STEADY: Duration = Duration::from_secs(5);
/// The same for trouble with its state: waiting for a lock takes longer than [`STEADY`] and is no success.
const STEADY_STATE: Duration = Duration::from_secs(60);
/// First and longest pause after an exit code.
const CODE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Second and longest pause after death by signal; the first time there is none.
const DEATH_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl From<Exit> for End {
    fn from(exit: Exit) -> Self {
        Self::Code(exit as i32)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

/// What follows the end of a stage that should run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It starts again after a pause.
    After(Duration),
    /// It waits for a new configuration.
    NewConfiguration,
    /// It is not started again.
    GivenUp,
}

/// What a stage has behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restarts {
    codes: u32,
    deaths: u32,
    state: u32,
}

impl Restarts {
    /// Decides after an end; `ran` is how long the stage had run.
    pub fn next(&mut self, end: End, ran: Duration) -> Next {
        if ran >= STEADY {
            (self.codes, self.deaths) = (0, 0);
        }
        if ran >= STEADY_STATE {
            self.state = 0;
        }
        match end {
            End::Signal(_) => {
                self.deaths += 1;
                Next::After(if self.deaths == 1 { Duration::ZERO } else { doubled(DEATH_PAUSE, self.deaths - 2) })
            }
            End::Code(code) if code == Exit::Usage as i32 => Next::NewConfiguration,
            End::Code(code) if code == Exit::State as i32 => {
                self.state += 1;
                if self.state == 1 { Next::After(CODE_PAUSE.0) } else { Next::GivenUp }
            }
            // 0 and 3 as well: a stage of a pipeline should run on.
            End::Code(_) => {
                self.codes += 1;
                Next::After(doubled(CODE_PAUSE, self.codes - 1))
            }
        }
    }
}

fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_exit_code() {
        let check = |end: End, ran_ms: u64, want: &[Option<u64>]| {
            let mut restarts = Restarts::default();
            for (i, want) in want.iter().enumerate() {
                let next = restarts.next(end, Duration::from_millis(ran_ms));
                let want = want.map_or(Next::GivenUp, |ms| Next::After(Duration::from_millis(ms)));
                assert_eq!(next, want, "{end}, ran {ran_ms} ms, time {i}");
            }
        };
        let growing = [1, 2, 4, 8, 16, 32, 60, 60].map(|s| Some(s * 1000));
        for code in [0, 1, 3, 4, 101] {
            check(End::Code(code), 10, &growing);
            check(End::Code(code), 5000, &[Some(1000); 4]);
        }
        check(End::Signal(9), 10, &[0, 100, 200, 400, 800, 1600, 2000, 2000].map(Some));
        check(End::Signal(11), 5000, &[Some(0); 4]);
        check(End::Code(5), 10, &[Some(1000), None, None]);
        check(End::Code(5), 30_000, &[Some(1000), None]);
        check(End::Code(5), 60_000, &[Some(1000), Some(1000)]);
        assert_eq!(Restarts::default().next(End::Code(2), Duration::ZERO), Next::NewConfiguration);
    }

    #[test]
    fn a_steady_run_forgives() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(6));
        let mut restarts = Restarts::default();
        for _ in 0..5 {
            restarts.next(End::Signal(9), short);
            restarts.next(End::Code(1), short);
        }
        assert_eq!(restarts.next(End::Signal(9), long), Next::After(Duration::ZERO));
        assert_eq!(restarts.next(End::Code(1), short), Next::After(Duration::from_secs(1)));
    }
}
