//! What is known at once, and what is forgotten.

use std::time::{Duration, Instant};

use super::super::testing::{World, job, lines, options, slow, window};
use super::super::{Ahead, Level, Next, Options, Schedule, Window};
use crate::job::Job;

fn text(urlnum: u64, name: &str, length: usize, now: Instant) -> Job {
    let text = "x".repeat(length);
    Job { input_line: text.clone().into_bytes(), url: text.clone(), request_url: text, ..job(urlnum, name, now) }
}

#[test]
fn about_as_many_are_read_as_run_where_there_are_hosts_enough() {
    let now = Instant::now();
    let mut schedule = Schedule::new(options(100), now);
    let mut read = 0;
    while schedule.wants_more() {
        schedule.push(job(read, &format!("h{read}"), now), now);
        read += 1;
    }
    assert_eq!(read, 100);
}

#[test]
fn a_list_of_one_host_is_read_to_the_window_and_no_further() {
    let list = lines("h", 100_000);
    let options = Options { window: window(1_000), ..options(50) };
    let mut world = World::new(options, list).with("h", slow(Duration::from_secs(1)));
    world.turn();
    let mut world = world.run_until(Duration::from_secs(60));
    assert_eq!(world.most_waiting, 1_000);
    let notes = world.schedule.take_notes();
    assert_eq!(notes.iter().filter(|note| note.level == Level::Verbose).count(), 1, "{notes:?}");
    assert!(notes[0].text.contains("1000 lines of 1 host wait"), "{notes:?}");
}

#[test]
fn a_pipe_is_emptied_no_faster_than_it_is_served() {
    let window = Window { ahead: Ahead::Slots, ..window(4_096) };
    let list = || lines("h", 100_000);
    let mut busy = World::new(Options { window, ..options(10) }, list()).with("h", slow(Duration::from_secs(1)));
    busy.turn();
    let busy = busy.run_until(Duration::from_secs(9));
    assert!(busy.most_waiting <= 100, "{}", busy.most_waiting);
    // Eight of fifty slots in use: somebody else may be behind.
    let mut free =
        World::new(Options { window, per_host: 8, ..options(50) }, list()).with("h", slow(Duration::from_secs(1)));
    free.turn();
    assert_eq!(free.run_until(Duration::from_secs(9)).most_waiting, 4_096);
}

#[test]
fn long_lines_fill_the_window_by_their_memory() {
    let now = Instant::now();
    for (length, most) in [(60, 16_384), (1_000, 6_000), (65_536, 100)] {
        let mut schedule = Schedule::new(options(50), now);
        let mut read = 0;
        while schedule.wants_more() {
            schedule.push(text(read, "h", length, now), now);
            read += 1;
        }
        assert!(read <= most, "{length}: {read}");
        assert!(read as usize * length * 3 <= (16 << 20) + 4 * length, "{length}: {read}");
    }
}

#[test]
fn a_waiting_line_costs_about_four_hundred_bytes_and_its_text() {
    let now = Instant::now();
    let mut schedule = Schedule::new(options(1), now);
    schedule.push(text(0, "h", 60, now), now);
    let bytes = schedule.queues.totals().bytes;
    assert!((360..460).contains(&(bytes - 3 * 60)), "{bytes}");
}

#[test]
fn delayed_jobs_count_for_the_window() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Options { window: window(10), ..options(50) }, now);
    for urlnum in 0..10 {
        assert!(schedule.wants_more());
        schedule.push(job(urlnum, "h", now), now);
    }
    assert!(!schedule.wants_more());
    assert!(matches!(schedule.next(now), Next::Start(_)));
    assert!(schedule.wants_more());
}

#[test]
fn hosts_are_forgotten_when_they_are_idle_for_long_or_too_many() {
    let world = World::new(options(100), (0..100_000).map(|number| format!("h{number}"))).run();
    let mut schedule = world.schedule;
    assert!(schedule.queues.len() <= 8_200, "{}", schedule.queues.len());
    let later = world.now + Duration::from_secs(700);
    schedule.push(job(0, "other", later), later);
    assert_eq!(schedule.queues.len(), 1);
}

#[test]
fn everything_that_waits_is_given_back_in_input_order() {
    let now = Instant::now();
    let mut schedule = Schedule::new(options(2), now);
    for urlnum in (0..20).rev() {
        schedule.push(job(urlnum, &format!("h{}", urlnum % 3), now), now);
    }
    let order: Vec<u64> = schedule.drain(now).iter().map(|job| job.urlnum).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    assert_eq!((schedule.waiting(), schedule.next(now), schedule.deadline()), (0, Next::Wait, None));
    assert!(!schedule.wants_more());
}
