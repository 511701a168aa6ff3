//! Many transfers on few connections: streams that are scarce, connections that servers end after so many requests
//! or while nothing runs, hosts that only look like one.

use std::collections::HashMap;
use std::time::Duration;

use crate::harness::authority::Alpn;
use crate::harness::command::Stdin;
use crate::harness::http::Farewell;
use crate::harness::nginx::Listen;
use crate::harness::{Authority, Fetch, Finished, Nginx, Reply, Seen, Server, Stream, until};

/// Every path answers with itself, a thousand times.
fn echo(seen: &Seen) -> Reply {
    Reply::ok(seen.path.repeat(1000))
}

fn numbered(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|number| server.url(&format!("/{number}"))).collect()
}

/// All whole, and at the first attempt.
#[track_caller]
fn check(run: &Finished, count: usize) {
    run.assert_exit(0).check_invariants(count);
    let again = run.records().into_iter().find(|record| record["num_retries"] != 0);
    assert!(again.is_none(), "it was tried again: {}\n{run}", again.unwrap_or_default());
    for (name, content) in run.place().tree("out") {
        assert!(content == format!("/{name}").repeat(1000).into_bytes(), "{name}\n{run}");
    }
}

#[test]
fn three_hundred_urls_share_one_connection() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, echo);
    let fetch = Fetch::recorded().args(["-j", "100", "--cacert"]).arg(authority.pem());
    let run = fetch.urls(&numbered(&server, 300)).run();
    check(&run, 300);
    assert_eq!(server.counts(|counts| counts.connections), 1, "{run}");
}

#[test]
fn a_file_that_is_written_slowly_holds_up_no_other_stream_of_its_connection() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| match seen.path.as_str() {
        "/slow" => Reply::ok(vec![b'x'; 24 << 20]),
        _ => Reply::ok(vec![b'y'; 300_000]),
    });
    let mut urls = vec![server.url("/slow")];
    urls.extend(numbered(&server, 49));
    let fetch = Fetch::recorded().args(["-j", "50", "--retry", "0", "--cacert"]).arg(authority.pem()).urls(&urls);
    // Of the writes behind, the first takes ten seconds, and none overtakes it.
    let Some(fetch) = fetch.inject_at("out/slow.part", "pwrite64:delay_exit=10000000:when=1") else { return };
    let running = fetch.start();
    running.wait_for_lines(Stream::Out, 49);
    let written = running.place().path("out/slow.part").metadata().map_or(0, |part| part.len());
    assert!((1..2 << 20).contains(&written), "{written} bytes are on disk when the others have ended");
    let run = running.finish();
    run.assert_exit(0).check_invariants(50);
    assert_eq!(run.json()[49]["urlnum"], 0, "{run}");
    assert_eq!(server.counts(|counts| counts.connections), 1, "{run}");
    assert!(run.place().read("out/slow") == vec![b'x'; 24 << 20], "{run}");
}

/// Three hundred URLs, so many at once, from a server that allows so many streams on a connection.
fn fetch_by_few_streams(streams: u32, jobs: &str) -> (Finished, Server) {
    let authority = Authority::new();
    let server = Server::http2_with_streams(streams, &authority.identity(), echo);
    let fetch = Fetch::recorded().args(["-j", jobs, "--cacert"]).arg(authority.pem());
    (fetch.urls(&numbered(&server, 300)).run(), server)
}

#[test]
fn a_server_that_allows_few_streams_gets_no_more_on_a_connection() {
    for streams in [1, 3] {
        let (run, server) = fetch_by_few_streams(streams, "8");
        run.assert_exit(0).check_invariants(300);
        let (connections, most) = server.counts(|counts| (counts.connections, counts.most_running));
        assert!(most <= connections * streams as usize, "{most} at once on {connections} connections\n{run}");
        assert_eq!(server.seen().len(), 300, "one request each\n{run}");
    }
}

#[test]
fn a_server_that_allows_few_streams_loses_no_url_however_many_are_wanted() {
    // The limit comes after the first streams were opened: refused ones may come to cost an attempt.
    for streams in [1, 3, 20] {
        let (run, _server) = fetch_by_few_streams(streams, "100");
        run.assert_exit(0).check_invariants(300);
    }
}

#[test]
fn a_response_that_has_arrived_is_not_waited_for() {
    let authority = Authority::new();
    let identity = authority.identity();
    for (streams, jobs) in [(1, "8"), (1, "8"), (1, "8"), (3, "16"), (3, "32")] {
        // Streams that are refused end in the same packet in which the response of another one comes.
        let server = Server::http2_with_streams(streams, &identity, echo);
        let patience = ["-j", jobs, "--retry", "0", "--stall-timeout", "10", "--connect-timeout", "3000"];
        let fetch = Fetch::recorded().args(patience).arg("--cacert").arg(authority.pem());
        let run = fetch.urls(&numbered(&server, 300)).run();
        run.check_invariants(300);
        let stalled = run.records().iter().filter(|record| record["error_class"] == "stall").count();
        assert_eq!(stalled, 0, "the server had answered every request that it took\n{run}");
    }
}

/// Four URLs, one after another, from a server that ends all connections after each.
fn fetch_between_farewells(name: &str, server: &Server, authority: &Authority, farewell: Farewell) {
    let mut running = Fetch::recorded().arg("--cacert").arg(authority.pem()).stdin(Stdin::Open).start();
    for number in 0..4 {
        running.write_stdin(format!("{}\n", server.url(&format!("/{number}"))));
        running.wait_for_lines(Stream::Out, number + 1);
        server.hang_up(farewell);
    }
    running.close_stdin();
    let run = running.finish();
    run.assert_exit(0).check_invariants(4);
    // A reset may only be found by the next request on the connection; one that was announced costs nothing.
    if !matches!(farewell, Farewell::Abrupt) {
        check(&run, 4);
        assert_eq!(server.seen().len(), 4, "{name}, {farewell:?}: one request each");
    }
}

#[test]
fn a_connection_that_was_ended_while_it_was_idle_costs_no_attempt() {
    let authority = Authority::new();
    let identity = authority.identity();
    for farewell in [Farewell::Polite, Farewell::Abrupt] {
        fetch_between_farewells("HTTP/1.1", &Server::http(echo), &authority, farewell);
        let server = Server::tls(&identity, Alpn::Http11, echo);
        fetch_between_farewells("HTTP/1.1 and TLS", &server, &authority, farewell);
    }
    let server = Server::tls(&identity, Alpn::Http2, echo);
    fetch_between_farewells("HTTP/2", &server, &authority, Farewell::Polite);
}

#[test]
fn an_http_2_connection_that_vanished_while_it_was_idle_costs_no_url() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, echo);
    fetch_between_farewells("HTTP/2", &server, &authority, Farewell::Abrupt);
}

#[test]
fn hosts_with_one_address_and_one_certificate_do_not_share_connections() {
    let authority = Authority::new();
    let host = |seen: &Seen| seen.host.split(':').next().unwrap_or_default().to_owned();
    let server = Server::tls(&authority.identity(), Alpn::Http2, move |seen: &Seen| Reply::ok(host(seen)));
    let hosts = ["a.test", "b.test"];
    let urls: Vec<String> = (0..40).map(|number| server.url_as(hosts[number % 2], &format!("/{number}"))).collect();
    let resolve = hosts.map(|host| server.resolve(host));
    let fetch = Fetch::recorded().args(["--resolve", &resolve[0], "--resolve", &resolve[1], "--cacert"]);
    let run = fetch.arg(authority.pem()).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    for number in 0..40 {
        assert_eq!(run.place().read_text(&format!("out/{number}")), hosts[number % 2]);
    }
    let mut host_of = HashMap::new();
    for seen in server.seen() {
        assert_eq!(
            seen.host,
            *host_of.entry(seen.connection).or_insert(seen.host.clone()),
            "one connection, two hosts"
        );
    }
}

/// Fetches from an nginx that closes every connection after so many requests.
fn fetch_by_short_connections(requests: u32, urls: &[fn(&Nginx, &str) -> String]) {
    const FILES: usize = 5000;
    let Some(nginx) = Nginx::start_closing_after(requests, Listen::Localhost) else { return };
    for number in 0..FILES {
        std::fs::write(nginx.root().join(number.to_string()), number.to_string()).expect("write a file to serve");
    }
    for url in urls {
        let urls: Vec<String> = (0..FILES).map(|number| url(&nginx, &format!("/{number}"))).collect();
        let fetch = Fetch::recorded().args(["-j", "200", "--cacert"]).arg(nginx.cacert());
        let run = fetch.bound(Duration::from_secs(300)).urls(&urls).run();
        run.assert_exit(0).check_invariants(FILES);
        let tree = run.place().tree("out");
        assert!((0..FILES).all(|number| tree[&number.to_string()] == number.to_string().into_bytes()), "{run}");
    }
    until("the log", || nginx.accesses().len() >= urls.len() * FILES);
    let mut carried = HashMap::<u64, u32>::new();
    for access in nginx.accesses() {
        *carried.entry(access.connection).or_default() += 1;
    }
    assert!(carried.values().all(|count| *count <= requests), "nginx did not close them");
    assert!(carried.values().any(|count| *count == requests), "no connection was closed for its requests");
}

#[test]
fn connections_that_are_closed_after_twenty_requests_lose_no_url() {
    // Two hundred connections share the work: with more requests each, none of them would come to its end.
    fetch_by_short_connections(20, &[Nginx::http, Nginx::tls]);
}

#[test]
fn http_2_connections_that_are_closed_after_a_hundred_requests_lose_no_url() {
    fetch_by_short_connections(100, &[Nginx::http2]);
}
