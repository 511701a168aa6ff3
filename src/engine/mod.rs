//! Bytes in motion: one libcurl multi handle on one mio poll.
//!
//! [`Engine::start`] hands a job over, [`Engine::wait`] lets the network move until something happened, and
//! [`Engine::finished`] gives each job back once, with how its attempt ended. The engine decides nothing: no retry,
//! no name, no priority; it knows no file and no output.

mod auth;
mod classify;
mod coding;
mod cookies;
mod deadlines;
mod disposition;
mod done;
mod easy;
mod extras;
mod fault;
mod ffi;
mod gate;
mod hosts;
mod idle;
mod info;
mod probe;
#[cfg(test)]
mod properties;
mod range;
mod redirect;
mod response;
mod route;
mod selector;
mod stats;
mod throttle;
mod timer;
mod tls;
mod transfer;
mod turn;
mod version;
mod waiter;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use curl::multi::Easy2Handle;
use mio::Registry;

pub use auth::{Identity, Method as AuthMethod, Secret, Token};
pub use deadlines::{Deadlines, SlowLimit};
pub use done::Done;
pub use easy::{Coding, Http, Method, Options as Request, Referer, Schemes};
pub use fault::{Callback, Fault};
pub use ffi::stdout_was_closed;
pub use probe::{client_is_usable, curves_are_known, high_descriptors_work};
pub use redirect::Rules as Redirects;
pub use route::{Family, Route};
pub use throttle::Bandwidth;
pub use tls::{Client, Tls, Verify};
pub use version::{check as check_version, describe as describe_version};
pub use waiter::{Turn, Wake};

use self::cookies::Jar;
use self::deadlines::Pulse;
use self::easy::{Connection, Setup};
use self::extras::Headers;
use self::fault::Trap;
use self::ffi::{Callbacks, EventMulti, Watch};
use self::gate::Gates;
use self::hosts::Hosts;
use self::idle::Idle;
use self::route::Names;
use self::selector::Selector;
use self::throttle::Throttle;
use self::timer::Timer;
use self::transfer::{Expect, Tidings, Transfer};
use self::waiter::{Ready, Waiter};
use crate::job::{ErrorClass, Extra, Failure, Hop, Host, Job, Stats};
use crate::sink::Body;

/// One lookup out of so many has libcurl's cache of addresses pruned.
const PRUNE_EVERY: u64 = 1024;

/// With so many transfers running, the connection of the first one to yet another host is not kept: there are more
/// hosts than connections, and each idle one costs a walk over all of them.
const CROWDED: usize = 512;

/// Bytes of continued bodies that are read back to be hashed in one turn: some milliseconds of it.
const READ_BACK: u64 = 4 << 20;

/// How transfers are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How requests are made.
    pub request: Request,
    /// When an attempt is given up.
    pub deadlines: Deadlines,
    /// Connections that are kept, those in use among them.
    pub connections: usize,
    /// What is told of transfers beyond what every record tells.
    pub extras: Rc<[Extra]>,
    /// What goes wrong on purpose.
    pub fault: Option<Fault>,
}

/// A running transfer, for progress.
pub struct Running<'a> {
    /// The job.
    pub job: &'a Job,
    /// Body bytes so far.
    pub received: u64,
    /// Body bytes in all, where the server said so.
    pub expected: Option<u64>,
    /// When the attempt began.
    pub started: Instant,
}

/// libcurl's two callbacks: what they touch may not be borrowed while libcurl runs.
struct Reactor {
    selector: Selector,
    timer: Timer,
    socket_trap: Trap,
    timer_trap: Trap,
}

impl Reactor {
    fn new(registry: Registry, fault: Option<Fault>, now: Instant) -> Reactor {
        let [socket_trap, timer_trap] = [Callback::Socket, Callback::Timer].map(|callback| Trap::new(fault, callback));
        Reactor { selector: Selector::new(registry), timer: Timer::new(now), socket_trap, timer_trap }
    }
}

impl Callbacks for Reactor {
    fn socket(&self, token: usize, fd: RawFd, watch: Watch) {
        self.socket_trap.pass(1);
        self.selector.watch(token, fd, watch);
    }

    fn timer(&self, timeout: Option<Duration>) {
        self.timer_trap.pass(1);
        self.timer.set(timeout);
    }
}

/// A transfer in the multi handle.
struct Entry {
    handle: Easy2Handle<Transfer>,
    job: Job,
    pulse: Pulse,
}

/// The transfers and what moves them.
pub struct Engine {
    options: Options,
    /// Before `multi`: a transfer must be removed while its multi handle lives.
    running: BTreeMap<usize, Entry>,
    multi: EventMulti<Reactor>,
    reactor: Rc<Reactor>,
    waiter: Waiter,
    ready: Vec<Ready>,
    tidings: Rc<Tidings>,
    hosts: Hosts,
    gates: Gates,
    /// Hosts whose connections came to stand in this turn.
    connected: Vec<Host>,
    throttle: Throttle,
    /// Transfers whose bytes cannot be kept for now.
    crowded: Vec<usize>,
    /// Where cookies are kept.
    jar: Option<Jar>,
    /// Attempts that are over; some of their bodies may wait for the disk, or have to catch up.
    finished: VecDeque<Done>,
    /// Of [`READ_BACK`], what is left for this turn.
    read_back: u64,
    /// Connections on which a transfer ended in this turn while others run on them.
    shared: BTreeSet<RawFd>,
    notes: Vec<String>,
    /// libcurl's own sockets that epoll refused; served at each sweep.
    unwatched: Vec<RawFd>,
    /// Transfers with lower tokens ran when one last found no descriptor.
    starved: usize,
    next_token: usize,
    sweep: Option<Instant>,
    /// Turns in a row that had no time for the sweep that is due.
    put_off: usize,
    idle: Idle,
    #[cfg(debug_assertions)]
    actions: u64,
    /// Transfers so far that had a name looked up.
    lookups: u64,
}

impl Engine {
    /// An engine without transfers.
    pub fn new(options: Options, now: Instant) -> anyhow::Result<Engine> {
        let waiter = Waiter::new()?;
        let reactor = Rc::new(Reactor::new(waiter.registry()?, options.fault, now));
        let throttle = Throttle::new(options.request.bandwidth, now);
        let jar = options.request.jar.as_deref().map(Jar::new).transpose().context("make a cookie jar")?;
        let tidings = Rc::new(Tidings::new(options.fault));
        Ok(Engine {
            jar,
            multi: multi(&options, &reactor)?,
            options,
            running: BTreeMap::new(),
            reactor,
            waiter,
            ready: Vec::new(),
            tidings,
            hosts: Hosts::default(),
            gates: Gates::default(),
            connected: Vec::new(),
            throttle,
            crowded: Vec::new(),
            finished: VecDeque::new(),
            read_back: READ_BACK,
            shared: BTreeSet::new(),
            notes: Vec::new(),
            unwatched: Vec::new(),
            starved: 0,
            // 0 is what libcurl's own handles have.
            next_token: 1,
            sweep: None,
            put_off: 0,
            idle: Idle::default(),
            #[cfg(debug_assertions)]
            actions: 0,
            lookups: 0,
        })
    }

    /// Starts an attempt. It always comes back through [`Engine::finished`], also when it could not start.
    pub fn start(&mut self, job: Job, body: Body, now: Instant) {
        if let Some(failure) = body.refusal().cloned() {
            self.finished.push_back(Done::unsent(job, failure, now));
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        let expect = match (self.options.request.method, self.options.request.coding) {
            (Method::Head, _) => Expect::Nothing,
            (Method::Get, Coding::AsSent) => Expect::AsSent,
            (Method::Get, Coding::Decoded) => Expect::Decoded,
        };
        let (pass, permit) = (self.gates.pass(job.target()), self.throttle.permit(job.target(), now));
        let cookies = self.jar.as_ref().map(Jar::share);
        let transfer = Transfer::new(token, Rc::clone(&self.tidings), expect, pass, permit, cookies, body);
        let transfer = transfer.keeping(Headers::new(Rc::clone(&self.options.extras)));
        let setup = self.setup(&job, now);
        let added = easy::configure(&self.options.request, &setup, token, transfer)
            .map_err(|error| Failure::new(ErrorClass::Local, classify::code_number(error.code()), error.to_string()))
            .and_then(|mut easy| {
                extras::ask(&mut easy, &self.options.extras);
                self.multi.add2(easy).map_err(|error| Failure::local(format!("add a transfer: {error}")).passing())
            });
        match added {
            Ok(handle) => {
                let pulse = Pulse::new(now, job.spent());
                self.running.insert(token, Entry { handle, job, pulse });
                if self.sweep.is_none() {
                    self.sweep = Some(now + self.options.deadlines.interval());
                }
            }
            Err(failure) => self.finished.push_back(Done::unsent(job, failure, now)),
        }
    }

    /// How this attempt differs from others.
    fn setup<'a>(&mut self, job: &'a Job, now: Instant) -> Setup<'a> {
        let host = job.target();
        let h2 = host.tls || self.options.request.http == Http::PriorKnowledge;
        let pipewait = h2 && self.hosts.may_multiplex(host);
        if !self.hosts.look_up(host, now) {
            let names = self.hosts.address(host).map_or(Names::Keep, Names::Tell);
            return Setup { job, pipewait, names, connection: Connection::Keep };
        }
        self.lookups += 1;
        let names = if self.lookups.is_multiple_of(PRUNE_EVERY) { Names::Prune } else { Names::Renew };
        let crowded = self.running.len() >= CROWDED;
        Setup { job, pipewait, names, connection: if crowded { Connection::Close } else { Connection::Keep } }
    }

    /// Jobs handed over and not yet given back.
    pub fn in_flight(&self) -> usize {
        self.running.len() + self.finished.len()
    }

    /// Hosts to which a connection came to stand since the last call.
    pub fn connected(&mut self) -> Vec<Host> {
        std::mem::take(&mut self.connected)
    }

    /// Body bytes received so far, by all transfers.
    pub fn received(&self) -> u64 {
        self.tidings.received.get()
    }

    /// The running transfers, the longest-running first.
    pub fn running(&self) -> impl Iterator<Item = Running<'_>> {
        self.running.values().map(|entry| Running {
            job: &entry.job,
            received: entry.handle.get_ref().received(),
            expected: entry.handle.get_ref().expected(),
            started: entry.pulse.started(),
        })
    }

    /// A job whose attempt is over. A body that waits for the disk, or has far to catch up and goes a piece further in each
    /// turn, lets the others go their way.
    pub fn finished(&mut self) -> Option<Done> {
        let read_back = &mut self.read_back;
        let ready = self.finished.iter_mut().position(|done| done.poll(read_back).is_ready());
        ready.and_then(|at| self.finished.remove(at))
    }

    /// What happened that no single job tells, for people.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The cookies that are kept, as lines of a Netscape cookie file.
    pub fn cookies(&mut self) -> anyhow::Result<Vec<String>> {
        self.jar.as_mut().map_or(Ok(Vec::new()), |jar| jar.lines().context("read the cookies"))
    }

    /// Ends every transfer now; each comes back with a failure of class `cancelled`, or its own. None is whole from then on.
    pub fn cancel(&mut self) {
        self.finished.iter_mut().for_each(Done::cancel);
        for entry in std::mem::take(&mut self.running).into_values() {
            self.end(entry, Err(cancelled()));
        }
    }

    /// Has `wake` told whenever `fd` becomes ready, and at once when it is ready now.
    pub fn watch(&mut self, wake: Wake, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.waiter.watch(wake, fd)
    }

    /// Lets transfers move until something happened or `deadline` came. `now` is the clock of the turn that ends.
    pub fn wait(&mut self, deadline: Option<Instant>, now: Instant) -> anyhow::Result<Turn> {
        if self.idle.is_over(self.in_flight(), now) {
            self.multi.drop_idle();
        }
        self.read_back = READ_BACK;
        let idle = self.idle.deadline(self.in_flight());
        let next = [deadline, self.reactor.timer.deadline(), self.sweep, self.throttle.due(now), idle];
        let next = next.into_iter().flatten().min();
        // Where the disk is waited for, its bell ends the wait.
        let goes_on = self.has_room() || self.finished.iter().any(|done| done.poll_settled().is_ready());
        let timeout = match goes_on {
            false => next.map(|at| at.saturating_duration_since(now)),
            true => Some(Duration::ZERO),
        };
        let turn = self.waiter.wait(timeout, &mut self.ready)?;
        self.reactor.timer.set_now(turn.now);
        if let Some(unseen) = self.options.deadlines.unseen(turn.now.saturating_duration_since(now)) {
            self.excuse(unseen, turn.now);
        }
        self.turn(turn.now, turn.full)?;
        Ok(turn)
    }

    /// Ends a transfer that libcurl has not ended.
    fn end(&mut self, mut entry: Entry, result: Result<(), Failure>) {
        let (body, _) = entry.handle.get_mut().finish(false);
        let took = entry.pulse.started().elapsed().saturating_sub(entry.job.spent());
        let stats = stats::stopped_after(self.stats(&mut entry), took);
        self.give_back(entry, body, result, stats);
    }

    /// What is known of a transfer that libcurl has ended.
    fn stats(&self, entry: &mut Entry) -> Stats {
        stats::read(&mut entry.handle, &entry.job, &self.options.extras)
    }

    fn give_back(&mut self, mut entry: Entry, body: Option<Body>, result: Result<(), Failure>, stats: Stats) {
        let (retry_after, connected) = (entry.handle.get_ref().retry_after(), entry.handle.get_ref().is_connected());
        let multiplexes = stats::multiplexes(&stats);
        if multiplexes == Some(true) {
            self.shared.extend(ffi::active_socket(&entry.handle).filter(|fd| self.reactor.selector.contains(*fd)));
        }
        if let Some(address) = stats::unresolved(&mut entry.handle).filter(|_| connected) {
            self.hosts.forgotten(entry.job.target(), address);
        }
        let (result, hop) = match result.and_then(|()| self.led(&entry, &stats)) {
            Ok(hop) => (Ok(()), hop),
            Err(failure) => (Err(failure), None),
        };
        let Entry { handle, job, pulse } = entry;
        drop(handle); // removes it from the multi handle
        if matches!(&result, Err(failure) if matches!(failure.class, ErrorClass::Dns | ErrorClass::Connect)) {
            self.hosts.missed(job.target());
        }
        if let Some(multiplexes) = multiplexes {
            self.hosts.learned(job.target(), multiplexes);
        }
        let (stats, started) = (Some(stats), pulse.started());
        self.finished.push_back(Done { job, body, result, stats, retry_after, connected, hop, started });
    }

    /// Where the response leads, when it is no answer itself.
    fn led(&self, entry: &Entry, stats: &Stats) -> Result<Option<Box<Hop>>, Failure> {
        let transfer = entry.handle.get_ref();
        let Some(location) = transfer.location() else { return Ok(None) };
        let answer = redirect::Answer { status: transfer.status(), location, head: transfer.head_bytes(), stats };
        let request = &self.options.request;
        redirect::follow(request.redirects, request.schemes, &entry.job, &answer).map(|hop| Some(Box::new(hop)))
    }
}

fn cancelled() -> Failure {
    // CURLE_ABORTED_BY_CALLBACK
    Failure::new(ErrorClass::Cancelled, 42, "stopped")
}

/// A multi handle for these options.
fn multi(options: &Options, reactor: &Rc<Reactor>) -> anyhow::Result<EventMulti<Reactor>> {
    EventMulti::new(Rc::clone(reactor), options.connections).context("create libcurl's multi handle")
}
