//! When this machine is at a limit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::super::testing::{Reply, World, options};
use super::super::{Jobs, Level, Options};
use crate::job::{ErrorClass, Failure, Lack};

/// A world in which only `most` transfers find a descriptor; each takes 100 ms.
fn world(options: Options, most: usize, lines: usize) -> World {
    let ends = Rc::new(Cell::new(Vec::<Duration>::new()));
    let mut world = World::new(options, (0..lines).map(|number| format!("h{}", number % 10)));
    for number in 0..10 {
        let ends = Rc::clone(&ends);
        let server = move |now: Duration| {
            let mut open = ends.take();
            open.retain(|end| *end > now);
            let reply = if open.len() >= most {
                let outcome = Err(Failure::local("open a socket: too many open files").shortage(Lack::Descriptors));
                Reply { outcome, ..Reply::unreachable(ErrorClass::Local, Duration::from_micros(10)) }
            } else {
                open.push(now + Duration::from_millis(100));
                Reply::ok(Duration::from_millis(100))
            };
            ends.set(open);
            reply
        };
        world = world.with(&format!("h{number}"), Box::new(server));
    }
    world
}

#[test]
fn urls_wait_for_descriptors_without_an_attempt_and_one_line_says_so() {
    for jobs in [Jobs::Fixed(200), Jobs::Auto { most: 200 }] {
        let mut world = world(Options { jobs, ..options(200) }, 60, 5_000).run();
        assert_eq!(world.failed().len(), 0);
        let wasted: usize = world.seen.values().map(Vec::len).sum::<usize>() - 5_000;
        assert!(wasted < 500, "{jobs:?}: {wasted}");
        // 8.4 s at 60 at once.
        assert!(world.elapsed() < Duration::from_secs(20), "{jobs:?}: {:?}", world.elapsed());
        let notes = world.schedule.take_notes();
        assert_eq!(notes.iter().filter(|note| note.level == Level::Always).count(), 1, "{notes:?}");
        assert!(
            notes[0]
                .text
                .starts_with("this machine is at a limit, out of descriptors (open a socket: too many open files)")
        );
    }
}

#[test]
fn a_shortage_that_stays_fails_everything_after_two_minutes() {
    let world = world(options(20), 0, 30_000).run();
    assert_eq!(world.failed().len(), 30_000);
    assert!(world.failed().iter().all(|ended| ended.outcome.as_ref().is_err_and(|why| why.class == ErrorClass::Local)));
    assert!((120..130).contains(&world.elapsed().as_secs()), "{:?}", world.elapsed());
}
