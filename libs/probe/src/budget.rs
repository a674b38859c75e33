//! What one run of a filter may use, and how it is stopped.
//!
//! Steps, bytes, depth and outputs are counted, so every run decides the same; CPU time is a backstop. A limit leaves
//! by unwinding without a panic, which no `try` of jq can catch, and is caught where the run began.
//!
//! What is left to the crash note and the memory limit of the process: between two looks a function of jaq's may hold
//! some six times the limit for a moment (`@uri` of a long string), and one search with a big regular expression in a
//! long string is not interrupted, only followed by the look at the clock: a run may end late, but not unseen.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::{alloc, stack};

/// The bounds of one run over one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Terms evaluated. Work inside one term counts too: an element of `.[]` is a step, and so are 16 elements that
    /// are only compared or copied, or 256 bytes.
    pub steps: u64,
    /// Bytes that the run holds at once.
    pub bytes: usize,
    /// Bytes of stack (a quarter of [`crate::STACK`] is the most that works).
    pub depth: usize,
    /// Outputs read.
    pub outputs: u64,
    /// CPU time of the thread, looked at every 256 steps, after long searches and at the end; the first look starts
    /// the clock. Compiling regular expressions has [`COMPILING`] of its own.
    pub cpu: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 100_000, bytes: 16 << 20, depth: 32 << 20, outputs: 100, cpu: Duration::from_millis(50) }
    }
}

impl Limits {
    /// What is said of a run that exceeded one of them.
    pub fn exceeded(&self, limit: Limit) -> String {
        let figure = match limit {
            Limit::Steps => format!("{} steps", grouped(self.steps)),
            Limit::Bytes => format!("{} of memory", size(self.bytes)),
            Limit::Depth => format!("{} of stack", size(self.depth)),
            Limit::Outputs => format!("{} outputs", grouped(self.outputs)),
            Limit::Cpu => format!("{} ms of CPU", self.cpu.as_millis()),
        };
        format!("exceeded its limit of {figure}")
    }
}

/// `100,000`
fn grouped(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", grouped(n / 1000), n % 1000) }
}

fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MiB", bytes >> 20) }
}

/// The bound that a run exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// [`Limits::steps`].
    Steps,
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::outputs`].
    Outputs,
    /// [`Limits::cpu`].
    Cpu,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Steps, Self::Bytes, Self::Depth, Self::Outputs, Self::Cpu];

    /// One word, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Bytes => "bytes",
            Self::Depth => "depth",
            Self::Outputs => "outputs",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a guarded run has no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Limit(Limit),
    /// A panic: a fault of ours or of jaq's.
    Fault,
}

/// A step is this many units, so that small work can be counted in parts of a step.
const STEP: i64 = 16;
/// Units between two looks at the CPU clock.
const LOOK: i64 = 256 * STEP;
/// A search through more bytes is followed by a look at the clock; before it there was one, as it costs [`LOOK`] units.
const LONG_SEARCH: usize = 64 << 10;
/// CPU time for compiling regular expressions in one run: what is compiled is kept for later runs, so a filter with
/// many of them is not to fail at its first event.
const COMPILING: Duration = Duration::from_millis(500);
/// What a meter at rest holds: more than a process can use.
const REST: i64 = i64::MAX / 2;

struct Meter {
    /// Units left.
    left: Cell<i64>,
    /// Below this the slow path is taken: a look at the clock, or the end.
    look: Cell<i64>,
    /// Lowest stack address.
    floor: Cell<usize>,
    /// Highest value of [`alloc::live`].
    ceiling: Cell<isize>,
    /// Nanoseconds of CPU that the run may use, and when it must end (0: the clock has not been started).
    cpu: Cell<u64>,
    end: Cell<u64>,
    /// Nanoseconds left for compiling.
    compiling: Cell<u64>,
    /// `now` in seconds.
    now: Cell<f64>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            left: Cell::new(REST),
            look: Cell::new(i64::MIN),
            floor: Cell::new(0),
            ceiling: Cell::new(isize::MAX),
            cpu: Cell::new(0),
            end: Cell::new(0),
            compiling: Cell::new(0),
            now: Cell::new(0.0),
        }
    };
}

impl Meter {
    fn rest(&self) {
        self.left.set(REST);
        self.look.set(i64::MIN);
        self.floor.set(0);
        self.ceiling.set(isize::MAX);
    }

    /// Ends the run. The meter rests first, so that nothing that is dropped on the way can unwind a second time.
    #[cold]
    #[inline(never)]
    fn exceed(&self, limit: Limit) -> ! {
        self.rest();
        resume_unwind(Box::new(limit))
    }

    #[cold]
    #[inline(never)]
    fn slow(&self) {
        let left = self.left.get();
        if left < 0 {
            self.exceed(Limit::Steps);
        }
        let now = cpu_now();
        match self.end.get() {
            0 => self.end.set(now.saturating_add(self.cpu.get()).max(1)),
            end if now > end => self.exceed(Limit::Cpu),
            _ => {}
        }
        self.look.set((left - LOOK).max(0));
    }

    /// The clock is looked at with the next thing that counts.
    fn look_next(&self) {
        // At rest there is no clock.
        if self.look.get() != i64::MIN {
            self.look.set(self.left.get());
        }
    }

    /// Whether the run took longer than it may; not known if nothing started the clock.
    fn is_late(&self) -> bool {
        self.end.get() != 0 && cpu_now() > self.end.get()
    }

    #[inline]
    fn spend(&self, units: i64) {
        let left = self.left.get().saturating_sub(units);
        self.left.set(left);
        if left < self.look.get() {
            self.slow();
        }
        if alloc::live() > self.ceiling.get() {
            self.exceed(Limit::Bytes);
        }
    }
}

/// One step: called for every term that is evaluated.
#[inline]
pub(crate) fn tick() {
    METER.with(|m| {
        m.spend(STEP);
        if stack::here() < m.floor.get() {
            m.exceed(Limit::Depth);
        }
    });
}

/// Work on `n` elements of a value; also keeps the recursion over nested values within the stack.
#[inline]
pub(crate) fn work(n: usize) {
    METER.with(|m| {
        m.spend(i64::try_from(n).unwrap_or(REST));
        if stack::here() < m.floor.get() {
            m.exceed(Limit::Depth);
        }
    });
}

/// Work on `n` bytes.
#[inline]
pub(crate) fn work_bytes(n: usize) {
    work(n / 16);
}

/// A search through `n` bytes is done.
#[inline]
pub(crate) fn searched(n: usize) {
    if n > LONG_SEARCH {
        METER.with(Meter::look_next);
    }
}

/// A regular expression was compiled, which took these nanoseconds of CPU.
pub(crate) fn compiled(took: u64) {
    METER.with(|m| {
        let free = took.min(m.compiling.get());
        m.compiling.set(m.compiling.get() - free);
        match m.end.get() {
            0 if took > free => m.end.set(cpu_now().saturating_sub(took - free).saturating_add(m.cpu.get()).max(1)),
            0 => {}
            end => m.end.set(end.saturating_add(free)),
        }
        m.look_next();
    });
}

/// Says before an allocation of `bytes` that it would exceed the limit.
#[inline]
pub(crate) fn room(bytes: usize) {
    METER.with(|m| {
        let after = alloc::live().saturating_add(isize::try_from(bytes).unwrap_or(isize::MAX));
        if after > m.ceiling.get() {
            m.exceed(Limit::Bytes);
        }
    });
}

/// Ends the run for more outputs than allowed.
pub(crate) fn too_many_outputs() -> ! {
    METER.with(|m| m.exceed(Limit::Outputs))
}

/// Runs `build` uncounted, and lets what it leaves behind stay: caches outlive a run, and what a run decides must not
/// depend on which run filled them.
pub(crate) fn exempt<T>(build: impl FnOnce() -> T) -> T {
    METER.with(|m| {
        let (left, look, floor, ceiling) = (m.left.get(), m.look.get(), m.floor.get(), m.ceiling.get());
        let before = alloc::live();
        m.rest();
        let built = build();
        m.left.set(left);
        m.look.set(look);
        m.floor.set(floor);
        m.ceiling.set(ceiling.saturating_add(alloc::live().saturating_sub(before)));
        built
    })
}

/// The time that the running filter calls `now`, in seconds since 1970.
pub(crate) fn now() -> f64 {
    METER.with(|m| m.now.get())
}

/// Runs `run` within `limits`; `now_ms` is what `now` says.
pub(crate) fn guard<T>(limits: &Limits, now_ms: i64, run: impl FnOnce() -> T) -> Result<T, Stop> {
    METER.with(|m| {
        let steps = i64::try_from(limits.steps).unwrap_or(REST / STEP).min(REST / STEP) * STEP;
        m.left.set(steps);
        m.look.set((steps - LOOK).max(0));
        m.end.set(0);
        m.cpu.set(u64::try_from(limits.cpu.as_nanos()).unwrap_or(u64::MAX));
        m.compiling.set(u64::try_from(COMPILING.as_nanos()).unwrap_or(u64::MAX));
        m.floor.set(stack::floor(limits.depth));
        m.ceiling.set(alloc::live().saturating_add(isize::try_from(limits.bytes).unwrap_or(isize::MAX)));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
        m.now.set(now_ms as f64 / 1000.0);
    });
    let done = catch_unwind(AssertUnwindSafe(run));
    let late = METER.with(|m| {
        m.rest();
        m.is_late()
    });
    if late && done.is_ok() {
        return Err(Stop::Limit(Limit::Cpu));
    }
    done.map_err(|payload| payload.downcast_ref::<Limit>().map_or(Stop::Fault, |limit| Stop::Limit(*limit)))
}

/// CPU time of this thread in nanoseconds.
pub(crate) fn cpu_now() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(at.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_rests_after_every_end() {
        let limits = Limits { steps: 10, ..Limits::default() };
        let forever = || {
            guard(&limits, 0, || {
                loop {
                    tick();
                }
            })
        };
        for _ in 0..3 {
            assert_eq!(forever(), Err::<(), _>(Stop::Limit(Limit::Steps)));
            // Outside a run nothing is counted.
            (0..1000).for_each(|_| tick());
            assert_eq!(guard(&limits, 0, || (0..10).for_each(|_| tick())), Ok(()));
        }
        assert_eq!(guard(&limits, 1500, now), Ok(1.5));
        assert_eq!(guard(&Limits { bytes: 100, ..limits }, 0, || room(101)), Err(Stop::Limit(Limit::Bytes)));
    }

    #[test]
    fn a_limit_is_said_with_its_figure() {
        let limits = Limits { bytes: 1000, steps: 1_200_045, ..Limits::default() };
        let said = Limit::ALL.map(|l| limits.exceeded(l));
        let want = ["1,200,045 steps", "1000 bytes of memory", "32 MiB of stack", "100 outputs", "50 ms of CPU"];
        assert_eq!(said, want.map(|figure| format!("exceeded its limit of {figure}")));
    }

    #[test]
    fn cpu_time_is_the_backstop() {
        let limits = Limits { steps: u64::MAX, cpu: Duration::from_millis(5), ..Limits::default() };
        let run = guard(&limits, 0, || {
            loop {
                tick();
            }
        });
        assert_eq!(run, Err::<(), _>(Stop::Limit(Limit::Cpu)));
    }

    /// Uses CPU time, some more than `ms`, without a step.
    fn burn(ms: u64) {
        let end = cpu_now() + ms * 1_000_000;
        while cpu_now() <= end {}
    }

    #[test]
    fn long_searches_are_seen_and_compiling_has_time_of_its_own() {
        let limits = Limits { cpu: Duration::from_millis(5), ..Limits::default() };
        let late = Err(Stop::Limit(Limit::Cpu));
        let search = |n: usize| {
            work_bytes(n);
            burn(20);
            searched(n);
        };
        assert_eq!(guard(&limits, 0, || search(2 * LONG_SEARCH)), late, "even as the last thing of the run");
        let mut steps = 0;
        let more = || {
            search(2 * LONG_SEARCH);
            tick();
            steps += 1;
        };
        assert_eq!((guard(&limits, 0, more), steps), (late, 0), "or with the next thing that counts");

        let compile = |ms: u64| {
            burn(ms);
            compiled(ms * 1_000_000);
        };
        let many = |n: u64| guard(&limits, 0, || (0..n).for_each(|_| compile(100)));
        assert_eq!(many(2), Ok(()));
        assert_eq!(many(9), Err(Stop::Limit(Limit::Cpu)));
    }
}
