//! A disk that is slower than the network: what is written to it waits, and nothing else does.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::authority::Alpn;
use crate::harness::command::Stdin;
use crate::harness::reply::gzip;
use crate::harness::{Authority, Fetch, Reply, Seen, Server, Stream, until};

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
fn what_decoders_make_of_a_few_bytes_waits_for_the_disk_and_nobody_else_does() {
    let coded = gzip(&vec![b'x'; 64 << 20]);
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/small" => Reply::ok("y"),
        _ => Reply::ok(coded.clone()).header("content-encoding", "gzip"),
    });
    let fetch = Fetch::recorded().args(["--compressed", "-j", "13", "--retry", "0"]).stdin(Stdin::Open);
    let place = fetch.place().clone();
    // Half a megabyte in a second, where each piece from the network is sixteen.
    let Some(fetch) = fetch.inject("pwrite64:delay_enter=1000000") else { return };
    let mut running = fetch.start();
    running.write_stdin(server.numbered("/", 12).join("\n") + "\n");
    until("a slow write", || !place.trace().is_empty());
    running.write_stdin(format!("{}\n", server.url("/small")));
    running.wait_for_line(Stream::Out, "/small");
    running.send_signal(Signal::INT);
    running.wait_for_line(Stream::Err, "stopping");
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(13);
    assert_eq!(run.results().iter().filter(|result| *result == "ok").count(), 1, "{run}");
}

#[test]
fn a_slow_disk_gets_whole_bodies_in_their_order() {
    let body: Vec<u8> = (0..12_000_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
    let authority = Authority::new();
    let (plain, streams, coded) = (body.clone(), body.clone(), gzip(&body));
    let root = authority.pem().display().to_string();
    let servers = [
        (Server::http(move |_| Reply::ok(plain.clone())), &[][..]),
        (
            Server::tls(&authority.identity(), Alpn::Http2, move |_| Reply::ok(streams.clone())),
            &["--cacert", &root][..],
        ),
        (Server::http(move |_| Reply::ok(coded.clone()).header("content-encoding", "gzip")), &["--compressed"][..]),
    ];
    for (server, args) in servers {
        let urls = server.numbered("/", 2);
        let fetch = Fetch::recorded().args(args).args(["--stall-timeout", "1", "--retry", "0"]).urls(&urls);
        let Some(fetch) = fetch.inject("pwrite64:delay_enter=5000") else { return };
        let run = fetch.run();
        run.assert_exit(0).check_invariants(2);
        assert!((0..2).all(|name| run.place().read(&format!("out/{name}")) == body), "{run}");
    }
}

#[test]
fn a_run_that_ends_early_does_not_wait_for_the_disk() {
    let body: Vec<u8> = (0..64_000_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
    let large = body.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/large" => Reply::ok(large.clone()).header("etag", "\"1\""),
        path => Reply::ok(path.to_owned()),
    });
    // The reader of standard output goes away, or results cannot be written.
    for (args, exit) in [(&["--json"][..], 141), (&["-q", "--results", "/dev/full"], 3)] {
        let (mut reader, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(read, write)| (File::from(read), Stdio::from(write)))
            .expect("make a pipe");
        let fetch = Fetch::new().args(["-d", "out", "--retry", "0"]).args(args).stdin(Stdin::Open).stdout(stdout);
        let place = fetch.place().clone();
        // What waits by then takes longer than the program is waited for.
        let Some(fetch) = fetch.inject_at("out/large.part", "pwrite64:delay_enter=10000000") else { return };
        let mut running = fetch.start();
        running.write_stdin(format!("{}\n", server.url("/large")));
        until("a slow write", || !place.trace().is_empty());
        running.write_stdin(format!("{}\n", server.url("/a")));
        if exit == 141 {
            reader.read_exact(&mut [0]).expect("a record");
            drop(reader);
            running.write_stdin(format!("{}\n", server.url("/b")));
        }
        let run = running.finish();
        assert_eq!(run.code().unwrap_or(141), exit, "{run}");
        let left = place.read("out/large.part");
        assert!(left.len() >= 1 << 20 && body.starts_with(&left), "{} bytes\n{run}", left.len());
        assert!(place.exists("out/large.part.meta"), "{run}");
    }
}
