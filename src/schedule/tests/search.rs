//! `-j auto` against the best fixed number, in virtual time.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use super::super::testing::{Reply, Server, World, busy, lines, options, refusing, slow};
use super::super::{Jobs, Options};
use crate::job::{ErrorClass, Failure};

/// URLs served from `from` to `to` seconds, and the number of transfers at the end.
fn served(jobs: Jobs, server: Server, from: u64, to: u64) -> (usize, usize) {
    let (Jobs::Fixed(most) | Jobs::Auto { most }) = jobs;
    let options = Options { jobs, ..options(most) };
    let world = World::new(options, lines("h", 10_000_000)).with("h", server).run_until(Duration::from_secs(to));
    let count = world.ok("h").iter().filter(|at| at.as_secs() >= from).count();
    (count, world.schedule.jobs_limit())
}

/// The best fixed number's and the automatic one's URLs.
fn compare(name: &str, server: impl Fn() -> Server, from: u64, to: u64) {
    let fixed = [5, 20, 100, 1_000];
    let best = fixed.map(|jobs| (served(Jobs::Fixed(jobs), server(), from, to).0, jobs));
    let (best, jobs) = best.into_iter().max().expect("some");
    let (auto, limit) = served(Jobs::Auto { most: 1_000 }, server(), from, to);
    assert!(auto as f64 >= best as f64 * 0.8, "{name}: {auto} with {limit} at the end, {best} with -j {jobs}");
}

#[test]
fn on_a_fast_server() {
    // One core, 40 µs each.
    compare("fast", || busy(1, Duration::from_micros(40)), 0, 1);
    // A hundred workers of 10 ms.
    compare("hundred workers", || busy(100, Duration::from_millis(10)), 3, 5);
}

#[test]
fn on_a_server_that_takes_two_seconds() {
    compare("two seconds", || slow(Duration::from_secs(2)), 40, 120);
}

#[test]
fn on_a_server_that_refuses_more_than_twenty() {
    let reset = Reply { outcome: Err(Failure::new(ErrorClass::Protocol, 52, "empty reply")), ..Reply::status(0, None) };
    let refused = Reply::unreachable(ErrorClass::Connect, Duration::from_millis(1));
    for (name, refusal) in [
        ("refused", refused),
        ("reset", reset),
        ("503", Reply::status(503, None)),
        ("429", Reply::status(429, None)),
        ("429 with a time", Reply::status(429, Some(Duration::from_secs(1)))),
    ] {
        compare(name, || refusing(20, Duration::from_millis(100), refusal.clone()), 30, 70);
    }
}

/// The same for 500 hosts with a shared bottleneck of `workers`.
fn hosts(workers: usize, jobs: Jobs) -> usize {
    let (Jobs::Fixed(most) | Jobs::Auto { most }) = jobs;
    let shared = Rc::new(RefCell::new(busy(workers, Duration::from_millis(200))));
    let list = (0..).map(|number: usize| format!("h{}", number * 7919 % 500));
    let mut world = World::new(Options { jobs, per_host: 8, ..options(most) }, list);
    for number in 0..500 {
        let shared = Rc::clone(&shared);
        world = world.with(&format!("h{number}"), Box::new(move |now| shared.borrow_mut()(now)));
    }
    let world = world.run_until(Duration::from_secs(25));
    world.ended.iter().filter(|ended| ended.at.as_secs() >= 15).count()
}

#[test]
fn on_many_hosts() {
    for workers in [10, 300] {
        let best = [10, 100, 300].map(|jobs| hosts(workers, Jobs::Fixed(jobs))).into_iter().max();
        let auto = hosts(workers, Jobs::Auto { most: 1_000 });
        assert!(auto as f64 >= best.unwrap_or(0) as f64 * 0.8, "{workers}: {auto} of {best:?}");
    }
}

#[test]
fn with_times_that_vary() {
    for seed in [3, 4] {
        let server = || {
            let mut chance = fastrand::Rng::with_seed(seed);
            Box::new(move |_| Reply::ok(Duration::from_secs_f64(-0.5 * chance.f64().max(1e-9).ln()))) as Server
        };
        compare("varying, half a second", server, 30, 36);
    }
}

/// Cores that the program, the server and others share: a few at once use them, many get into each other's way, and
/// what there is to have changes all the time by up to 60 %.
fn shared(seed: u64) -> Server {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut ends, mut until, mut speed) = (BinaryHeap::new(), Duration::ZERO, 1.0);
    Box::new(move |now| {
        while ends.peek().is_some_and(|Reverse(end)| *end <= now) {
            ends.pop();
        }
        while until <= now {
            until += Duration::from_millis(chance.u64(20..200));
            speed = 1.0 - 0.6 * chance.f64();
        }
        let running = (ends.len() + 1) as f64;
        let takes = Duration::from_micros(500).mul_f64((running + 3.0) * (1.0 + running / 400.0) / speed);
        ends.push(Reverse(now + takes));
        Reply::ok(takes)
    })
}

#[test]
fn on_a_machine_that_others_use_too() {
    for seed in 0..3 {
        compare("shared", || shared(seed), 2, 12);
    }
}
