//! Hosts that cannot be reached cost themselves, and little.

use std::time::Duration;

use super::super::retry::Retry;
use super::super::testing::{RETRY, Reply, World, lines, options, slow, window};
use super::super::{Level, Options};
use crate::job::ErrorClass;

const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn fifty_thousand_urls_of_a_black_hole_take_what_one_takes() {
    let hole = || Reply::unreachable(ErrorClass::Connect, TIMEOUT);
    let one = World::new(options(50), lines("hole", 1)).with("hole", Box::new(move |_| hole())).run();
    let mut world = World::new(options(50), lines("hole", 50_000)).with("hole", Box::new(move |_| hole())).run();
    assert_eq!((world.failed().len(), world.seen["hole"].len()), (50_000, 5));
    assert_eq!(one.seen["hole"].len(), 5);
    assert!(world.elapsed() <= TIMEOUT * 5 + Duration::from_secs(30), "{:?}", world.elapsed());
    let last = world.failed()[49_999].outcome.clone().expect_err("failed");
    assert_eq!(last.class, ErrorClass::Connect);
    assert!(last.message.starts_with("given up: its host cannot be reached, 5 failures in a row"), "{}", last.message);
    let notes = world.schedule.take_notes();
    let told: Vec<_> = notes.iter().filter(|note| note.level == Level::Always).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn other_hosts_hardly_notice() {
    let list = lines("hole", 5_000).chain(lines("good", 1_000));
    let world = World::new(options(50), list)
        .with("hole", Box::new(|_| Reply::unreachable(ErrorClass::Connect, TIMEOUT)))
        .with("good", slow(Duration::from_millis(100)))
        .run();
    let good = world.ok("good");
    assert_eq!(good.len(), 1_000);
    // For the first second half of the slots are kept for the other host, then all but one are there for this one.
    assert_eq!(good.iter().filter(|at| **at <= Duration::from_secs(1)).count(), 1 + 9 * 25);
    assert!(good[999] < Duration::from_millis(2_800), "{:?}", good[999]);
}

#[test]
fn many_dead_hosts_leave_most_slots_to_the_others() {
    let names = (0..1_000).map(|number| if number % 2 == 0 { format!("dead{number}") } else { format!("ok{number}") });
    let list = names.clone().chain(names.filter(|name| name.starts_with("ok")).cycle().take(5_000));
    let mut world = World::new(options(100), list);
    for number in (0..1_000).step_by(2) {
        let dead = Box::new(|_| Reply::unreachable(ErrorClass::Connect, TIMEOUT));
        world = world.with(&format!("dead{number}"), dead);
        world = world.with(&format!("ok{}", number + 1), slow(Duration::from_millis(200)));
    }
    let world = world.run();
    let ok = world.ended.iter().filter(|ended| ended.outcome.is_ok()).map(|ended| ended.at);
    // The first attempts of 500 dead hosts alone fill 100 slots for 50 s; their retries, another 200 s, take a quarter.
    let last = ok.max().expect("some");
    assert!(last < Duration::from_secs(90), "{last:?} of {:?}", world.elapsed());
    assert_eq!(world.failed().len(), 500);
}

#[test]
fn a_host_that_is_back_after_three_seconds_is_fetched() {
    for seed in 0..20 {
        let up = Duration::from_secs(3);
        let refused = move |now: Duration| match now < up {
            true => Reply::unreachable(ErrorClass::Connect, Duration::from_millis(1)),
            false => Reply::ok(Duration::from_millis(1)),
        };
        let options = Options { seed, ..options(50) };
        let world = World::new(options, lines("h", 1_000)).with("h", Box::new(refused)).run();
        assert_eq!(world.failed().len(), 0, "seed {seed}");
        assert!(world.elapsed() < Duration::from_secs(20), "{:?}", world.elapsed());
    }
}

#[test]
fn a_host_that_dies_on_the_way_is_given_up_too() {
    let dies = |now: Duration| match now < Duration::from_secs(1) {
        true => Reply::ok(Duration::from_millis(100)),
        false => Reply::unreachable(ErrorClass::Connect, TIMEOUT),
    };
    let options = Options { per_host: 8, ..options(50) };
    let world = World::new(options, lines("h", 20_000)).with("h", Box::new(dies)).run();
    let attempts = world.seen["h"].iter().filter(|seen| seen.at >= Duration::from_secs(1)).count();
    assert!(attempts <= 8 + 4, "{attempts}");
    assert!(world.elapsed() < Duration::from_secs(100), "{:?}", world.elapsed());
}

#[test]
fn a_name_that_does_not_exist_is_asked_for_seldom_and_late() {
    for (retries, lookups) in [(4, 3), (1, 2), (0, 1)] {
        let retry = Retry { retries, ..RETRY };
        let gone = Box::new(|_| Reply::unreachable(ErrorClass::Dns, Duration::from_millis(20)));
        let world = World::new(Options { retry, ..options(50) }, lines("gone", 1_000)).with("gone", gone).run();
        let seen = &world.seen["gone"];
        assert_eq!((seen.len(), world.failed().len()), (lookups, 1_000));
        assert!(seen.windows(2).all(|pair| pair[1].at - pair[0].at > Duration::from_secs(31)));
        assert!(world.elapsed() < Duration::from_secs(80));
        let last = world.failed()[999].outcome.clone().expect_err("failed");
        assert_eq!(last.class, ErrorClass::Dns);
    }
}

#[test]
fn a_daemon_finds_that_a_host_is_back() {
    let back = Duration::from_secs(240);
    let dead = move |now: Duration| match now < back {
        true => Reply::unreachable(ErrorClass::Connect, Duration::from_millis(1)),
        false => Reply::ok(Duration::from_millis(1)),
    };
    // A line every second, for ten minutes: what is written while the host is down fails, soon all is well again.
    let list = (0..600).flat_map(|_| ["clock".to_owned(), "h".to_owned()]);
    let options = Options { window: window(1), per_host: 1, ..options(10) };
    let world = World::new(options, list).with("clock", slow(Duration::from_secs(1))).with("h", Box::new(dead)).run();
    let last = world.failed().iter().map(|ended| ended.at).max().expect("some");
    assert!(last > Duration::from_secs(230) && last < back + Duration::from_secs(240), "{last:?}");
    assert!(world.seen["h"].iter().filter(|seen| seen.at < back).count() < 12);
}
