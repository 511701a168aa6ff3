//! A disk that is slower than the network: what is written to it waits, and nothing else does.

use rustix::process::Signal;

use crate::harness::command::Stdin;
use crate::harness::{Fetch, Reply, Seen, Server, Stream, until};

#[test]
fn while_a_large_body_waits_for_the_disk_others_go_their_way() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/large" => Reply::ok(vec![b'x'; 64 << 20]).header("etag", "\"1\""),
        _ => Reply::ok("y"),
    });
    let fetch = Fetch::recorded().args(["-j", "4", "--stall-timeout", "1", "--retry", "0"]).stdin(Stdin::Open);
    let place = fetch.place().clone();
    // Every half megabyte takes three seconds: more than the program is waited for.
    let Some(fetch) = fetch.inject_at("out/large.part", "pwrite64:delay_enter=3000000") else { return };
    let mut running = fetch.start();
    running.write_stdin(format!("{}\n", server.url("/large")));
    until("a slow write", || !place.trace().is_empty());
    for name in ["/a", "/b", "/c"] {
        running.write_stdin(format!("{}\n", server.url(name)));
        running.wait_for_line(Stream::Out, name);
    }
    until("more slow writes", || place.trace().len() > 3);
    assert!(place.exists("out/large.part"), "no deadline of the network's passed");
    running.send_signal(Signal::INT);
    running.wait_for_line(Stream::Err, "stopping");
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(4);
    assert_eq!(run.place().names("out"), ["a", "b", "c", "large.part", "large.part.meta"], "{run}");
}

#[test]
fn a_slow_disk_gets_the_whole_body_in_its_order() {
    let body: Vec<u8> = (0..40_000_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
    let sent = body.clone();
    let server = Server::http(move |_| Reply::ok(sent.clone()));
    let urls = ["/a", "/b"].map(|path| server.url(path));
    let Some(fetch) = Fetch::recorded().urls(&urls).inject("pwrite64:delay_enter=20000") else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(2);
    assert!(["out/a", "out/b"].iter().all(|name| run.place().read(name) == body), "{run}");
}
