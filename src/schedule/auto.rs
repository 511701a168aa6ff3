//! `-j auto`: finds how many transfers at once are worth it, for one host or for all together.
//!
//! Works in rounds with a fixed number of transfers. By Little's law the goodput of a round is that number times the
//! mean work of a transfer over its mean duration; only attempts that began in the round count. While doubling brings
//! goodput, it doubles; then it tries a little more and a little less in turn and keeps what is better, fewer if it
//! makes no difference. Deadlines that pass, and answers that get slower without more goodput, make it fewer at once.

use std::time::{Duration, Instant};

/// What a transfer is worth besides its bytes: of small files the number counts, of large ones the bytes.
const REQUEST: f64 = 32.0 * 1024.0;
/// A round lasts at least so long: shorter ones measure the machine's scheduler.
const ROUND: Duration = Duration::from_millis(100);
/// And has at least so many successes: fewer say nothing about a mean.
const SUCCESSES: u32 = 32;
/// The part of a linear gain that more transfers must bring.
const WORTH: f64 = 0.4;
/// Rounds between two trials.
const HELD: u32 = 2;
/// The first step of a trial, as a part of the transfers; it doubles with each that was worth it.
const STEP: f64 = 0.25;
/// Fewer transfers are kept when they bring this part of the goodput.
const AS_GOOD: f64 = 0.97;

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
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trial {
    More,
    Fewer,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    successes: u32,
    /// Whether the window was used up.
    is_full: bool,
    late: usize,
    work: f64,
    seconds: f64,
    first_byte: f64,
}

impl Round {
    fn new(now: Instant) -> Round {
        Round { began: now, successes: 0, is_full: false, late: 0, work: 0.0, seconds: 0.0, first_byte: 0.0 }
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
        if served.released < self.round.began {
            return;
        }
        let enough = self.successes();
        let round = &mut self.round;
        round.successes += 1;
        // Those that began together end together: the first of them saw all.
        round.is_full |= served.running >= self.window;
        round.work += served.bytes as f64 + REQUEST;
        round.seconds += now.saturating_duration_since(served.released).as_secs_f64();
        round.first_byte += served.first_byte.unwrap_or_default().as_secs_f64();
        if round.successes >= enough && now.saturating_duration_since(round.began) >= ROUND {
            self.end_round(now);
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

    /// Successes that make a round.
    fn successes(&self) -> u32 {
        let rounds = match self.phase {
            Phase::Rising => 1,
            Phase::Holding { .. } | Phase::Trying(_) => 2,
            Phase::Doubting => 4,
        };
        u32::try_from(self.window * rounds).unwrap_or(u32::MAX).max(SUCCESSES)
    }

    fn begin(&mut self, window: usize, phase: Phase, now: Instant) {
        self.window = window.clamp(1, self.most);
        self.phase = phase;
        self.round = Round::new(now);
    }

    fn end_round(&mut self, now: Instant) {
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
            goodput: self.window as f64 * round.work / round.seconds.max(1e-9),
            first_byte: round.first_byte / f64::from(round.successes),
        };
        match (self.phase, self.base) {
            (Phase::Rising | Phase::Doubting, Some(base)) if !level.is_worth_more_than(base) => {
                if self.phase == Phase::Rising {
                    return self.phase = Phase::Doubting;
                }
                let better = if level.goodput > base.goodput * 1.1 { level } else { base };
                self.hold(better, Trial::More, now);
            }
            (Phase::Rising | Phase::Doubting, _) => {
                self.base = Some(level);
                match self.window < self.most {
                    true => self.begin(self.window * 2, Phase::Rising, now),
                    false => self.hold(level, Trial::Fewer, now),
                }
            }
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
        if level.goodput < base.goodput * 0.8 && level.first_byte > base.first_byte * 1.5 {
            // It got slower for everybody: that is not the time to insist.
            return self.fewer(self.window * 4 / 5, now);
        }
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
}
