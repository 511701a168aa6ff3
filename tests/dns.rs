//! Names: servers of names that fail, are slow or say odd things, and how often they are asked.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::clock::{Clock, Faked};
use crate::harness::command::Stdin;
use crate::harness::dns::{Answer, Dns};
use crate::harness::raw::BlackHole;
use crate::harness::{Fetch, Gate, Place, Reply, Seen, Server, Stream, until};

const NOW: Duration = Duration::ZERO;

fn here() -> Answer {
    Answer::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

#[test]
fn names_that_cannot_be_looked_up_fail_as_such_and_cost_no_other_host() {
    let Some(dns) = Dns::start(|asked| match asked.name.as_str() {
        "good.test" => (NOW, here()),
        "servfail.test" => (NOW, Answer::Code(2)),
        "silent.test" => (NOW, Answer::Silence),
        "loop.test" => (NOW, Answer::Alias("loop.test")),
        "nothing.test" => (NOW, Answer::Addresses(Vec::new())),
        _ => (NOW, Answer::Code(3)),
    }) else {
        return;
    };
    let server = Server::http(|_| Reply::ok("here"));
    let bad = ["nxdomain.test", "servfail.test", "silent.test", "loop.test", "nothing.test"];
    let mut list: Vec<String> = bad.iter().map(|name| server.url_as(name, "/bad")).collect();
    list.extend((0..50).map(|number| server.url_as("good.test", &format!("/{number}"))));
    let running =
        Fetch::recorded().asking(&dns).args(["--tree", "--retry", "0", "--connect-timeout", "4"]).urls(&list).start();
    server.wait("the good host's", |counts| counts.requests.len() == 50 && counts.running == 0);
    let run = running.finish();
    run.assert_exit(1).check_invariants(list.len());
    let records = run.records();
    for (name, record) in bad.iter().zip(&records) {
        assert_eq!(record["error_class"], "dns", "{name}\n{run}");
    }
    assert!(run.results()[bad.len()..].iter().all(|result| result == "ok"), "{run}");
}

#[test]
fn of_a_hundred_addresses_the_one_that_answers_is_found() {
    let Some(dns) = Dns::start(|_| {
        let refusing = (1..100).map(|number| IpAddr::V4(Ipv4Addr::new(127, 9, 9, number)));
        (NOW, Answer::Addresses(refusing.chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).collect()))
    }) else {
        return;
    };
    let server = Server::http(|_| Reply::ok("here"));
    let run = Fetch::recorded().asking(&dns).args(["--retry", "0"]).arg(server.url_as("many.test", "/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.record()["remote_ip"], "127.0.0.1", "{run}");
}

#[test]
fn an_address_of_the_other_family_that_never_answers_delays_little() {
    let both = vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let Some(dns) = Dns::start(move |_| (NOW, Answer::Addresses(both.clone()))) else { return };
    let server = Server::http(|_| Reply::ok("here"));
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, server.port())) else {
        return eprintln!("skipped: there is no IPv6, or the port is taken");
    };
    let _hole = BlackHole::of(listener);
    let run = Fetch::recorded().asking(&dns).args(["--retry", "0"]).arg(server.url_as("both.test", "/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.record()["remote_ip"], "127.0.0.1", "{run}");
    let took = run.record()["time_connect"].as_f64().expect("it was connected");
    assert!(took < 5.0, "half of the connect timeout, and it took {took}\n{run}");
}

#[test]
fn an_address_that_is_none_ends_in_a_result() {
    let Some(dns) = Dns::start(|_| (NOW, Answer::Addresses(vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]))) else { return };
    // Linux takes it for this machine.
    let server = Server::http(|_| Reply::ok("here"));
    let run = Fetch::recorded().asking(&dns).arg(server.url_as("zero.test", "/a")).run();
    run.assert_exit(0).check_invariants(1);
}

#[test]
fn a_host_whose_name_takes_long_is_looked_up_once_for_all_its_urls() {
    // One family after the other: libcurl connects when the first has answered, and forgets it then.
    for (ipv4, ipv6) in [(2000, 2000), (500, 1500), (0, 5000)] {
        let delay = move |is_ipv6| Duration::from_millis(if is_ipv6 { ipv6 } else { ipv4 });
        let Some(dns) = Dns::start(move |asked| (delay(asked.is_ipv6), here())) else { return };
        let server = Server::http(|_| Reply::ok("here"));
        let list: Vec<String> = (0..5000).map(|number| server.url_as("slow.test", &format!("/{number}"))).collect();
        let run = Fetch::new().asking(&dns).args(["--json", "--discard", "-j", "200"]).urls(&list).run();
        run.assert_exit(0).check_invariants(5000);
        assert!(dns.asked().len() <= 2, "one for each family: {:?}\n{run}", dns.asked());
    }
}

#[test]
fn a_name_that_takes_long_and_that_redirects_lead_to_is_looked_up_once() {
    let Some(dns) = Dns::start(|_| (Duration::from_secs(2), here())) else { return };
    let server = Server::http(|seen: &Seen| match seen.path.strip_prefix("/to") {
        Some(number) => {
            Reply::redirect(302, format!("http://{}/{number}", seen.host.replace("127.0.0.1", "slow.test")))
        }
        None => Reply::ok("here"),
    });
    let run = Fetch::new().asking(&dns).args(["--json", "--discard", "-j", "200"]).urls(&server.numbered("/to", 2000));
    let run = run.run();
    run.assert_exit(0).check_invariants(2000);
    assert!(dns.asked().len() <= 2, "one for each family: {:?}\n{run}", dns.asked());
}

#[test]
fn many_names_are_looked_up_once_each_by_few_threads() {
    const NAMES: usize = 300;
    let Some(dns) = Dns::start(|_| (Duration::from_millis(100), here())) else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("here").held_by(&held));
    let url = |number: usize| server.url_as(&format!("n{}.test", number % NAMES), &format!("/{number}"));
    let list: Vec<String> = (0..4 * NAMES).map(url).collect();
    let running = Fetch::recorded().asking(&dns).args(["-j", "600", "--tree"]).urls(&list).start();
    let threads =
        || std::fs::read_dir(format!("/proc/{}/task", running.pid().as_raw_nonzero())).map_or(0, Iterator::count);
    let mut most = 0;
    until("as many requests as transfers", || {
        most = most.max(threads());
        server.counts(|counts| counts.running) == 600
    });
    let descriptors = running.descriptors();
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(list.len());
    assert!((2..=21).contains(&most), "{most} threads: the one of the program and 20 of libcurl's");
    assert!(descriptors < 1300, "{descriptors} descriptors for 600 transfers");
    let mut asked: HashMap<_, usize> = HashMap::new();
    for question in dns.asked() {
        *asked.entry(question).or_default() += 1;
    }
    assert!(asked.len() == 2 * NAMES && asked.values().all(|count| *count == 1), "once each: {asked:?}\n{run}");
}

#[test]
fn a_name_whose_address_changes_is_looked_up_again_after_a_minute() {
    look_up_again(|server, number| server.url_as("moving.test", &format!("/{number}")));
}

#[test]
fn a_name_that_redirects_lead_to_is_looked_up_again_after_a_minute() {
    look_up_again(|server, number| server.url_as("127.0.0.1", &format!("/to{number}")));
}

#[track_caller]
fn look_up_again(url: impl Fn(&Server, usize) -> String) {
    let Some(clock) = Clock::new(Faked::All) else { return };
    let Some(dns) = Dns::start(|_| (NOW, here())) else { return };
    let server = Server::http(|seen| {
        let reply = match seen.path.strip_prefix("/to") {
            Some(number) => {
                Reply::redirect(302, format!("http://{}/{number}", seen.host.replace("127.0.0.1", "moving.test")))
            }
            None => Reply::ok("here"),
        };
        reply.header("connection", "close")
    });
    let mut running = Fetch::recorded().stdin(Stdin::Open).clocked_by(&clock).asking(&dns).start();
    let mut fetch = |number: usize| {
        running.write_stdin(format!("{}\n", url(&server, number)));
        running.wait_for_lines(Stream::Out, number + 1);
        // Those for IPv6 may come later than what is fetched.
        dns.asked().iter().filter(|question| !question.is_ipv6).count()
    };
    assert_eq!(fetch(0), 1);
    assert_eq!(fetch(1), 1, "it is known");
    for minutes in 1..4 {
        clock.set(&format!("+{}", minutes * 61));
        assert_eq!(fetch(2 * minutes), minutes + 1, "after {minutes} minutes");
        assert_eq!(fetch(2 * minutes + 1), minutes + 1, "and it is known again");
    }
    running.close_stdin();
    running.finish().assert_exit(0).check_invariants(8);
}

#[test]
fn a_kill_while_names_are_looked_up_costs_nothing() {
    const NAMES: usize = 30;
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = slow.clone();
    let Some(dns) = Dns::start(move |_| match is_slow.load(Ordering::Relaxed) {
        true => (NOW, Answer::Silence),
        false => (NOW, here()),
    }) else {
        return;
    };
    let server = Server::http(|seen: &Seen| Reply::ok(seen.host.clone()));
    let list: Vec<String> = (0..NAMES).map(|number| server.url_as(&format!("n{number}.test"), "/a")).collect();
    let place = Place::new();
    let fetch = || {
        let args = ["--json", "-d", "out", "--tree", "-j", "50", "--connect-timeout", "60", "--journal", "j"];
        place.fetch().asking(&dns).args(args).urls(&list)
    };
    let running = fetch().start();
    let names = || dns.asked().into_iter().map(|question| question.name).collect::<HashSet<_>>().len();
    // Each is looked up twice, by twenty threads.
    until("every thread to look one up", || names() >= 10);
    assert!(running.kill().json().is_empty());
    slow.store(false, Ordering::Relaxed);
    let run = fetch().run();
    run.assert_exit(0).check_invariants(NAMES);
    assert_eq!((run.results(), place.names("out").len()), (vec!["ok".to_owned(); NAMES], NAMES), "{run}");
}

#[test]
fn lookups_that_never_end_do_not_hold_up_the_second_signal() {
    const NAMES: usize = 25;
    let Some(dns) = Dns::start(|_| (NOW, Answer::Silence)) else { return };
    let list: Vec<String> = (0..NAMES).map(|number| format!("http://n{number}.test/a")).collect();
    let args = ["--tree", "-j", "50", "--connect-timeout", "60"];
    let running = Fetch::recorded().asking(&dns).args(args).urls(&list).start();
    let names = || dns.asked().into_iter().map(|question| question.name).collect::<HashSet<_>>().len();
    // Each is looked up twice, by twenty threads.
    until("every thread to look one up", || names() >= 10);
    running.send_signal_and_settle(Signal::INT);
    let stopped = Instant::now();
    running.send_signal(Signal::INT);
    let run = running.finish();
    let took = stopped.elapsed();
    run.assert_signal(Signal::INT).check_invariants(NAMES);
    assert_eq!(run.results(), ["cancelled"; NAMES], "{run}");
    assert!(took < Duration::from_secs(2), "{took:?}: the threads wait ten seconds for their answers\n{run}");
}
