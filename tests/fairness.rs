//! Slots between hosts: a slow one leaves the others what is theirs, wherever its URLs stand in the list.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::authority::Alpn;
use crate::harness::{Authority, Fetch, Gate, Reply, Seen, Server};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn fetch_past_slow_hosts(slow: usize, args: &[&str]) {
    let gate = Gate::new();
    let servers: Vec<Server> = (0..slow)
        .map(|number| {
            let gate = gate.clone();
            let addr = Ipv4Addr::new(127, 0, 1, 1 + number as u8);
            Server::http_at(addr, move |_| Reply::ok("slow").held_by(&gate))
        })
        .collect();
    let fast = Server::http_at(OTHER, |_| Reply::ok("fast"));
    let mut list: Vec<String> = servers.iter().flat_map(|server| server.numbered("/slow", 300 / slow)).collect();
    list.extend(fast.numbered("/fast", 300));
    let running = Fetch::recorded().args(args).args(["--tree"]).urls(&list).start();
    fast.wait("every fast answer", |counts| counts.requests.len() == 300 && counts.running == 0);
    let answered = servers.iter().flat_map(Server::seen).filter(|seen| seen.ended.is_some()).count();
    assert_eq!(answered, 0, "the slow ones wait for the gate");
    gate.open();
    running.finish().assert_exit(0).check_invariants(600);
}

#[test]
fn the_urls_of_a_fast_host_end_before_those_of_a_slow_one_that_were_listed_first() {
    fetch_past_slow_hosts(1, &["-j", "50"]);
    fetch_past_slow_hosts(1, &[]);
}

/// The fast one's connection takes a handshake more, and its answers a while: whoever connects first would have every slot.
#[test]
fn who_connects_first_does_not_get_every_slot() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Server::http(move |_| Reply::ok("slow").held_by(&held));
    let authority = Authority::new();
    let answer = |_: &Seen| Reply::ok("fast").after(Duration::from_millis(50));
    let fast = Server::tls(&authority.identity(), Alpn::Http11, answer);
    let list = [slow.numbered("/slow", 300), fast.numbered("/fast", 300)].concat();
    let fetch = Fetch::recorded().args(["-j", "50", "--tree", "--cacert"]).arg(authority.pem());
    let running = fetch.urls(&list).start();
    fast.wait("every fast answer", |counts| counts.requests.len() == 300 && counts.running == 0);
    assert_eq!(fast.counts(|counts| counts.most_running), 25);
    gate.open();
    running.finish().assert_exit(0).check_invariants(600);
}

#[test]
fn the_urls_of_a_fast_host_end_before_those_of_many_slow_ones() {
    fetch_past_slow_hosts(6, &["-j", "50"]);
    fetch_past_slow_hosts(6, &[]);
}

#[test]
fn a_slow_host_does_not_get_every_slot_from_a_long_run_of_its_lines() {
    let slow = Server::http(|_| Reply::ok("slow").after(Duration::from_secs(1)));
    let fast = Server::http_at(OTHER, |_| Reply::ok("fast"));
    let mut list = slow.numbered("/slow", 2000);
    list.extend(fast.numbered("/fast", 300));
    let run = Fetch::recorded().args(["-j", "100", "--tree"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    let last = fast.seen().iter().filter_map(|seen| seen.ended).max();
    let before = slow.seen().iter().filter(|seen| seen.ended <= last).count();
    assert!(before < 200, "{before} of the slow host's were answered before the last of the fast one's");
}
