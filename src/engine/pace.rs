//! Bandwidth: how fast body bytes may come, over all transfers and over those of one host.
//!
//! A transfer that finds its bucket empty pauses in libcurl's write callback, and goes on when a later turn has filled
//! the bucket. Nothing sleeps. Buckets may go into debt by one write, so that the mean holds whatever the sizes.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::job::Host;

/// What a bucket holds at most, in seconds of its rate: short enough to be smooth.
const DEPTH: f64 = 0.1;
/// How often paused transfers are looked after.
const TICK: Duration = Duration::from_millis(20);
/// Hosts whose buckets are kept before idle ones are forgotten.
const HOSTS: usize = 1024;

/// Limits in bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// For all transfers together.
    pub total: Option<u64>,
    /// For the transfers of one host together.
    pub per_host: Option<u64>,
}

impl Limits {
    /// The lowest limit that a single transfer meets.
    pub fn lowest(&self) -> Option<u64> {
        self.total.into_iter().chain(self.per_host).min()
    }
}

/// Bytes that may be taken now.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    level: Cell<f64>,
    filled: Cell<Instant>,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Rc<Bucket> {
        let rate = rate.max(1) as f64;
        Rc::new(Bucket { rate, level: Cell::new(rate * DEPTH), filled: Cell::new(now) })
    }

    fn fill(&self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled.replace(now)).as_secs_f64();
        self.level.set((self.level.get() + self.rate * seconds).min(self.rate * DEPTH));
    }

    fn is_open(&self) -> bool {
        self.level.get() > 0.0
    }

    fn is_full_at(&self, now: Instant) -> bool {
        self.fill(now);
        self.level.get() >= self.rate * DEPTH
    }
}

/// What one transfer must ask before it takes bytes.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    total: Option<Rc<Bucket>>,
    host: Option<Rc<Bucket>>,
}

impl Meter {
    /// Takes `bytes` when the buckets are open; otherwise the transfer must pause.
    pub fn take(&self, bytes: u64) -> bool {
        let mut buckets = self.total.iter().chain(&self.host);
        if !buckets.clone().all(|bucket| bucket.is_open()) {
            return false;
        }
        buckets.by_ref().for_each(|bucket| bucket.level.set(bucket.level.get() - bytes as f64));
        true
    }

    fn is_open(&self) -> bool {
        self.total.iter().chain(&self.host).all(|bucket| bucket.is_open())
    }
}

/// All buckets, and who waits for them.
pub struct Pace {
    limits: Limits,
    total: Option<Rc<Bucket>>,
    hosts: HashMap<Host, Rc<Bucket>>,
    /// With so many hosts those that need not be remembered are forgotten.
    prune_at: usize,
    /// In the order in which they paused: everyone gets a turn.
    paused: VecDeque<(usize, Meter)>,
    due: Option<Instant>,
}

impl Pace {
    /// Full buckets.
    pub fn new(limits: Limits, now: Instant) -> Pace {
        let total = limits.total.map(|rate| Bucket::new(rate, now));
        Pace { limits, total, hosts: HashMap::new(), prune_at: HOSTS, paused: VecDeque::new(), due: None }
    }

    /// The meter of a new transfer to `host`.
    pub fn meter(&mut self, host: &Host, now: Instant) -> Meter {
        let host = self.limits.per_host.map(|rate| {
            if self.hosts.len() >= self.prune_at && !self.hosts.contains_key(host) {
                // One that is full again is as good as a new one.
                self.hosts.retain(|_, bucket| Rc::strong_count(bucket) > 1 || !bucket.is_full_at(now));
                self.prune_at = (2 * self.hosts.len()).max(HOSTS);
            }
            let bucket = self.hosts.entry(host.clone()).or_insert_with(|| Bucket::new(rate, now));
            Rc::clone(bucket)
        });
        Meter { total: self.total.clone(), host }
    }

    /// A transfer paused.
    pub fn paused(&mut self, token: usize, meter: Meter, now: Instant) {
        self.paused.push_back((token, meter));
        self.due.get_or_insert(now + TICK);
    }

    /// When [`Pace::resume`] is to be called next.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Fills the buckets and gives the next transfer that may go on; `None` when no more may. One at a time, since
    /// each takes from the buckets when it goes on.
    pub fn resume(&mut self, now: Instant) -> Option<usize> {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.total.iter().chain(self.hosts.values()).for_each(|bucket| bucket.fill(now));
        }
        let open = self.total.as_ref().is_none_or(|bucket| bucket.is_open());
        let next = match open && self.due.is_none() {
            true => self.paused.iter().position(|(_, meter)| meter.is_open()),
            false => None,
        };
        if next.is_none() && !self.paused.is_empty() {
            self.due.get_or_insert(now + TICK);
        }
        next.and_then(|index| self.paused.remove(index)).map(|(token, _)| token)
    }

    /// A transfer ended.
    pub fn forget(&mut self, token: usize) {
        self.paused.retain(|(paused, _)| *paused != token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { tls: false, name: name.into(), port: 80 }
    }

    /// Bytes that transfers to these hosts get in `seconds`, each taking pieces of 16 KiB as fast as it may.
    fn served(limits: Limits, hosts: &[&str], seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(limits, start);
        let meters: Vec<Meter> = hosts.iter().map(|name| pace.meter(&host(name), start)).collect();
        let mut bytes = vec![0; hosts.len()];
        let mut awake: Vec<usize> = (0..hosts.len()).collect();
        for tick in 0..seconds * 100 {
            let now = start + Duration::from_millis(tick * 10);
            loop {
                for token in std::mem::take(&mut awake) {
                    while meters[token].take(16_384) {
                        bytes[token] += 16_384;
                    }
                    pace.paused(token, meters[token].clone(), now);
                }
                match pace.resume(now) {
                    Some(token) => awake.push(token),
                    None => break,
                }
            }
        }
        bytes
    }

    #[test]
    fn the_mean_is_the_limit_however_many_share_it() {
        for (count, limit) in [(1, 100_000), (1, 10_000_000), (7, 1_000_000), (200, 1_000_000)] {
            let hosts = vec!["a"; count];
            for limits in [Limits { total: Some(limit), per_host: None }, Limits { total: None, per_host: Some(limit) }]
            {
                let sum: u64 = served(limits, &hosts, 5).iter().sum();
                let wanted = limit * 5;
                assert!(sum.abs_diff(wanted) <= wanted / 10 + 16_384, "{limits:?} x {count}: {sum} of {wanted}");
            }
        }
    }

    #[test]
    fn those_who_share_get_about_the_same() {
        let bytes = served(Limits { total: Some(1_000_000), per_host: None }, &["a"; 10], 10);
        let (least, most) = (bytes.iter().min(), bytes.iter().max());
        assert!(least.zip(most).is_some_and(|(least, most)| most - least <= 10 * 16_384), "{bytes:?}");
    }

    #[test]
    fn each_host_has_its_own_limit_and_all_together_theirs() {
        let bytes = served(Limits { total: Some(1_000_000), per_host: Some(400_000) }, &["a", "b", "c"], 10);
        assert!(bytes.iter().sum::<u64>().abs_diff(10_000_000) <= 1_000_000, "{bytes:?}");
        assert!(bytes.iter().all(|bytes| *bytes <= 4_400_000), "{bytes:?}");
    }

    #[test]
    fn without_limits_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(Limits::default(), now);
        assert!(pace.meter(&host("a"), now).take(u64::MAX));
        assert_eq!((pace.due(), pace.resume(now)), (None, None));
    }

    #[test]
    fn what_a_host_has_taken_too_much_is_remembered_among_any_number_of_hosts() {
        let now = Instant::now();
        let mut pace = Pace::new(Limits { total: None, per_host: Some(1) }, now);
        pace.meter(&host("greedy"), now).take(1000);
        for number in 0..HOSTS * 3 {
            pace.meter(&host(&number.to_string()), now);
        }
        assert!(!pace.meter(&host("greedy"), now).is_open());
    }

    #[test]
    fn buckets_of_hosts_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let mut pace = Pace::new(Limits { total: None, per_host: Some(1) }, now);
        for number in 0..HOSTS * 3 {
            pace.meter(&host(&number.to_string()), now);
        }
        assert!(pace.hosts.len() <= HOSTS);
    }
}
