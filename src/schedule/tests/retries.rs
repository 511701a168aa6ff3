//! Tried again, as the servers see it.

use std::time::Duration;

use super::super::testing::{Reply, World, lines, options, refusing, slow};
use super::super::{Budget, Options};
use crate::job::{ErrorClass, Failure, Outcome};

#[test]
fn statuses_that_pass_cost_attempts_and_give_up_the_slot() {
    for count in [1, 50] {
        let mut tried = std::collections::HashMap::new();
        let server = move |_: Duration| {
            let nth: &mut u32 = tried.entry(()).or_default();
            *nth += 1;
            if *nth <= 2 * count { Reply::status(502, None) } else { Reply::ok(Duration::from_millis(1)) }
        };
        let world = World::new(options(50), lines("a", count as usize)).with("a", Box::new(server)).run();
        assert_eq!(world.failed().len(), 0);
        let retries: u32 = world.ended.iter().map(|ended| ended.job.num_retries).sum();
        assert_eq!(retries, 2 * count);
    }
}

#[test]
fn what_will_not_pass_is_tried_once() {
    for status in [400, 401, 403, 404, 410, 501] {
        let world =
            World::new(options(5), lines("a", 5)).with("a", Box::new(move |_| Reply::status(status, None))).run();
        assert_eq!((world.seen["a"].len(), world.failed().len()), (5, 5), "{status}");
    }
}

#[test]
fn a_thousand_that_fail_together_come_back_spread() {
    let server = |now: Duration| match now < Duration::from_millis(100) {
        true => Reply { takes: Duration::from_millis(200), ..Reply::status(500, None) },
        false => Reply::ok(Duration::from_millis(1)),
    };
    let world = World::new(options(1_000), lines("a", 1_000)).with("a", Box::new(server)).run();
    let retries: Vec<u128> = world.seen["a"][1_000..].iter().map(|seen| seen.at.as_millis() / 100).collect();
    assert_eq!(retries.len(), 1_000);
    let most = (0..200).map(|bucket| retries.iter().filter(|other| **other == bucket).count()).max();
    assert!(most < Some(50), "{most:?}");
    assert_eq!(world.failed().len(), 0);
}

#[test]
fn a_host_that_refuses_some_connections_serves_all_urls() {
    let refused = Reply::unreachable(ErrorClass::Connect, Duration::from_millis(1));
    let reset = Reply { outcome: Err(Failure::new(ErrorClass::Protocol, 52, "empty reply")), ..Reply::status(0, None) };
    for refusal in [refused, reset, Reply::status(503, None)] {
        let server = refusing(20, Duration::from_secs(2), refusal);
        let world = World::new(options(50), lines("a", 1_000)).with("a", server).run();
        assert_eq!(world.failed().len(), 0, "{:?} {:?}", world.failed(), world.elapsed());
        let wasted = world.seen["a"].len() - 1_000;
        assert!(wasted < 150, "{wasted}");
        assert!(world.elapsed() < Duration::from_secs(120), "{:?}", world.elapsed());
    }
}

#[test]
fn one_long_transfer_does_not_hold_the_others_back_for_ever() {
    let mut first = true;
    let server = move |now: Duration| {
        if std::mem::take(&mut first) {
            return Reply::ok(Duration::from_secs(3_000));
        }
        match now < Duration::from_secs(5) {
            true => Reply::unreachable(ErrorClass::Connect, Duration::from_millis(1)),
            false => Reply::ok(Duration::from_millis(10)),
        }
    };
    let world = World::new(options(8), lines("a", 50)).with("a", Box::new(server)).run();
    assert_eq!(world.failed().len(), 0);
    assert!(world.ok("a")[48] < Duration::from_secs(60), "{:?}", world.ok("a")[48]);
}

#[test]
fn a_partial_file_that_cannot_be_continued_starts_again_once_free_and_then_at_the_cost_of_attempts() {
    let useless =
        Reply { outcome: Err(Failure::new(ErrorClass::Range, 33, "changed").passing()), ..Reply::status(0, None) };
    let world = World::new(options(8), lines("a", 1)).with("a", Box::new(move |_| useless.clone())).run();
    assert_eq!((world.seen["a"].len(), world.ended[0].job.tries.free), (6, 1));
    let [first, second] = [0, 1].map(|number| world.seen["a"][number].at);
    assert!(second - first < Duration::from_millis(100));
}

#[test]
fn what_cannot_be_continued_and_what_is_damaged_are_begun_anew_once_each_in_either_order() {
    use ErrorClass::{Checksum as Damaged, Partial as Broken, Range as Unfit};
    for (ends, requests, free) in [
        (&[Unfit, Damaged][..], 3, 1),
        (&[Damaged, Unfit], 3, 1),
        (&[Damaged, Broken, Unfit], 4, 1),
        (&[Broken, Unfit, Damaged], 4, 1),
        (&[Damaged, Damaged], 2, 0),
        (&[Unfit, Damaged, Damaged], 3, 1),
        (&[Unfit, Damaged, Unfit], 4, 1),
    ] {
        let mut left = ends.iter();
        let server = move |_: Duration| match left.next() {
            Some(class) => Reply { outcome: Err(Failure::new(*class, 0, "bad").passing()), ..Reply::status(0, None) },
            None => Reply::ok(Duration::from_millis(1)),
        };
        let world = World::new(options(8), lines("a", 1)).with("a", Box::new(server)).run();
        assert_eq!((world.seen["a"].len(), world.ended[0].job.tries.free), (requests, free), "{ends:?}");
        assert_eq!(world.failed().len(), usize::from(requests <= ends.len()), "{ends:?}");
    }
}

#[test]
fn what_brings_a_part_of_the_rest_costs_no_attempt() {
    let mut left = 1_000;
    let server = move |_: Duration| {
        left -= 1;
        let short = Failure::new(ErrorClass::Partial, 18, "a part").advancing();
        let outcome = if left == 0 { Ok(9) } else { Err(short) };
        Reply { outcome, ..Reply::ok(Duration::from_millis(1)) }
    };
    let world = World::new(options(8), lines("a", 1)).with("a", Box::new(server)).run();
    assert_eq!((world.seen["a"].len(), world.failed().len()), (1_000, 0));
}

#[test]
fn nothing_is_tried_again_once_the_run_stops() {
    let mut world = World::new(options(8), lines("a", 8).chain(lines("b", 100)))
        .with("a", Box::new(|_| Reply::status(500, None)))
        .with("b", slow(Duration::from_secs(1)));
    world.turn();
    let now = world.now;
    let waiting = world.schedule.drain(now).len();
    let world = world.run();
    assert_eq!(world.ended.len() + waiting, 108);
    assert!(world.ended.iter().all(|ended| ended.job.num_retries == 0));
}

#[test]
fn the_budget_of_failures_counts_whoever_settles() {
    let mut schedule =
        super::super::Schedule::new(Options { budget: Budget::Count(1), ..options(8) }, std::time::Instant::now());
    let failed = || Outcome::Failed(Failure::input("bad"));
    assert_eq!(schedule.settled(&failed()), None);
    assert_eq!(schedule.settled(&Outcome::Ok), None);
    assert_eq!(schedule.settled(&failed()), Some("2 failed (--max-failures 1)".to_owned()));
    assert_eq!(schedule.settled(&failed()), None);
}
