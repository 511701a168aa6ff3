//! Jobs, options and a world of servers in virtual time, for the tests of this room.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::retry::{Attempt, Retry};
use super::{Ahead, Budget, Jobs, Next, Options, Schedule, Verdict, Window};
use crate::job::{ErrorClass, Failure, Hop, Host, Job, Origin, Stats};

/// The defaults of the command line.
pub const RETRY: Retry =
    Retry { retries: 4, delay: None, max_time: Duration::from_secs(3600), retry_after_max: Duration::from_secs(300) };

/// `jobs` at once, of one host too.
pub fn options(jobs: usize) -> Options {
    Options {
        jobs: Jobs::Fixed(jobs),
        per_host: jobs,
        rate: None,
        rate_per_host: None,
        retry: RETRY,
        window: window(16_384),
        budget: Budget::Unlimited,
        seed: 7,
    }
}

/// So many jobs of up to 16 MiB.
pub fn window(jobs: usize) -> Window {
    Window { jobs, bytes: 16 << 20, ahead: Ahead::Hosts }
}

/// A host without TLS.
pub fn host(name: &str) -> Host {
    Host { tls: false, name: name.into(), port: 80 }
}

/// A job as it is read.
pub fn job(urlnum: u64, name: &str, now: Instant) -> Job {
    let origin = Origin { source: "list".into(), line: urlnum + 1 };
    Job { urlnum, origin, accepted: now, ..Job::of(host(name)) }
}

/// A redirect to a host.
pub fn hop(name: &str) -> Box<Hop> {
    let (url, from) = (String::new(), String::new());
    Box::new(Hop {
        url,
        fragment: None,
        host: host(name),
        from,
        without_body: false,
        heads: 0,
        stats: Stats::default(),
    })
}

/// What a server does with one request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Until the attempt ends.
    pub takes: Duration,
    /// Until the connection stands; `None`: it never does.
    pub connects: Option<Duration>,
    /// Its end.
    pub outcome: Result<u64, Failure>,
    /// The response.
    pub status: Option<u32>,
    /// Its Retry-After.
    pub retry_after: Option<Duration>,
    /// The server that it leads to.
    pub leads: Option<&'static str>,
}

impl Reply {
    /// 200 after `takes`.
    pub fn ok(takes: Duration) -> Reply {
        let connects = Some(takes.min(Duration::from_millis(1)));
        Reply { takes, connects, outcome: Ok(1024), status: Some(200), retry_after: None, leads: None }
    }

    /// Another status after a millisecond.
    pub fn status(status: u32, retry_after: Option<Duration>) -> Reply {
        let outcome = Err(Failure::new(ErrorClass::Http, 22, format!("HTTP {status}")));
        Reply { outcome, status: Some(status), retry_after, ..Reply::ok(Duration::from_millis(1)) }
    }

    /// No connection, after `takes`.
    pub fn unreachable(class: ErrorClass, takes: Duration) -> Reply {
        let outcome = Err(Failure::new(class, 7, "no connection"));
        Reply { takes, connects: None, outcome, status: None, retry_after: None, leads: None }
    }

    /// A redirect, after a millisecond.
    pub fn leads(to: &'static str) -> Reply {
        Reply { status: Some(302), leads: Some(to), ..Reply::ok(Duration::from_millis(1)) }
    }
}

/// A server: what it does with a request that arrives at a time since the beginning.
pub type Server = Box<dyn FnMut(Duration) -> Reply>;

/// `workers` requests at once, each for `takes`; the others wait.
pub fn busy(workers: usize, takes: Duration) -> Server {
    let mut free_at = vec![Duration::ZERO; workers];
    Box::new(move |now| {
        let next = free_at.iter_mut().min().expect("workers");
        *next = (*next).max(now) + takes;
        Reply::ok(*next - now)
    })
}

/// Every request after `takes`, however many.
pub fn slow(takes: Duration) -> Server {
    Box::new(move |_| Reply::ok(takes))
}

/// `limit` requests at once, each for `takes`; the others get `refusal` at once.
pub fn refusing(limit: usize, takes: Duration, refusal: Reply) -> Server {
    let mut ends: Vec<Duration> = Vec::new();
    Box::new(move |now| {
        ends.retain(|end| *end > now);
        if ends.len() >= limit {
            return refusal.clone();
        }
        ends.push(now + takes);
        Reply::ok(takes)
    })
}

/// An attempt that a server saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When, since the beginning.
    pub at: Duration,
    /// The response.
    pub status: Option<u32>,
}

/// A job's end.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When, since the beginning.
    pub at: Duration,
    /// As it was given back.
    pub job: Job,
    /// How.
    pub outcome: Result<(), Failure>,
}

enum Event {
    Connected(Host),
    Ended(Box<Job>, Reply),
}

/// A run in virtual time.
pub struct World {
    /// What is tested.
    pub schedule: Schedule,
    servers: HashMap<String, Server>,
    list: Box<dyn Iterator<Item = String>>,
    is_read: bool,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    begin: Instant,
    /// The virtual time.
    pub now: Instant,
    /// The attempts at each server.
    pub seen: HashMap<String, Vec<Seen>>,
    /// The jobs that ended, in order.
    pub ended: Vec<Ended>,
    /// Most jobs that waited at once.
    pub most_waiting: usize,
    /// Transfers that run at each server, and the most there ever were.
    pub running: HashMap<String, (usize, usize)>,
    /// Decisions made.
    pub decisions: u64,
}

impl World {
    /// A list of host names, one line each.
    pub fn new(options: Options, list: impl Iterator<Item = String> + 'static) -> World {
        let now = Instant::now();
        World {
            schedule: Schedule::new(options, now),
            servers: HashMap::new(),
            list: Box::new(list),
            is_read: false,
            events: BTreeMap::new(),
            sequence: 0,
            begin: now,
            now,
            seen: HashMap::new(),
            ended: Vec::new(),
            most_waiting: 0,
            running: HashMap::new(),
            decisions: 0,
        }
    }

    /// Adds a server; names without one answer at once.
    pub fn with(mut self, name: &str, server: Server) -> World {
        self.servers.insert(name.to_owned(), server);
        self
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.begin
    }

    /// Runs to the end.
    pub fn run(mut self) -> World {
        while self.turn() {}
        assert_eq!((self.schedule.running(), self.schedule.waiting()), (0, 0));
        self
    }

    /// Runs until `elapsed`.
    pub fn run_until(mut self, elapsed: Duration) -> World {
        while self.elapsed() < elapsed && self.turn() {}
        self
    }

    /// One turn of the loop; whether there is more to do.
    pub fn turn(&mut self) -> bool {
        self.read();
        self.start();
        while !self.is_read && self.schedule.wants_more() {
            self.read();
            self.start();
        }
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = event.into_iter().chain(self.schedule.deadline()).min() else {
            assert!(self.is_read && self.schedule.waiting() == 0, "stuck with {} jobs", self.schedule.waiting());
            return false;
        };
        assert!(next > self.now || event == Some(next), "the loop spins");
        self.now = self.now.max(next);
        while let Some(first) = self.events.first_entry().filter(|first| first.key().0 <= self.now) {
            match first.remove() {
                Event::Connected(host) => self.schedule.connected(&host, self.now),
                Event::Ended(job, reply) => self.end(*job, reply),
            }
        }
        true
    }

    fn read(&mut self) {
        while !self.is_read && self.schedule.wants_more() {
            self.decisions += 1;
            match self.list.next() {
                Some(name) => {
                    self.sequence += 1;
                    self.schedule.push(job(self.sequence, &name, self.now), self.now);
                }
                None => self.is_read = true,
            }
        }
        self.most_waiting = self.most_waiting.max(self.schedule.waiting());
    }

    fn start(&mut self) {
        loop {
            self.decisions += 1;
            match self.schedule.next(self.now) {
                Next::Wait => return,
                Next::Fail(job, failure) => self.settle(job, Err(failure)),
                Next::Start(job) => self.serve(job),
            }
        }
    }

    fn serve(&mut self, job: Job) {
        let (at, name) = (self.elapsed(), job.target().name.to_string());
        let reply = match self.servers.get_mut(&name) {
            Some(server) => server(at),
            None => Reply::ok(Duration::from_micros(500)),
        };
        let (running, most) = self.running.entry(name.clone()).or_default();
        *running += 1;
        *most = (*most).max(*running);
        let seen = Seen { at, status: reply.status };
        self.seen.entry(name).or_default().push(seen);
        self.sequence += 2;
        if let Some(connects) = reply.connects {
            let event = Event::Connected(job.target().clone());
            self.events.insert((self.now + connects, self.sequence - 1), event);
        }
        self.events.insert((self.now + reply.takes, self.sequence), Event::Ended(Box::new(job), reply));
    }

    fn end(&mut self, job: Job, reply: Reply) {
        self.decisions += 1;
        self.running.get_mut(&*job.target().name).expect("started").0 -= 1;
        let attempt = Attempt {
            outcome: reply.outcome.as_ref().map(drop),
            status: reply.status,
            retry_after: reply.retry_after,
            connected: reply.connects.is_some(),
            first_byte: Some(reply.takes),
            bytes: reply.outcome.as_ref().copied().unwrap_or(0),
        };
        match self.schedule.ended(job, &attempt, self.now) {
            Verdict::Settled(job) => match reply.leads {
                None => self.settle(job, reply.outcome.map(drop)),
                Some(to) => self.follow(job, to),
            },
            Verdict::Failed(job, failure) => self.settle(job, Err(failure)),
            Verdict::Kept => {}
        }
    }

    fn follow(&mut self, job: Job, to: &str) {
        let job = Job { hop: Some(hop(to)), ..job };
        if let Some(job) = self.schedule.follow(job, self.now) {
            self.settle(job, Err(Failure::new(ErrorClass::Cancelled, 42, "stopped")));
        }
    }

    fn settle(&mut self, job: Job, outcome: Result<(), Failure>) {
        self.ended.push(Ended { at: self.elapsed(), job, outcome });
    }

    /// Jobs of `name` that ended ok, at which times.
    pub fn ok(&self, name: &str) -> Vec<Duration> {
        let of = |ended: &&Ended| &*ended.job.host.name == name && ended.outcome.is_ok();
        self.ended.iter().filter(of).map(|ended| ended.at).collect()
    }

    /// Jobs that failed.
    pub fn failed(&self) -> Vec<&Ended> {
        self.ended.iter().filter(|ended| ended.outcome.is_err()).collect()
    }
}

/// `count` lines for `name`.
pub fn lines(name: &str, count: usize) -> impl Iterator<Item = String> + use<> {
    let name = name.to_owned();
    std::iter::repeat_with(move || name.clone()).take(count)
}
