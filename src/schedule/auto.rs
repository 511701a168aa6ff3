//! `-j auto`: finds how many transfers at once are worth it, for one host or for all together.
//!
//! Works in rounds with a fixed number of transfers. The goodput of a round is the work that ends in it over its time,
//! from the end of the first transfer that began in it: before that, what ends is what the round before began. While
//! doubling brings goodput, it doubles; then it tries a little more and a little less in turn and keeps what is better,
//! fewer if it makes no difference. Where others use the same machine or network a moment says little: only a doubling
//! is believed at once. Deadlines that pass make it fewer at once, answers that get slower for everybody when they do
//! so twice.

use std::time::{Duration, Instant};

/// What a transfer is worth besides its bytes: of small files the number counts, of large ones the bytes.
const REQUEST: f64 = 32.0 * 1024.0;
/// A round lasts at least so long: shorter ones measure the machine's scheduler.
const ROUND: Duration = Duration::from_millis(100);
/// And has at least so many successes: fewer say little about a mean.
const SUCCESSES: usize = 32;
/// The part of a linear gain that more transfers must bring.
const WORTH: f64 = 0.2;
/// Rounds between two trials.
const HELD: u32 = 2;
/// The first step of a trial, as a part of the transfers; it doubles with each that was worth it.
const STEP: f64 = 0.25;
/// Fewer transfers are kept when they bring this part of the goodput.
const AS_GOOD: f64 = 0.99;

/// The controller of one number of transfers.
#[derive(Debug)]
pub struct Auto {
    window: usize,
    most: usize,
    /// Late transfers in a round that make it fewer, as a divisor of the window.
    late_divisor: usize,
    phase: Phase,
    round: Round,
    /// The last round that counts, or the one that a trial is compared with.
    base: Option<Level>,
    step: f64,
    /// Attempts released earlier do not make it fewer again.
    cut: Instant,
}

/// What a number of transfers brought.
#[derive(Debug, Clone, Copy)]
struct Level {
    window: usize,
    goodput: f64,
    first_byte: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Doubling.
    Rising,
    /// Doubling brought too little; measured again before it is believed.
    Doubting,
    /// So many rounds to go until `next` is tried.
    Holding {
        rounds: u32,
        next: Trial,
    },
    Trying(Trial),
    /// It got slower for everybody; measured again before it is believed.
    Slower {
        next: Trial,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trial {
    More,
    Fewer,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    /// When the first transfer ended that began in this round: from there on it is measured.
    measured: Option<Instant>,
    successes: u32,
    /// Whether the window was used up.
    is_full: bool,
    late: usize,
    work: f64,
    first_byte: f64,
}

impl Round {
    fn new(now: Instant) -> Round {
        Round { began: now, measured: None, successes: 0, is_full: false, late: 0, work: 0.0, first_byte: 0.0 }
    }
}

/// A transfer that ended well.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// When it was released.
    pub released: Instant,
    /// Body bytes.
    pub bytes: u64,
    /// Start to first byte.
    pub first_byte: Option<Duration>,
    /// Transfers that ran just before it ended.
    pub running: usize,
}

impl Auto {
    /// Begins with `window` transfers and goes up to `most`. Late transfers make it fewer when they are at least the
    /// `late_divisor`th part of the window in one round.
    pub fn new(window: usize, most: usize, late_divisor: usize, now: Instant) -> Auto {
        let most = most.max(1);
        Auto {
            window: window.clamp(1, most),
            most,
            late_divisor: late_divisor.max(1),
            phase: Phase::Rising,
            round: Round::new(now),
            base: None,
            step: STEP,
            cut: now,
        }
    }

    /// Transfers at once.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Counts a success.
    pub fn served(&mut self, served: Served, now: Instant) {
        let (times, enough) = (self.times(), self.successes());
        let round = &mut self.round;
        // Those that began together end together: the first of them saw all.
        round.is_full |= served.running >= self.window;
        let Some(measured) = round.measured else {
            round.measured = (served.released >= round.began).then_some(now);
            return;
        };
        round.successes += 1;
        round.work += served.bytes as f64 + REQUEST;
        round.first_byte += served.first_byte.unwrap_or_default().as_secs_f64();
        if round.successes >= enough && now.saturating_duration_since(measured) >= ROUND * times {
            self.end_round(measured, now);
        }
    }

    /// Counts a transfer that ran into a deadline.
    pub fn late(&mut self, released: Instant, now: Instant) {
        if released < self.cut {
            return;
        }
        self.round.late += 1;
        if self.round.late * self.late_divisor >= self.window {
            self.fewer(self.window * 7 / 10, now);
        }
    }

    /// The host refuses some: what it allows is found otherwise, and measured from anew when it allows all.
    pub fn suspend(&mut self, now: Instant) {
        self.fewer(self.window, now);
    }

    /// Something ran out with so many transfers.
    pub fn halve(&mut self, now: Instant) {
        self.fewer(self.window / 2, now);
    }

    fn fewer(&mut self, window: usize, now: Instant) {
        self.cut = now;
        self.base = None;
        self.step = STEP;
        self.begin(window, Phase::Holding { rounds: HELD, next: Trial::More }, now);
    }

    /// What a round must have, as a multiple of the least: doubling shows in little; a verdict against it, or on a
    /// small step, needs more.
    fn times(&self) -> u32 {
        match self.phase {
            Phase::Rising => 1,
            Phase::Holding { .. } | Phase::Trying(_) | Phase::Slower { .. } => 2,
            Phase::Doubting => 4,
        }
    }

    /// Successes that make a round.
    fn successes(&self) -> u32 {
        // Whole windows: those that begin together end together, and a part of them would count as more in less time.
        let windows = SUCCESSES.div_ceil(self.window) * self.times() as usize;
        u32::try_from(self.window * windows).unwrap_or(u32::MAX)
    }

    fn begin(&mut self, window: usize, phase: Phase, now: Instant) {
        self.window = window.clamp(1, self.most);
        self.phase = phase;
        self.round = Round::new(now);
    }

    fn end_round(&mut self, measured: Instant, now: Instant) {
        let round = &self.round;
        if !round.is_full {
            // The window was not used up: nothing was learned about it.
            return match (self.phase, self.base) {
                (Phase::Trying(_) | Phase::Doubting, Some(base)) => self.hold(base, Trial::More, now),
                (phase, _) => self.begin(self.window, phase, now),
            };
        }
        let level = Level {
            window: self.window,
            goodput: round.work / now.saturating_duration_since(measured).as_secs_f64(),
            first_byte: round.first_byte / f64::from(round.successes),
        };
        match (self.phase, self.base) {
            (Phase::Rising | Phase::Doubting, Some(base)) if !level.is_worth_more_than(base) => {
                if self.phase == Phase::Rising {
                    return self.phase = Phase::Doubting;
                }
                let better = if level.goodput > base.goodput * 1.1 { level } else { base };
                // Measured anew and doubled once more: to stop too early costs most.
                self.step = 1.0;
                self.hold(better, Trial::More, now);
            }
            (Phase::Rising | Phase::Doubting, _) => {
                self.base = Some(level);
                match self.window < self.most {
                    true => self.begin(self.window * 2, Phase::Rising, now),
                    false => self.hold(level, Trial::Fewer, now),
                }
            }
            (Phase::Holding { next, .. }, Some(base)) if level.is_slower_than(base) => {
                self.begin(self.window, Phase::Slower { next }, now);
            }
            // That is not the time to insist.
            (Phase::Slower { .. }, Some(base)) if level.is_slower_than(base) => self.fewer(self.window * 4 / 5, now),
            (Phase::Slower { next }, base) => self.held(level, base, HELD, next, now),
            (Phase::Holding { rounds, next }, base) => self.held(level, base, rounds, next, now),
            (Phase::Trying(Trial::More), Some(base)) if level.is_worth_more_than(base) => {
                // The next step is bolder: a wrong end of the doubling is mended quickly.
                self.base = Some(level);
                self.step = (self.step * 2.0).min(1.0);
                self.attempt(Trial::More, now);
            }
            (Phase::Trying(Trial::More), base) => {
                self.step = STEP;
                self.hold(base.unwrap_or(level), Trial::Fewer, now);
            }
            (Phase::Trying(Trial::Fewer), Some(base)) if level.goodput < base.goodput * AS_GOOD => {
                self.hold(base, Trial::More, now);
            }
            (Phase::Trying(Trial::Fewer), _) => self.hold(level, Trial::More, now),
        }
    }

    /// A round without a trial.
    fn held(&mut self, level: Level, base: Option<Level>, rounds: u32, next: Trial, now: Instant) {
        let Some(base) = base else { return self.hold(level, next, now) };
        self.base = Some(Level {
            window: level.window,
            goodput: (base.goodput + level.goodput) / 2.0,
            first_byte: (base.first_byte + level.first_byte) / 2.0,
        });
        match rounds {
            0 | 1 => self.attempt(next, now),
            _ => self.begin(self.window, Phase::Holding { rounds: rounds - 1, next }, now),
        }
    }

    fn hold(&mut self, level: Level, next: Trial, now: Instant) {
        self.base = Some(level);
        self.begin(level.window, Phase::Holding { rounds: HELD, next }, now);
    }

    fn attempt(&mut self, trial: Trial, now: Instant) {
        let step = |part: f64| ((self.window as f64 * part) as usize).max(1);
        let window = match trial {
            Trial::More => (self.window + step(self.step)).min(self.most),
            Trial::Fewer => self.window.saturating_sub(step(STEP / 2.0)).max(1),
        };
        let other = if trial == Trial::More { Trial::Fewer } else { Trial::More };
        match (window == self.window, self.base) {
            (true, Some(base)) => self.hold(base, other, now),
            _ => self.begin(window, Phase::Trying(trial), now),
        }
    }
}

impl Level {
    /// Whether more transfers than at `base` brought a fair part of what they could.
    fn is_worth_more_than(&self, base: Level) -> bool {
        let linear = self.window as f64 / base.window.max(1) as f64 - 1.0;
        self.goodput >= base.goodput * (1.0 + WORTH * linear)
    }

    /// Whether as many transfers as at `base` bring less because each takes longer.
    fn is_slower_than(&self, base: Level) -> bool {
        self.goodput < base.goodput * 0.8 && self.first_byte > base.first_byte * 1.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server in rounds: each transfer takes what `takes` says for so many at once, and all end together.
    struct Server {
        auto: Auto,
        now: Instant,
    }

    impl Server {
        fn new(window: usize, most: usize) -> Server {
            let now = Instant::now();
            Server { auto: Auto::new(window, most, 20, now), now }
        }

        /// Lets as many transfers as allowed, `most` at most, run `times` times.
        fn run(&mut self, times: usize, most: usize, takes: impl Fn(usize) -> Duration) -> usize {
            for _ in 0..times {
                let (released, running) = (self.now, self.auto.window().min(most));
                let takes = takes(running);
                self.now += takes;
                for ended in 0..running {
                    let running = running - ended;
                    let served = Served { released, bytes: 0, first_byte: Some(takes), running };
                    self.auto.served(served, self.now);
                }
            }
            self.auto.window()
        }

        /// Lets them run, `millis` each, until `is_there`.
        fn until(&mut self, millis: u64, is_there: impl Fn(&Auto) -> bool) {
            let mut times = 0;
            while !is_there(&self.auto) {
                self.run(1, usize::MAX, always(millis));
                times += 1;
                assert!(times < 100, "{:?}", self.auto);
            }
        }
    }

    fn always(millis: u64) -> impl Fn(usize) -> Duration {
        move |_| Duration::from_millis(millis)
    }

    /// `workers` at once, 100 ms each.
    fn workers(workers: usize) -> impl Fn(usize) -> Duration {
        move |running| Duration::from_millis(100).mul_f64((running as f64 / workers as f64).max(1.0))
    }

    #[test]
    fn it_doubles_while_that_brings_goodput_and_stops_at_the_most() {
        let mut server = Server::new(8, 1_000);
        assert_eq!(server.run(5, 9_999, always(100)), 16);
        server.run(30, 9_999, always(100));
        assert_eq!(server.auto.base.map(|base| base.window), Some(1_000));
        assert!((875..=1_000).contains(&server.run(500, 9_999, always(100))), "{}", server.auto.window());
    }

    #[test]
    fn it_stays_near_what_the_server_does_at_once() {
        for at_once in [1, 3, 20, 100, 300] {
            let mut server = Server::new(8, 1_000);
            server.run(300, 9_999, workers(at_once));
            let window = server.auto.base.map_or(0, |base| base.window);
            assert!(window * 10 >= at_once * 8 && window <= (at_once * 2).max(8), "{at_once}: {window}");
        }
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut server = Server::new(8, 1_000);
        assert_eq!(server.run(500, 7, always(100)), 8);
    }

    #[test]
    fn late_transfers_make_it_fewer_once() {
        let mut server = Server::new(100, 100);
        server.run(50, 9_999, always(100));
        let (before, released) = (server.auto.window(), server.now);
        server.now += Duration::from_secs(30);
        for _ in 0..before {
            server.auto.late(released, server.now);
        }
        assert_eq!(server.auto.window(), before * 7 / 10);
        assert!(server.run(100, 9_999, always(100)) > before * 7 / 10, "and it recovers");
    }

    #[test]
    fn answers_that_get_slower_for_everybody_make_it_fewer() {
        let mut server = Server::new(64, 64);
        server.run(50, 9_999, always(100));
        let before = server.auto.window();
        let slower = server.run(12, 9_999, always(300));
        assert!(slower < before, "{before} {slower}");
        server.auto.halve(server.now);
        assert_eq!(server.auto.window(), slower / 2);
    }

    #[test]
    fn a_moment_in_which_everything_is_slower_is_not_believed() {
        let mut server = Server::new(64, 64);
        server.run(50, 9_999, always(100));
        server.until(100, |auto| matches!(auto.phase, Phase::Holding { .. }) && auto.round.measured.is_none());
        let before = server.auto.window();
        server.until(300, |auto| matches!(auto.phase, Phase::Slower { .. }));
        server.until(100, |auto| !matches!(auto.phase, Phase::Slower { .. }));
        assert_eq!(server.auto.window(), before);
        assert!(server.auto.base.is_some(), "what it knew is still good");
    }
}
