//! Starts per time, as the servers see them.

use std::time::Duration;

use super::super::testing::{Seen, World, lines, options, slow};
use super::super::{Options, Rate};

fn per_second(starts: u32) -> Option<Rate> {
    Some(Rate::every(Duration::from_secs(1) / starts))
}

/// Starts in each five seconds, the first and last of them left out.
fn windows(seen: &[Seen]) -> Vec<usize> {
    let end = seen.iter().map(|seen| seen.at.as_secs() / 5).max().unwrap_or(0);
    (1..end).map(|window| seen.iter().filter(|seen| seen.at.as_secs() / 5 == window).count()).collect()
}

#[test]
fn a_rate_holds_for_all_hosts_together() {
    let list = (0..3_000).map(|number| format!("h{}", number % 7));
    let world = World::new(Options { rate: per_second(100), ..options(50) }, list).run();
    let mut seen: Vec<Seen> = world.seen.values().flatten().cloned().collect();
    seen.sort_by_key(|seen| seen.at);
    assert!(windows(&seen).iter().all(|starts| (450..=550).contains(starts)), "{:?}", windows(&seen));
    assert!(seen.iter().filter(|seen| seen.at < Duration::from_secs(1)).count() <= 130);
}

#[test]
fn a_rate_per_host_holds_for_each() {
    let list = lines("a", 300).chain(lines("b", 300)).chain(lines("c", 300));
    let world = World::new(Options { rate_per_host: per_second(10), ..options(50) }, list).run();
    for name in ["a", "b", "c"] {
        assert!(windows(&world.seen[name]).iter().all(|starts| (45..=55).contains(starts)), "{name}");
    }
    assert!(world.elapsed() < Duration::from_secs(31), "at the same time: {:?}", world.elapsed());
}

#[test]
fn a_slow_rate_spaces_starts() {
    let hourly = Some(Rate::every(Duration::from_secs(720)));
    let list = lines("a", 3).chain(lines("b", 3));
    let world = World::new(Options { rate: hourly, ..options(50) }, list).with("a", slow(Duration::from_secs(1))).run();
    assert!(world.elapsed() >= Duration::from_secs(720 * 5), "{:?}", world.elapsed());
    assert!(world.elapsed() < Duration::from_secs(720 * 5 + 10), "{:?}", world.elapsed());
}
