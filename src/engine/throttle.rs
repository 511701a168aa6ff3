//! Bandwidth: how fast body bytes may come, over all transfers and over those of one host.
//!
//! A transfer that finds nothing left to take pauses in libcurl's write callback, and goes on in the turn in which there
//! is something again. Nothing sleeps. An allowance may go into debt by one write, so that the mean holds whatever the
//! sizes; how even it is depends on the sizes, which therefore follow the limit. A turn looks at those that go on, not
//! at those that wait.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::job::Host;

/// What may be saved up, in seconds of the limit: enough to make up for a turn that came late, a twentieth of the five
/// seconds over which the mean is to hold.
const DEPTH: f64 = 0.25;
/// Writes a second at the full limit. Each transfer that waits has one in its hand, and those of all are to be less than
/// what may be off; for all they are the same, so that each gets as much in its turn.
const WRITES: f64 = 128.0;
/// The shortest buffer that libcurl has.
const SHORTEST: usize = 1024;
/// What Linux begins with by itself.
const KERNELS: usize = 64 * 1024;
/// Shortest time until paused transfers are looked after.
const TICK: Duration = Duration::from_millis(20);
/// Longest time, which only a limit of next to nothing would pass.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How much the kernel may take ahead of the program, in seconds of a transfer's share of the limit: over a longer round
/// trip it cannot use all of it.
const AHEAD: f64 = 0.25;
/// Hosts whose allowances are kept before idle ones are forgotten.
const HOSTS: usize = 1024;

/// Limits in bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// For all transfers together.
    pub total: Option<u64>,
    /// For the transfers of one host together.
    pub per_host: Option<u64>,
}

/// Sizes that go with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What a transfer may take at most, in bytes a second.
    pub speed: u64,
    /// Bytes of one write.
    pub write: usize,
    /// Bytes that the kernel may have received ahead of it; `None` where it knows better: a fixed buffer does not grow,
    /// and cannot be larger than the system's `rmem_max`.
    pub ahead: Option<usize>,
}

/// Bytes that may be taken now.
#[derive(Debug)]
struct Allowance {
    rate: f64,
    level: Cell<f64>,
    filled: Cell<Instant>,
}

impl Allowance {
    fn new(rate: u64, now: Instant) -> Allowance {
        let rate = rate.max(1) as f64;
        Allowance { rate, level: Cell::new(0.0), filled: Cell::new(now) }
    }

    fn fill(&self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled.replace(now)).as_secs_f64();
        self.level.set((self.level.get() + self.rate * seconds).min(self.rate * DEPTH));
    }

    /// A byte, or a write that ends in debt, may be taken.
    fn take(&self, bytes: u64) {
        self.level.set(self.level.get() - bytes as f64);
    }

    /// Nothing is owed: a write may be taken.
    fn is_open(&self) -> bool {
        self.level.get() > -1.0
    }

    /// When it is open, if nothing is taken meanwhile.
    fn opens(&self, now: Instant) -> Instant {
        let seconds = (-self.level.get() / self.rate).max(0.0);
        now + Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).clamp(TICK, LONGEST)
    }
}

/// The transfers of one host, or of all where hosts have no limit of their own: those that wait, in the order in which
/// they paused.
#[derive(Debug)]
struct Lane {
    allowance: Option<Allowance>,
    waiting: RefCell<VecDeque<usize>>,
    /// Whether it stands in [`Throttle::line`] or [`Throttle::timers`]: never twice.
    stands: Cell<bool>,
}

impl Lane {
    fn new(rate: Option<u64>, now: Instant) -> Rc<Lane> {
        let allowance = rate.map(|rate| Allowance::new(rate, now));
        Rc::new(Lane { allowance, waiting: RefCell::default(), stands: Cell::new(false) })
    }

    /// When it may go on, unless it may now.
    fn closed_until(&self, now: Instant) -> Option<Instant> {
        let allowance = self.allowance.as_ref()?;
        allowance.fill(now);
        (!allowance.is_open()).then(|| allowance.opens(now))
    }
}

/// What one transfer must ask before it takes bytes.
#[derive(Debug, Clone)]
pub struct Permit {
    total: Option<Rc<Allowance>>,
    lane: Rc<Lane>,
}

impl Permit {
    /// Takes `bytes` when nothing is owed; otherwise the transfer must pause.
    pub fn take(&self, bytes: u64) -> bool {
        let allowances = || self.total.as_deref().into_iter().chain(&self.lane.allowance);
        let is_open = allowances().all(Allowance::is_open);
        if is_open {
            allowances().for_each(|allowance| allowance.take(bytes));
        }
        is_open
    }

    /// The sizes for a new transfer; `None` where there is no limit. A write is no longer than `longest`.
    pub fn sizes(&self, longest: usize) -> Option<Sizes> {
        // Whoever holds a permit has a reference.
        let total = self.total.as_ref().map(|total| (total.rate, Rc::strong_count(total)));
        let host = self.lane.allowance.as_ref().map(|host| (host.rate, Rc::strong_count(&self.lane)));
        let least = |rates: &dyn Fn((f64, usize)) -> f64| total.into_iter().chain(host).map(rates).reduce(f64::min);
        let (speed, share) = (least(&|(rate, _)| rate)?, least(&|(rate, count)| rate / (count - 1).max(1) as f64)?);
        Some(Sizes {
            speed: speed as u64,
            write: ((speed / WRITES) as usize).clamp(SHORTEST, longest),
            ahead: Some(((share * AHEAD) as usize).max(2048)).filter(|ahead| *ahead < KERNELS),
        })
    }
}

/// All allowances, and who waits for them.
pub struct Throttle {
    limits: Bandwidth,
    total: Option<Rc<Allowance>>,
    /// Of all transfers, where hosts have no limit of their own.
    common: Rc<Lane>,
    hosts: HashMap<Host, Rc<Lane>>,
    /// With so many hosts those that need not be remembered are forgotten.
    prune_at: usize,
    /// Lanes that owe nothing themselves, in turn.
    line: VecDeque<Rc<Lane>>,
    /// Lanes that do, by when they will have paid, and a number that tells equals apart.
    timers: BTreeMap<(Instant, u64), Rc<Lane>>,
    sequence: u64,
}

impl Throttle {
    /// Nothing saved up, nothing owed.
    pub fn new(limits: Bandwidth, now: Instant) -> Throttle {
        Throttle {
            limits,
            total: limits.total.map(|rate| Rc::new(Allowance::new(rate, now))),
            common: Lane::new(None, now),
            hosts: HashMap::new(),
            prune_at: HOSTS,
            line: VecDeque::new(),
            timers: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// The permit of a new transfer to `host`.
    pub fn permit(&mut self, host: &Host, now: Instant) -> Permit {
        Permit { total: self.total.clone(), lane: self.lane(host, now) }
    }

    fn lane(&mut self, host: &Host, now: Instant) -> Rc<Lane> {
        let Some(rate) = self.limits.per_host else { return Rc::clone(&self.common) };
        if self.hosts.len() >= self.prune_at && !self.hosts.contains_key(host) {
            // One that owes nothing is as good as a new one.
            self.hosts.retain(|_, lane| Rc::strong_count(lane) > 1 || lane.closed_until(now).is_some());
            self.prune_at = (2 * self.hosts.len()).max(HOSTS);
        }
        Rc::clone(self.hosts.entry(host.clone()).or_insert_with(|| Lane::new(Some(rate), now)))
    }

    /// A transfer paused. When it ends without being given back, nothing has to be told.
    pub fn paused(&mut self, token: usize, permit: &Permit) {
        permit.lane.waiting.borrow_mut().push_back(token);
        if !permit.lane.stands.replace(true) {
            self.line.push_back(Rc::clone(&permit.lane));
        }
    }

    /// When [`Throttle::resume`] is to be called next.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let owed = self.total.as_ref().filter(|total| !total.is_open());
        match (self.line.is_empty(), owed) {
            (true, _) => self.timers.first_key_value().map(|((at, _), _)| *at),
            (false, owed) => Some(owed.map_or(now, |total| total.opens(now))),
        }
    }

    /// The next transfer that may go on; `None` when no more may. One at a time, since each takes its bytes when it
    /// goes on; it may have ended meanwhile.
    pub fn resume(&mut self, now: Instant) -> Option<usize> {
        while let Some(first) = self.timers.first_entry().filter(|first| first.key().0 <= now) {
            self.line.push_back(first.remove());
        }
        if let Some(total) = &self.total {
            total.fill(now);
            if !total.is_open() {
                return None;
            }
        }
        while let Some(lane) = self.line.pop_front() {
            if let Some(until) = lane.closed_until(now) {
                self.sequence += 1;
                self.timers.insert((until, self.sequence), lane);
                continue;
            }
            match lane.waiting.borrow_mut().pop_front() {
                Some(token) => {
                    self.line.push_back(Rc::clone(&lane));
                    return Some(token);
                }
                None => lane.stands.set(false),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { tls: false, name: name.into(), port: 80 }
    }

    fn total(rate: u64) -> Bandwidth {
        Bandwidth { total: Some(rate), per_host: None }
    }

    /// Transfers that take writes of their size as fast as they may, in virtual time.
    struct Run {
        throttle: Throttle,
        permits: Vec<Permit>,
        now: Instant,
        awake: Vec<usize>,
        /// What each took.
        bytes: Vec<u64>,
        /// Transfers that were given back.
        resumed: usize,
    }

    impl Run {
        fn new(limits: Bandwidth, hosts: &[&str]) -> Run {
            let now = Instant::now();
            let mut throttle = Throttle::new(limits, now);
            let permits = hosts.iter().map(|name| throttle.permit(&host(name), now)).collect();
            let (awake, bytes) = ((0..hosts.len()).collect(), vec![0; hosts.len()]);
            Run { throttle, permits, now, awake, bytes, resumed: 0 }
        }

        /// Lets them run for so long, and gives what all took.
        fn run(&mut self, time: Duration) -> u64 {
            let (end, before) = (self.now + time, self.bytes.iter().sum::<u64>());
            while self.now < end {
                loop {
                    for token in std::mem::take(&mut self.awake) {
                        let write = self.permits[token].sizes(usize::MAX).expect("a limit").write as u64;
                        while self.permits[token].take(write) {
                            self.bytes[token] += write;
                        }
                        self.throttle.paused(token, &self.permits[token]);
                    }
                    let Some(token) = self.throttle.resume(self.now) else { break };
                    self.awake.push(token);
                    self.resumed += 1;
                }
                let due = self.throttle.due(self.now).expect("they wait");
                assert!(due > self.now, "it spins");
                self.now = due;
            }
            self.bytes.iter().sum::<u64>() - before
        }
    }

    #[test]
    fn every_five_seconds_have_what_the_limit_allows_however_many_share_it() {
        for limit in [2_000, 10_000, 100_000, 5_000_000, 1_000_000_000] {
            for count in [1, 7, 200] {
                for limits in [total(limit), Bandwidth { total: None, per_host: Some(limit) }] {
                    let mut run = Run::new(limits, &vec!["a"; count]);
                    for second in 0..10 {
                        let (bytes, wanted) = (run.run(Duration::from_secs(5)), limit * 5);
                        let even = bytes.abs_diff(wanted) <= wanted / 10;
                        assert!(even, "{limits:?} x {count}: {bytes} of {wanted} from {second} on");
                    }
                }
            }
        }
    }

    #[test]
    fn those_who_share_get_about_the_same() {
        let mut run = Run::new(total(1_000_000), &["a"; 10]);
        run.run(Duration::from_secs(10));
        let (least, most) = (run.bytes.iter().min(), run.bytes.iter().max());
        assert!(least.zip(most).is_some_and(|(least, most)| most - least <= 50_000), "{:?}", run.bytes);
    }

    #[test]
    fn each_host_has_its_own_limit_and_all_together_theirs() {
        let limits = Bandwidth { total: Some(1_000_000), per_host: Some(400_000) };
        let mut run = Run::new(limits, &["a", "b", "b", "b", "c"]);
        assert!(run.run(Duration::from_secs(10)).abs_diff(10_000_000) <= 500_000, "{:?}", run.bytes);
        let hosts = [run.bytes[0], run.bytes[1..4].iter().sum(), run.bytes[4]];
        assert!(hosts.iter().all(|bytes| (3_000_000..=4_200_000).contains(bytes)), "{hosts:?}");
    }

    #[test]
    fn one_who_may_not_go_on_keeps_no_other_waiting() {
        let limits = Bandwidth { total: Some(1_000_000), per_host: Some(10_000) };
        let mut run = Run::new(limits, &["a", "a", "a", "b"]);
        run.run(Duration::from_secs(10));
        assert!(run.bytes[3].abs_diff(100_000) <= 10_000, "{:?}", run.bytes);
    }

    #[test]
    fn only_those_that_go_on_cost_anything() {
        let mut run = Run::new(total(1_000_000), &["a"; 5000]);
        run.run(Duration::from_secs(10));
        assert!(run.resumed <= 10 * 129, "{} for 10 s", run.resumed);
        let hosts: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let limits = Bandwidth { total: Some(1_000_000), per_host: Some(100_000) };
        let mut run = Run::new(limits, &hosts);
        run.run(Duration::from_secs(10));
        assert!(run.resumed <= 10 * 978, "{} for 10 s", run.resumed);
    }

    #[test]
    fn what_was_not_taken_is_saved_up_for_a_moment_only() {
        let mut run = Run::new(total(1_000_000), &["a"]);
        run.run(Duration::from_secs(1));
        run.now += Duration::from_secs(60);
        let bytes = run.run(Duration::from_secs(1));
        assert!((1_200_000..1_320_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn transfers_that_ended_meanwhile_hold_nobody_up() {
        let now = Instant::now();
        let mut throttle = Throttle::new(Bandwidth { total: None, per_host: Some(1000) }, now);
        let permit = throttle.permit(&host("a"), now);
        for token in 0..3 {
            throttle.paused(token, &permit);
        }
        let resumed: Vec<usize> = std::iter::from_fn(|| throttle.resume(now)).collect();
        assert_eq!(resumed, [0, 1, 2], "none of them takes anything");
        assert_eq!((throttle.due(now), throttle.timers.len()), (None, 0));
    }

    #[test]
    fn sizes_follow_the_limit_and_the_number_that_share_it() {
        let limits = |total, per_host| Bandwidth { total, per_host };
        for (limits, count, speed, write, ahead) in [
            (limits(Some(10_240), None), 1, 10_240, 1024, Some(2560)),
            (limits(Some(10_240), None), 20, 10_240, 1024, Some(2048)),
            (limits(Some(5 << 20), None), 1, 5 << 20, 5 << 13, None),
            (limits(Some(5 << 20), None), 40, 5 << 20, 5 << 13, Some(32_768)),
            (limits(Some(1 << 40), Some(1 << 20)), 8, 1 << 20, 1 << 13, Some(1 << 15)),
            (limits(None, Some(1 << 40)), 1, 1 << 40, 1 << 22, None),
        ] {
            let now = Instant::now();
            let mut throttle = Throttle::new(limits, now);
            let permits: Vec<Permit> = (0..count).map(|_| throttle.permit(&host("a"), now)).collect();
            assert_eq!(permits[0].sizes(1 << 22), Some(Sizes { speed, write, ahead }), "{limits:?} x {count}");
        }
    }

    #[test]
    fn without_limits_nothing_waits() {
        let now = Instant::now();
        let mut throttle = Throttle::new(Bandwidth::default(), now);
        let permit = throttle.permit(&host("a"), now);
        assert!(permit.take(u64::MAX) && permit.take(1) && permit.sizes(1).is_none());
        assert_eq!((throttle.due(now), throttle.resume(now)), (None, None));
    }

    #[test]
    fn what_a_host_has_taken_too_much_is_remembered_among_any_number_of_hosts() {
        let now = Instant::now();
        let mut throttle = Throttle::new(Bandwidth { total: None, per_host: Some(1) }, now);
        throttle.permit(&host("greedy"), now).take(1000);
        for number in 0..HOSTS * 3 {
            throttle.permit(&host(&number.to_string()), now);
        }
        assert!(!throttle.permit(&host("greedy"), now).take(1));
        assert!(throttle.hosts.len() <= HOSTS, "the others are forgotten");
    }
}
