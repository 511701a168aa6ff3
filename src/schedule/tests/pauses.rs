//! 429 and Retry-After: the whole host waits, nobody else does, and it costs no attempt.

use std::time::Duration;

use super::super::testing::{Reply, Server, World, lines, options, slow};
use crate::job::ErrorClass;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `first` for the requests up to `until`, then 200.
fn at_first(until: Duration, first: Reply) -> Server {
    Box::new(move |now| if now <= until { first.clone() } else { Reply::ok(Duration::from_millis(10)) })
}

/// nginx's `limit_req`: so many a second with a burst, the others get `refusal`.
fn limit_req(per_second: u32, burst: f64, refusal: Reply) -> Server {
    let (mut excess, mut last) = (0.0_f64, Duration::ZERO);
    Box::new(move |now| {
        let drained = (excess - (now - last).as_secs_f64() * f64::from(per_second)).max(0.0);
        if drained > burst {
            return refusal.clone();
        }
        (excess, last) = (drained + 1.0, now);
        Reply::ok(Duration::from_millis(2))
    })
}

#[test]
fn the_host_waits_as_long_as_it_asked_and_the_others_do_not() {
    for status in [429, 503] {
        let list = lines("a", 100).chain(lines("b", 100));
        let world = World::new(options(50), list)
            .with("a", at_first(Duration::ZERO, Reply::status(status, Some(secs(3)))))
            .with("b", slow(Duration::from_millis(10)))
            .run();
        let a: Vec<Duration> = world.seen["a"].iter().map(|seen| seen.at).collect();
        assert!(a[0] == Duration::ZERO && a[1] >= secs(3) && a[1] < Duration::from_millis(3_400), "{:?}", a[1]);
        assert!(world.ok("b")[99] < Duration::from_millis(100));
        assert_eq!(world.failed().len(), 0);
        for ended in world.ended.iter().filter(|ended| ended.job.host.name == "a".into()) {
            assert!(ended.job.tries.host_paused.is_some_and(|paused| paused >= secs(3)), "{:?}", ended.job);
        }
        assert!(
            world.ended.iter().all(|ended| ended.job.host.name == "a".into() || ended.job.tries.host_paused.is_none())
        );
    }
}

#[test]
fn a_503_without_retry_after_is_the_urls_own_matter() {
    let mut first = true;
    let server = move |_: Duration| match std::mem::take(&mut first) {
        true => Reply::status(503, None),
        false => Reply::ok(Duration::from_millis(10)),
    };
    let world = World::new(options(50), lines("a", 100)).with("a", Box::new(server)).run();
    assert!(world.ok("a")[98] < Duration::from_millis(500), "{:?}", world.ok("a")[98]);
    assert_eq!(world.failed().len(), 0);
}

#[test]
fn after_a_pause_the_host_is_approached_slowly() {
    let pause = Reply::status(429, Some(secs(2)));
    let mut served = 0;
    let server = move |now: Duration| {
        served += 1;
        match now >= secs(1) && served <= 200 && now < secs(3) {
            true => pause.clone(),
            false => Reply::ok(Duration::from_millis(100)),
        }
    };
    let world = World::new(options(16), lines("a", 600)).with("a", Box::new(server)).run();
    let from = secs(3);
    let rounds: Vec<usize> = (0..6)
        .map(|round| {
            let (first, last) = (Duration::from_millis(100 * round), Duration::from_millis(100 * round + 100));
            let after = world.seen["a"].iter().filter(|seen| seen.at >= from).map(|seen| seen.at);
            let begin = after.clone().min().expect("goes on");
            after.filter(|at| *at >= begin + first && *at < begin + last).count()
        })
        .collect();
    assert_eq!(rounds[..5], [1, 2, 4, 8, 16]);
}

#[test]
fn no_request_reaches_a_host_inside_its_pause_and_all_urls_end_ok() {
    for (named, refusal) in [(Some(1), 429), (Some(2), 503), (None, 429)] {
        for (per_second, burst) in [(20, 0.0), (20, 10.0), (200, 50.0)] {
            let reply = Reply::status(refusal, named.map(secs));
            let list = lines("a", 300).chain(lines("b", 300));
            let world = World::new(options(50), list)
                .with("a", limit_req(per_second, burst, reply))
                .with("b", slow(Duration::from_millis(10)))
                .run();
            let what = format!("{refusal} {named:?} {per_second}/s");
            assert_eq!(world.failed().len(), 0, "{what}");
            assert!(world.ok("b")[299] < Duration::from_millis(500), "{what}");
            let seen = &world.seen["a"];
            let takes = Duration::from_millis(1);
            for refused in seen.iter().filter(|seen| seen.status != Some(200)) {
                let told = refused.at + takes;
                let pause = told..told + named.map_or(Duration::from_millis(500), secs);
                let inside = seen.iter().filter(|seen| seen.at > pause.start && seen.at < pause.end).count();
                assert_eq!(inside, 0, "{what}");
            }
            // No URL is told to wait over and over: those that were go first.
            assert!(world.ended.iter().all(|ended| ended.job.tries.pauses <= 5), "{what}");
            assert!(seen.len() <= 450, "{what}: {} requests", seen.len());
        }
    }
}

#[test]
fn long_transfers_that_go_on_through_a_pause_hold_nobody_up() {
    let mut count = 0;
    let server = move |_: Duration| {
        count += 1;
        match count {
            // The first one opens the way for the others.
            1 => Reply::ok(Duration::from_millis(10)),
            2..=4 => Reply::ok(secs(3000)),
            5 => Reply::status(429, Some(secs(2))),
            _ => Reply::ok(Duration::from_millis(10)),
        }
    };
    let world = World::new(options(8), lines("a", 200)).with("a", Box::new(server)).run();
    assert_eq!(world.failed().len(), 0);
    assert!(world.ok("a")[196] < secs(10), "{:?}", world.ok("a")[196]);
}

#[test]
fn a_pause_is_told_with_the_time_that_was_asked_for() {
    for (count, expected) in [(1, "1 URL waits"), (3, "3 URLs wait")] {
        let once = at_first(Duration::ZERO, Reply::status(429, Some(secs(25))));
        let mut world = World::new(options(1), lines("a", count)).with("a", once).run();
        assert_eq!(world.ok("a").len(), count);
        let told = world.schedule.take_notes().first().map(|note| note.text.clone()).unwrap_or_default();
        assert_eq!(told, format!("a answered 429: paused for 25 s (it asked for that), {expected}"));
    }
}

#[test]
fn a_time_above_the_limit_closes_the_host_and_its_urls_fail_at_once() {
    let list = lines("a", 1_000).chain(lines("b", 100));
    let world = World::new(options(50), list)
        .with("a", Box::new(|_| Reply::status(429, Some(secs(3600)))))
        .with("b", slow(Duration::from_millis(10)));
    let mut world = world.run();
    assert_eq!((world.failed().len(), world.seen["a"].len()), (1_000, 1));
    assert!(world.elapsed() < secs(1));
    let messages: Vec<_> = world.failed().iter().map(|ended| ended.outcome.clone().expect_err("failed")).collect();
    assert!(messages.iter().all(|failure| failure.class == ErrorClass::Http && failure.exitcode == 22));
    let expected = "given up: its host answered 429 and asked for 3600 s, which is more than --retry-after-max";
    assert!(messages.iter().all(|failure| failure.message == expected), "{}", messages[0].message);
    assert_eq!(world.schedule.take_notes().len(), 1);
}

#[test]
fn a_host_that_never_serves_anything_is_closed_and_all_its_urls_fail() {
    for (named, pauses, longest) in [(None, 20, 1200), (Some(1), 20, 600), (Some(300), 11, 3700)] {
        for count in [1, 10_000] {
            let always = Box::new(move |_| Reply::status(429, named.map(secs))) as Server;
            let list = lines("b", 100).chain(lines("a", count));
            let mut world = World::new(options(50), list).with("a", always).with("b", slow(secs(1))).run();
            assert_eq!((world.failed().len(), world.ok("b").len()), (count, 100));
            // Those that were in flight when the first pause began, and one after each.
            let requests = world.seen["a"].len();
            assert!(requests <= 50 + pauses, "{named:?} {count}: {requests}");
            assert!(world.elapsed() <= secs(longest), "{named:?} {count}: {:?}", world.elapsed());
            let expected = format!("given up: its host answered nothing but 429, after each of {pauses} pauses too");
            for ended in world.failed() {
                let failure = ended.outcome.as_ref().expect_err("failed");
                assert_eq!((failure.class, failure.exitcode), (ErrorClass::Http, 22));
                assert_eq!(failure.message, expected);
            }
            let notes = world.schedule.take_notes();
            let told = notes.iter().filter(|note| note.text.ends_with("pauses too: its URLs fail")).count();
            assert_eq!(told, 1, "{notes:?}");
        }
    }
}

#[test]
fn a_url_that_alone_is_told_to_wait_is_told_so_twenty_times() {
    use super::super::testing::job;
    use super::super::{Attempt, Next, Schedule, Verdict};
    use crate::job::Failure;
    let mut now = std::time::Instant::now();
    let mut schedule = Schedule::new(options(1), now);
    schedule.push(job(0, "a", now), now);
    let failure = Failure::new(ErrorClass::Http, 22, "HTTP 429");
    for urlnum in 1..100 {
        schedule.push(job(urlnum, "a", now), now);
    }
    let (mut told, mut served) = (0, 0);
    loop {
        now += secs(120);
        let Next::Start(job) = schedule.next(now) else { panic!("not started") };
        let is_refused = job.urlnum == 0;
        told += usize::from(is_refused);
        let attempt = Attempt {
            outcome: if is_refused { Err(&failure) } else { Ok(()) },
            status: Some(if is_refused { 429 } else { 200 }),
            retry_after: None,
            connected: true,
            first_byte: None,
            bytes: 0,
        };
        match schedule.ended(job, &attempt, now) {
            Verdict::Failed(_, failure) => {
                assert_eq!(failure.message, "HTTP 429: told to come back later 21 times (429)");
                break assert_eq!((told, served), (21, 10), "the others are served meanwhile");
            }
            Verdict::Kept => assert!(is_refused),
            Verdict::Settled(_) => served += 1,
        }
    }
}

#[test]
fn paused_hosts_are_shown() {
    let list = lines("a", 100).chain(lines("b", 10_000));
    let world = World::new(options(50), list)
        .with("a", Box::new(|_| Reply::status(429, Some(secs(30)))))
        .with("b", slow(secs(1)))
        .run_until(secs(5));
    let paused: Vec<_> = world.schedule.paused(world.now).collect();
    assert_eq!(paused.len(), 1);
    assert_eq!((&*paused[0].host.name, paused[0].status, paused[0].waiting), ("a", Some(429), 100));
    assert!(paused[0].until > world.now);
}
