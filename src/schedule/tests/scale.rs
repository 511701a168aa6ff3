//! What a decision costs.

use std::time::Duration;

use super::super::testing::{World, options, slow};

/// Hosts looked at per decision for `hosts` hosts with two lines each.
fn looked(hosts: usize, jobs: usize) -> f64 {
    let list = (0..2).flat_map(move |_| (0..hosts).map(|number| format!("h{number}")));
    let mut world = World::new(options(jobs), list);
    for number in 0..hosts {
        world = world.with(&format!("h{number}"), slow(Duration::from_millis(100 + number as u64 % 50)));
    }
    let world = world.run();
    assert_eq!(world.ended.len(), hosts * 2);
    world.schedule.queues.looked as f64 / world.decisions as f64
}

#[test]
fn a_decision_looks_at_one_host_however_many_there_are() {
    let (few, many) = (looked(100, 100), looked(10_000, 10_000));
    assert!(few < 2.0 && many < 2.0, "{few} {many}");
}
