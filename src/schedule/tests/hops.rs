//! Redirects to other hosts: each is scheduled as a job of the host it leads to, and loses no place.

use std::time::{Duration, Instant};

use super::super::testing::{Reply, Server, World, busy, hop, host, job, lines, options, slow};
use super::super::{Attempt, Next, Options, Rate, Schedule, Verdict};
use crate::job::{ErrorClass, Failure, Job};

const TIMEOUT: Duration = Duration::from_secs(10);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every request leads to `to`.
fn leading(to: &'static str) -> Server {
    Box::new(move |_| Reply::leads(to))
}

fn times(world: &World, name: &str) -> Vec<Duration> {
    world.seen[name].iter().map(|seen| seen.at).collect()
}

fn answered(outcome: Result<(), &Failure>, status: u32) -> Attempt<'_> {
    Attempt { outcome, status: Some(status), retry_after: None, connected: true, first_byte: None, bytes: 0 }
}

#[track_caller]
fn started(schedule: &mut Schedule, now: Instant) -> Job {
    match schedule.next(now) {
        Next::Start(job) => job,
        other => panic!("not started: {other:?}"),
    }
}

#[test]
fn the_host_that_a_redirect_leads_to_has_its_own_pause_and_slow_start() {
    let pause = Reply::status(429, Some(secs(5)));
    let mut first = true;
    let target = move |_: Duration| if std::mem::take(&mut first) { pause.clone() } else { Reply::ok(secs(1)) };
    let list = lines("a", 40).chain(lines("b", 400));
    let world = World::new(options(8), list)
        .with("a", leading("target"))
        .with("b", slow(Duration::from_millis(10)))
        .with("target", Box::new(target))
        .run();
    let seen = times(&world, "target");
    let inside = seen.iter().filter(|at| **at > seen[0] + Duration::from_millis(1) && **at < seen[0] + secs(5));
    assert_eq!(inside.count(), 0, "{seen:?}");
    assert!(world.ok("b")[399] < secs(2), "{:?}", world.ok("b")[399]);
    assert_eq!((world.failed().len(), world.seen["a"].len()), (0, 40), "none of them is asked for again");
}

#[test]
fn slots_of_a_host_hold_for_those_that_redirects_lead_there() {
    let list = lines("a", 100).chain(lines("b", 100)).chain(lines("target", 100));
    let world = World::new(Options { per_host: 3, ..options(50) }, list)
        .with("a", leading("target"))
        .with("b", leading("target"))
        .with("target", slow(secs(1)))
        .run();
    assert_eq!(world.running["target"].1, 3);
    assert_eq!(world.failed().len(), 0);
}

#[test]
fn a_dead_host_that_redirects_lead_to_fails_them_fast_and_holds_up_nobody() {
    let list = lines("a", 5_000).chain(lines("b", 500));
    let world = World::new(options(50), list)
        .with("a", leading("hole"))
        .with("b", slow(Duration::from_millis(100)))
        .with("hole", Box::new(|_| Reply::unreachable(ErrorClass::Connect, TIMEOUT)))
        .run();
    assert!(world.seen["hole"].len() <= 8, "{} attempts", world.seen["hole"].len());
    assert!(world.elapsed() < secs(120), "{:?}", world.elapsed());
    assert!(world.ok("b")[499] < secs(3), "{:?}", world.ok("b")[499]);
    assert_eq!(world.failed().len(), 5_000);
    let last = world.failed()[4_999].outcome.clone().expect_err("failed");
    assert!(last.message.ends_with("(a redirect leads to hole)"), "{}", last.message);
}

#[test]
fn what_was_led_on_goes_before_what_was_not_asked_for_yet() {
    let list = lines("a", 1_000).chain(lines("b", 1_000));
    let world = World::new(Options { per_host: 8, ..options(16) }, list)
        .with("a", leading("target"))
        .with("b", slow(Duration::from_millis(50)))
        .with("target", busy(8, secs(1)))
        .run();
    let (asked, served) = (times(&world, "a"), times(&world, "target"));
    assert_eq!((asked.len(), served.len()), (1_000, 1_000));
    // No more of them wait at the target than a few and as many as run: what they were told may hold for minutes alone.
    for (number, at) in asked.iter().enumerate() {
        let begun = served.iter().filter(|begun| *begun < at).count();
        assert!(number <= begun + 8 + 64, "{number} were asked for, and {begun} begun, at {at:?}");
    }
    // In the order in which they were led there.
    let order: Vec<u64> = world.ended.iter().filter(|it| it.job.host == host("a")).map(|it| it.job.urlnum).collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn those_whose_redirects_lead_to_a_slow_host_do_not_take_the_slots_of_others() {
    let list = lines("a", 2_000).chain(lines("b", 500));
    let world = World::new(options(20), list)
        .with("a", leading("target"))
        .with("b", slow(secs(1)))
        .with("target", slow(secs(10)))
        .run();
    // Half of the slots, as any other host gets.
    assert!(world.ok("b")[499] < secs(60), "{:?}", world.ok("b")[499]);
}

#[test]
fn nor_do_many_hosts_whose_redirects_lead_to_a_slow_one() {
    let list = (0..200).flat_map(|number| [format!("a{number}"), "b".to_owned(), "b".to_owned()]);
    let mut world = World::new(options(20), list);
    for number in 0..200 {
        world = world.with(&format!("a{number}"), leading("target"));
    }
    let world = world.with("b", slow(Duration::from_millis(50))).with("target", slow(secs(10))).run();
    assert!(world.ok("b")[399] < secs(10), "{:?}", world.ok("b")[399]);
}

#[test]
fn once_it_is_stopped_no_redirect_waits_for_a_rate() {
    let now = Instant::now();
    let rate = Some(Rate::every(secs(60)));
    for slow in [Options { rate, ..options(4) }, Options { rate_per_host: rate, ..options(4) }] {
        let mut schedule = Schedule::new(slow, now);
        schedule.push(job(0, "a", now), now);
        let first = started(&mut schedule, now);
        schedule.drain(now);
        let Verdict::Settled(first) = schedule.ended(first, &answered(Ok(()), 302), now) else { panic!("kept") };
        assert!(schedule.follow(Job { hop: Some(hop("a")), ..first }, now).is_some());
    }
}

#[test]
fn chains_that_lead_back_and_forth_end_with_a_single_slot() {
    let mut count = 0;
    let back = move |_: Duration| {
        count += 1;
        if count % 2 == 1 { Reply::leads("b") } else { Reply::ok(Duration::from_millis(5)) }
    };
    let world = World::new(options(1), lines("a", 50)).with("a", Box::new(back)).with("b", leading("a")).run();
    assert_eq!((world.ok("a").len(), world.seen["a"].len(), world.seen["b"].len()), (50, 100, 50));
}

#[test]
fn what_costs_an_attempt_begins_again_at_the_url_and_what_does_not_goes_on_where_it_was() {
    let now = Instant::now();
    for (status, host_of_next, retries) in [(500, "a", 1), (429, "target", 1)] {
        let mut schedule = Schedule::new(options(4), now);
        schedule.push(job(0, "a", now), now);
        let first = started(&mut schedule, now);
        let Verdict::Settled(first) = schedule.ended(first, &answered(Ok(()), 302), now) else { panic!("kept") };
        assert_eq!(schedule.follow(Job { hop: Some(hop("target")), ..first }, now), None);
        let second = started(&mut schedule, now);
        assert_eq!((&*second.target().name, second.num_retries), ("target", 0), "a redirect is no retry");
        let failure = Failure::new(ErrorClass::Http, 22, "no");
        assert_eq!(schedule.ended(second, &answered(Err(&failure), status), now), Verdict::Kept);
        let later = now + secs(100);
        let third = started(&mut schedule, later);
        assert_eq!((&*third.target().name, third.num_retries), (host_of_next, retries), "{status}");
    }
}

#[test]
fn a_redirect_that_waited_too_long_to_hold_is_asked_for_again() {
    let now = Instant::now();
    let cases = [(secs(1), 403, "target"), (secs(60), 403, "target"), (secs(60), 404, "target"), (secs(60), 403, "a")];
    for (waited, refused, to) in cases {
        let next = (waited > secs(1)).then_some("a");
        let mut schedule = Schedule::new(options(4), now);
        schedule.push(job(0, "a", now), now);
        let first = started(&mut schedule, now);
        let Verdict::Settled(first) = schedule.ended(first, &answered(Ok(()), 302), now) else { panic!("kept") };
        schedule.follow(Job { hop: Some(hop(to)), ..first }, now);
        let later = now + waited;
        let second = started(&mut schedule, later);
        let failure = Failure::new(ErrorClass::Http, 22, "refused");
        let verdict = schedule.ended(second, &answered(Err(&failure), refused), later);
        assert_eq!(verdict == Verdict::Kept, next.is_some(), "{refused} after {waited:?}");
        if next.is_some() {
            let third = started(&mut schedule, later + secs(100));
            assert_eq!((Some(&*third.target().name), third.num_retries), (next, 1));
        }
    }
}

#[test]
fn what_was_held_back_goes_first_and_costs_nothing() {
    let now = Instant::now();
    let mut schedule = Schedule::new(options(1), now);
    for urlnum in 0..3 {
        schedule.push(job(urlnum, "a", now), now);
    }
    let first = started(&mut schedule, now);
    let failure = Failure::new(ErrorClass::Cancelled, 42, "its host asked to be left alone").held();
    let attempt = Attempt { connected: false, status: None, ..answered(Err(&failure), 0) };
    assert_eq!(schedule.ended(first, &attempt, now), Verdict::Kept);
    let again = started(&mut schedule, now);
    assert_eq!((again.urlnum, again.num_retries, again.tries.free), (0, 0, 0));
    schedule.drain(now);
    assert!(matches!(schedule.ended(again, &attempt, now), Verdict::Settled(_)), "nothing is waited for any more");
}

#[test]
fn a_drained_schedule_finishes_what_was_led_on_unless_its_host_would_have_it_wait() {
    let now = Instant::now();
    for (paused, expected) in [(false, None), (true, Some(0))] {
        let mut schedule = Schedule::new(options(2), now);
        schedule.push(job(0, "a", now), now);
        schedule.push(job(1, "target", now), now);
        let (first, other) = (started(&mut schedule, now), started(&mut schedule, now));
        if paused {
            let failure = Failure::new(ErrorClass::Http, 22, "no");
            assert_eq!(schedule.ended(other, &answered(Err(&failure), 429), now), Verdict::Kept);
        }
        assert_eq!(schedule.drain(now).len(), usize::from(paused));
        let Verdict::Settled(first) = schedule.ended(first, &answered(Ok(()), 302), now) else { panic!("kept") };
        let given_back = schedule.follow(Job { hop: Some(hop("target")), ..first }, now);
        assert_eq!(given_back.map(|job| job.urlnum), expected);
        schedule.connected(&host("target"), now);
        assert_eq!(matches!(schedule.next(now), Next::Start(_)), !paused);
    }
}
