//! A disk that is full, for ever or for a moment.

use std::time::Duration;

use super::super::testing::{Reply, World, lines, options};
use crate::job::Failure;

/// An attempt that finds no room, after `takes`.
fn full(takes: u64) -> Reply {
    let outcome = Err(Failure::local("write: no space").no_space());
    Reply { outcome, takes: Duration::from_millis(takes), ..Reply::status(200, None) }
}

#[test]
fn what_does_not_fit_on_the_disk_beside_others_is_tried_alone_and_then_fails() {
    let world = World::new(options(8), lines("a", 8)).with("a", Box::new(|_| full(10))).run();
    assert_eq!((world.failed().len(), world.seen["a"].len()), (8, 16));
    assert!(world.elapsed() < Duration::from_secs(60), "{:?}", world.elapsed());
}

#[test]
fn who_had_company_is_tried_once_more_alone() {
    // It fails when the other is gone.
    let mut replies = [full(30), Reply::ok(Duration::from_millis(10))].into_iter();
    let server = move |_| replies.next().unwrap_or(Reply::ok(Duration::from_millis(10)));
    let world = World::new(options(8), lines("a", 2)).with("a", Box::new(server)).run();
    assert_eq!((world.seen["a"].len(), world.failed().len()), (3, 0));
    // Who never had any is not.
    let world = World::new(options(8), lines("a", 1)).with("a", Box::new(|_| full(30))).run();
    assert_eq!((world.seen["a"].len(), world.failed().len()), (1, 1));
}

#[test]
fn what_did_not_fit_waits_until_the_others_are_done() {
    // One in ten never fits. The others take their time.
    let mut count = 0;
    let server = move |_: Duration| {
        count += 1;
        let fits = count % 10 != 1 && count <= 100;
        if fits { Reply::ok(Duration::from_millis(20)) } else { full(20) }
    };
    let world = World::new(options(8), lines("a", 100)).with("a", Box::new(server)).run();
    assert_eq!(world.failed().len(), 10);
    // Once beside the others, and once alone.
    assert_eq!(world.seen["a"].len(), 110);
    assert!(world.ended[..90].iter().all(|ended| ended.outcome.is_ok()), "the others were first");
}

#[test]
fn what_fits_again_is_tried_by_more_and_more_at_once() {
    // Full for a second, for all of them.
    let server = |at: Duration| match at < Duration::from_secs(1) {
        true => full(100),
        false => Reply::ok(Duration::from_millis(100)),
    };
    let world = World::new(options(64), lines("a", 640)).with("a", Box::new(server)).run();
    assert!(world.failed().len() <= 8, "those that were alone: {}", world.failed().len());
    assert!(world.elapsed() < Duration::from_secs(30), "{:?}", world.elapsed());
}

/// The host `busy` finds no room five times and is told to wait then; `full` never finds any.
fn beside_a_pause(named: Duration) -> World {
    let mut count = 0;
    let busy = move |_: Duration| {
        count += 1;
        match count {
            1..=5 => full(10),
            6 => Reply { takes: Duration::from_millis(50), ..Reply::status(429, Some(named)) },
            _ => Reply::ok(Duration::from_millis(10)),
        }
    };
    let list = lines("busy", 6).chain(lines("full", 1)).chain(lines("small", 1));
    World::new(options(8), list)
        .with("busy", Box::new(busy))
        .with("full", Box::new(|_| full(20)))
        .with("small", Box::new(|_| Reply::ok(Duration::from_millis(80))))
        .run()
}

#[test]
fn whose_host_is_closed_meanwhile_holds_up_nobody() {
    let world = beside_a_pause(Duration::from_secs(100_000));
    assert_eq!((world.ok("small").len(), world.failed().len()), (1, 7));
    assert!(world.elapsed() < Duration::from_secs(5), "{:?}", world.elapsed());
}

#[test]
fn whose_host_is_paused_meanwhile_holds_up_nobody() {
    let world = beside_a_pause(Duration::from_secs(100));
    assert_eq!((world.ok("busy").len(), world.failed().len()), (6, 1));
    let last = world.seen["full"].last().map(|seen| seen.at);
    assert!(last < Some(Duration::from_secs(5)), "{last:?}");
}

#[test]
fn what_waits_for_room_is_drained_and_counted() {
    let mut first = true;
    let server = move |_| match std::mem::take(&mut first) {
        true => full(10),
        false => Reply::ok(Duration::from_secs(100)),
    };
    let mut world =
        World::new(options(2), lines("a", 2)).with("a", Box::new(server)).run_until(Duration::from_millis(10));
    assert_eq!((world.schedule.running(), world.schedule.waiting()), (1, 1));
    let now = world.now;
    assert_eq!(world.schedule.drain(now).len(), 1);
    assert_eq!(world.schedule.waiting(), 0);
}
