//! Slots between hosts.

use std::time::{Duration, Instant};

use super::super::testing::{Reply, Server, World, host, job, lines, options, slow};
use super::super::{Jobs, Next, Options, Schedule};
use crate::job::ErrorClass;

const SLOW: Duration = Duration::from_secs(2);
const FAST: Duration = Duration::from_millis(1);

/// The urlnums that start now.
fn starts(schedule: &mut Schedule, now: Instant) -> Vec<u64> {
    let start = || match schedule.next(now) {
        Next::Start(job) => Some(job.urlnum),
        Next::Fail(..) | Next::Wait => None,
    };
    std::iter::from_fn(start).collect()
}

#[test]
fn one_transfer_goes_ahead_to_a_new_host_and_the_others_follow_when_it_is_connected() {
    let now = Instant::now();
    let mut schedule = Schedule::new(options(10), now);
    for urlnum in 0..4 {
        schedule.push(job(urlnum, "a", now), now);
    }
    schedule.push(job(4, "b", now), now);
    assert_eq!(starts(&mut schedule, now), [0, 4]);
    schedule.connected(&host("a"), now);
    assert_eq!(starts(&mut schedule, now), [1, 2, 3]);
}

#[test]
fn hosts_take_turns_and_each_keeps_to_its_cap() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Options { per_host: 3, ..options(10) }, now);
    for urlnum in 0..12 {
        schedule.push(job(urlnum, ["a", "b"][usize::from(urlnum >= 6)], now), now);
    }
    schedule.connected(&host("a"), now);
    schedule.connected(&host("b"), now);
    assert_eq!(starts(&mut schedule, now), [0, 6, 1, 7, 2, 8]);
    assert_eq!((schedule.running(), schedule.waiting()), (6, 6));
}

#[test]
fn a_fast_host_behind_a_slow_one_is_done_before_a_tenth_of_the_slow_one() {
    for per_host in [50, 8] {
        let list = lines("slow", 300).chain(lines("fast", 300));
        let options = Options { per_host, ..options(50) };
        let world = World::new(options, list).with("slow", slow(SLOW)).with("fast", slow(FAST)).run();
        let (slow, fast) = (world.ok("slow"), world.ok("fast"));
        assert_eq!((slow.len(), fast.len()), (300, 300));
        assert!(fast[299] < slow[29], "{per_host}: {:?} {:?}", fast[299], slow[29]);
    }
}

/// Each answer after `takes`, its connection after `connects`.
fn connecting(connects: Duration, takes: Duration) -> Server {
    Box::new(move |_| Reply { connects: Some(connects), ..Reply::ok(takes) })
}

#[test]
fn who_connects_first_leaves_room_for_who_is_connecting() {
    for millis in [10, 50, 100] {
        let list = lines("slow", 300).chain(lines("fast", 300));
        let fast = connecting(Duration::from_millis(5), Duration::from_millis(millis));
        let world = World::new(options(50), list).with("slow", slow(SLOW)).with("fast", fast).run();
        let (slow, fast) = (world.ok("slow"), world.ok("fast"));
        assert!(fast[299] < slow[0], "{millis} ms: {:?} {:?}", fast[299], slow[0]);
        assert_eq!(world.running["fast"].1, 25, "{millis} ms");
    }
}

#[test]
fn room_is_kept_for_as_many_as_there_are_and_not_for_long() {
    let dead = || -> Server { Box::new(|_| Reply::unreachable(ErrorClass::Connect, Duration::from_secs(10))) };
    let begun = |world: &World, until| world.seen["good"].iter().filter(|seen| seen.at < until).count();
    // Three lines need no half of all slots; many that never answer get theirs for a second.
    for (waiting, at_once) in [(3, 47), (100, 25)] {
        let list = lines("dead", waiting).chain(lines("good", 300));
        let world = World::new(options(50), list).with("dead", dead()).with("good", slow(SLOW)).run();
        assert_eq!(begun(&world, Duration::from_millis(900)), at_once, "{waiting}");
        assert_eq!(begun(&world, Duration::from_millis(1900)), 49, "{waiting}");
    }
}

#[test]
fn nobody_waits_for_the_sake_of_hosts_that_are_as_many_as_slots() {
    let hosts = (0..40).map(|number| format!("new-{number}"));
    let list = hosts.flat_map(|name| lines(&name, 5)).chain(lines("good", 20));
    let mut world = World::new(options(40), list).with("good", slow(SLOW));
    for number in 0..40 {
        world = world.with(&format!("new-{number}"), connecting(Duration::from_millis(500), SLOW));
    }
    let world = world.run_until(Duration::from_millis(100));
    assert_eq!(world.schedule.running(), 40);
}

#[test]
fn a_long_run_of_lines_for_a_slow_host_does_not_hide_the_next_host() {
    for per_host in [50, 8] {
        let list = lines("slow", 10_000).chain(lines("fast", 300));
        let options = Options { per_host, ..options(50) };
        let world = World::new(options, list).with("slow", slow(SLOW)).with("fast", slow(FAST));
        let world = world.run_until(Duration::from_secs(10));
        assert_eq!(world.ok("fast").len(), 300, "{per_host}");
        assert!(world.ok("fast")[299] < SLOW, "{per_host}");
    }
}

#[test]
fn a_host_alone_gets_every_slot() {
    let world = World::new(options(50), lines("slow", 500)).with("slow", slow(SLOW)).run();
    assert!(world.elapsed() < SLOW * 10 + Duration::from_millis(10), "{:?}", world.elapsed());
}

#[test]
fn slots_that_a_new_host_needs_come_from_the_one_with_most() {
    let list = lines("slow", 400).chain(lines("late", 100)).chain(lines("slow", 1));
    let world = World::new(options(40), list).with("slow", slow(SLOW)).with("late", slow(SLOW));
    let world = world.run_until(Duration::from_secs(5));
    let starts = |name: &str, from: u64, to: u64| {
        let window = Duration::from_secs(from)..Duration::from_secs(to);
        world.seen[name].iter().filter(|seen| window.contains(&seen.at)).count()
    };
    assert_eq!((starts("slow", 2, 4), starts("late", 2, 4)), (20, 20));
}

#[test]
fn with_automatic_jobs_too() {
    let list = lines("slow", 300).chain(lines("fast", 300));
    let options = Options { jobs: Jobs::Auto { most: 1000 }, per_host: 1000, ..options(1) };
    let world = World::new(options, list).with("slow", slow(SLOW)).with("fast", slow(FAST)).run();
    assert!(world.ok("fast")[299] < world.ok("slow")[29]);
}
