//! Anything may happen: whatever servers do, every job ends once, limits hold, and the loop neither hangs nor spins.

use std::time::Duration;

use super::super::testing::{Reply, Server, World, options, window};
use super::super::{Ahead, Jobs, Options, Rate, Window};
use crate::job::{ErrorClass, Failure, Lack};

/// A server of which each answer is chance, but some are likelier than others.
fn server(mut chance: fastrand::Rng) -> Server {
    let likely = chance.u32(..12);
    Box::new(move |_| {
        let takes = Duration::from_micros(chance.u64(1..2_000_000));
        let named = chance.bool().then(|| Duration::from_secs(chance.u64(..40) * chance.u64(..12)));
        let failed = |class| Reply { outcome: Err(Failure::new(class, 1, "chance")), ..Reply::ok(takes) };
        match if chance.u32(..3) > 0 { likely } else { chance.u32(..12) } {
            0 => Reply::status(429, named),
            1 => Reply::status(503, named),
            2 => Reply::status([404, 500, 502, 408][chance.usize(..4)], None),
            3 => Reply::unreachable(ErrorClass::Connect, takes),
            4 => Reply::unreachable(ErrorClass::Dns, takes),
            5 => failed(ErrorClass::Stall),
            6 => failed(ErrorClass::Protocol),
            7 => Reply {
                outcome: Err(Failure::local("").shortage(Lack::Memory)),
                ..Reply::unreachable(ErrorClass::Local, takes)
            },
            _ => Reply::ok(takes),
        }
    })
}

#[test]
fn every_job_ends_once_within_the_limits() {
    for seed in 0..400 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let (hosts, count) = (chance.usize(1..12), chance.u64(1..400));
        let most = chance.usize(1..40);
        let mut rate = || chance.bool().then(|| Rate::every(Duration::from_millis(chance.u64(1..200))));
        let (rate, rate_per_host) = (rate(), rate());
        let options = Options {
            jobs: if chance.bool() { Jobs::Fixed(most) } else { Jobs::Auto { most } },
            per_host: chance.usize(1..=most),
            rate,
            rate_per_host,
            window: Window {
                ahead: if chance.bool() { Ahead::Hosts } else { Ahead::Slots },
                ..window(chance.usize(1..300))
            },
            seed,
            ..options(most)
        };
        let (per_host, window) = (options.per_host, options.window.jobs);
        let mut names = chance.fork();
        let mut world = World::new(options, (0..count).map(move |_| format!("h{}", names.usize(..hosts))));
        for host in 0..hosts {
            world = world.with(&format!("h{host}"), server(chance.fork()));
        }
        let mut most_running = 0;
        while world.turn() {
            most_running = most_running.max(world.schedule.running());
        }
        assert_eq!((world.schedule.running(), world.schedule.waiting()), (0, 0), "seed {seed}");
        let mut ended: Vec<u64> = world.ended.iter().map(|ended| ended.job.urlnum).collect();
        ended.sort_unstable();
        ended.dedup();
        assert_eq!((ended.len(), world.ended.len()), (count as usize, count as usize), "seed {seed}");
        assert!(most_running <= most, "seed {seed}");
        assert!(world.running.values().all(|(_, most)| *most <= per_host), "seed {seed}");
        assert!(world.most_waiting <= window.max(1) + most, "seed {seed}");
        let attempts: usize = world.seen.values().map(Vec::len).sum();
        let retries: u32 = world.ended.iter().map(|ended| ended.job.num_retries).sum();
        let untried = world.ended.iter().filter(|ended| ended.job.tries.first.is_none()).count();
        let given_up = world.ended.iter().filter(|ended| is_given_up(ended.outcome.as_ref().err())).count();
        // An attempt for each job, and one for each retry, less what failed in the queue.
        assert!(attempts + given_up >= count as usize + retries as usize, "seed {seed}");
        assert!(attempts <= count as usize + retries as usize - untried, "seed {seed}");
    }
}

fn is_given_up(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.message.starts_with("given up"))
}
