//! Servers that answer wrongly, slowly, or not at all, byte by byte: what is a failure, of which class, and that a
//! failure is never taken for a file.

use std::time::Duration;

use crate::harness::command::Stdin;
use crate::harness::raw::{BlackHole, refusing_url};
use crate::harness::reply::gzip;
use crate::harness::{Fetch, Finished, Gate, Raw, Reply, Seen, Server, Step, Stream};

/// One attempt at what a raw server always answers.
fn fetch_raw(answer: impl AsRef<[u8]>) -> Finished {
    fetch_steps(Step::answer(answer))
}

/// One attempt at what a raw server always does.
fn fetch_steps(steps: Vec<Step>) -> Finished {
    let server = Raw::always(steps);
    let run = Fetch::recorded().args(["--retry", "0", "-m", "20"]).arg(server.url("/a")).run();
    assert!(!run.place().exists("out/a") || run.record()["result"] == "ok", "{run}");
    run.check_invariants(1);
    run
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn a_body_that_breaks_off_is_partial() {
    let half = "x".repeat(500);
    let answers = [
        format!("{OK}Content-Length: 1000\r\n\r\n{half}"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n3e8\r\n{half}"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n1f4\r\n{half}\r\n"),
    ];
    for answer in &answers {
        fetch_raw(answer).assert_exit(1).assert_failed_with("partial", 18);
    }
    for answer in &answers {
        let mut steps = Step::answer(answer);
        steps.push(Step::Reset);
        fetch_steps(steps).assert_exit(1).assert_failed("partial");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let answer = "HTTP/1.0 200 OK\r\n\r\nall of it";
    let run = fetch_raw(answer);
    run.assert_exit(0);
    assert_eq!(run.place().read("out/a"), b"all of it");
    let mut steps = Step::answer(answer);
    steps.push(Step::Reset);
    fetch_steps(steps).assert_exit(1).assert_failed("partial");
}

#[test]
fn a_connection_without_a_valid_answer_is_a_protocol_failure() {
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for (name, answer) in [
        ("text without a head", &b"hello\n"[..]),
        ("a greeting of SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        ("a greeting of FTP", b"220 welcome\r\n"),
        ("binary", &binary),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("half a status line", b"HTTP/1."),
    ] {
        let run = fetch_raw(answer);
        assert_eq!(run.record()["error_class"], "protocol", "{name}\n{run}");
    }
}

#[test]
fn a_connection_that_ends_without_a_word_is_a_protocol_failure() {
    fetch_steps(vec![Step::ReadHead]).assert_failed_with("protocol", 52);
    fetch_steps(vec![Step::ReadHead, Step::Reset]).assert_failed("protocol");
    fetch_raw(format!("{OK}Content-Length: 5\r\n")).assert_failed("protocol");
}

#[test]
fn impossible_lengths_are_never_a_file_of_the_wrong_length() {
    for headers in [
        "Content-Length: -5",
        "Content-Length: five",
        "Content-Length: 5 5",
        "Content-Length: 5, 6",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 99999999999999999999999999999999999999999999999999",
        "Content-Length: 9223372036854775808",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let run = fetch_raw(format!("{OK}{headers}\r\n\r\nhello"));
        assert!(run.record()["result"] == "failed" || run.place().read("out/a") == b"hello", "{headers}\n{run}");
    }
    for chunk in [
        "-1\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello",
        "5hello\r\n0\r\n\r\n",
        "5\r\nhello",
        "\r\n",
    ] {
        let run = fetch_raw(format!("{OK}Transfer-Encoding: chunked\r\n\r\n{chunk}"));
        assert_eq!(run.record()["result"], "failed", "{chunk:?}\n{run}");
    }
}

#[test]
fn a_length_of_terabytes_is_a_number_like_any_other() {
    let answer = format!("{OK}Content-Length: {}\r\n\r\nhello", 1u64 << 41);
    let run = fetch_raw(&answer);
    run.assert_exit(1).assert_failed_with("partial", 18);
    assert_eq!(run.record()["size_download"], 5, "{run}");
    assert_eq!(run.place().read("out/a.part"), b"hello", "{run}");
    let server = Raw::always(Step::answer(&answer));
    for (limit, class) in [("1T", "too_large"), ("2T", "partial")] {
        let args = ["--retry", "0", "--max-filesize", limit];
        Fetch::recorded().args(args).arg(server.url("/a")).run().assert_exit(1).assert_failed(class);
    }
}

#[test]
fn odd_status_lines_are_answers_or_failures_but_never_a_panic() {
    for status in [
        "HTTP/1.1 0 x",
        "HTTP/1.1 99 x",
        "HTTP/1.1 999 x",
        "HTTP/1.1 -1 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1",
        "HTTP/1.1 abc x",
    ] {
        let run = fetch_raw(format!("{status}\r\nContent-Length: 5\r\n\r\nhello"));
        run.assert_exit(1);
    }
    for status in ["HTTP/1.1 200", "HTTP/3.7 200 OK"] {
        let run = fetch_raw(format!("{status}\r\nContent-Length: 5\r\n\r\nhello"));
        run.assert_exit(0);
        assert_eq!(run.place().read("out/a"), b"hello", "{status}");
    }
    fetch_raw(format!("HTTP/1.1 2{} x\r\n\r\n", "0".repeat(100))).assert_exit(1);
}

#[test]
fn oversized_heads_are_protocol_failures() {
    let many = "X-Y: z\r\n".repeat(6000);
    fetch_raw(format!("{OK}X: {}\r\n\r\n", "y".repeat(200 << 10))).assert_failed("protocol");
    fetch_raw(format!("{OK}{}\r\n", format!("X: {}\r\n", "y".repeat(10 << 10)).repeat(40))).assert_failed("protocol");
    fetch_raw(format!("{OK}{many}\r\n")).assert_failed("protocol");
    fetch_steps(vec![Step::ReadHead, Step::SendForever(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec())])
        .assert_failed("protocol");
}

#[test]
fn oversized_heads_take_no_memory() {
    let (line, many) = (format!("X: {}\r\n", "y".repeat(90 << 10)), "X-Y: z\r\n".repeat(6000));
    let heads = [format!("X: {}\r\n\r\n", "y".repeat(200 << 10)), format!("{}\r\n", line.repeat(4)), many];
    let answer = move |number: usize| match number {
        0 => format!("{OK}Content-Length: 5\r\n\r\nhello"),
        _ => format!("{OK}{}\r\n", heads[number % heads.len()]),
    };
    let server = Raw::start(move |number| Step::answer(answer(number)));
    let mut running = Fetch::recorded().args(["--retry", "0", "-j", "1"]).stdin(Stdin::Open).start();
    running.write_stdin(format!("{}\n", server.url("/0")));
    running.wait_for_lines(Stream::Out, 1);
    let before = running.peak_rss();
    running.write_stdin((1..31).map(|number| format!("{}\n", server.url(&format!("/{number}")))).collect::<String>());
    running.wait_for_lines(Stream::Out, 31);
    let grown = running.peak_rss() - before;
    let run = running.finish();
    run.assert_exit(1).check_invariants(31);
    assert_eq!(run.results()[1..], ["failed"; 30], "{run}");
    assert!(grown < 1 << 20, "{grown} bytes for heads");
}

#[test]
fn informational_answers_before_the_real_one_do_no_harm() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n".repeat(10);
    let run = fetch_raw(format!("{hints}{OK}Content-Length: 5\r\n\r\nhello"));
    run.assert_exit(0);
    assert_eq!(run.place().read("out/a"), b"hello");
}

#[test]
fn bytes_after_the_end_are_not_part_of_the_file() {
    let run = fetch_raw(format!("{OK}Content-Length: 5\r\n\r\nhello and more"));
    run.assert_exit(0);
    assert_eq!(run.place().read("out/a"), b"hello");
}

#[test]
fn a_server_that_never_answers_stalls_and_holds_up_nobody_else() {
    let silent = Raw::always(vec![Step::ReadHead, Step::Hang]);
    let server = Server::http(|_| Reply::ok("fast"));
    let mut urls = vec![silent.url("/slow")];
    urls.extend((0..20).map(|number| server.url(&format!("/{number}"))));
    let run = Fetch::recorded().args(["--retry", "0", "--stall-timeout", "1", "-j", "4"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(21);
    assert_eq!(run.records()[0]["error_class"], "stall", "{run}");
    assert_eq!(run.json()[20]["urlnum"], 0, "the silent one ends last\n{run}");
    assert_eq!(run.results().iter().filter(|result| *result == "ok").count(), 20, "{run}");
}

#[test]
fn no_attempt_outlasts_its_limit() {
    let head = Step::SendSlowly { bytes: format!("{OK}X: ").into_bytes(), every: Duration::from_millis(50) };
    let more = Step::SendSlowly { bytes: vec![b'y'; 10_000], every: Duration::from_millis(50) };
    let server = Raw::always(vec![Step::ReadHead, head, more]);
    let run = Fetch::recorded().args(["--retry", "0", "-m", "1.5"]).arg(server.url("/a")).run();
    run.assert_exit(1).assert_failed_with("timeout", 28).check_invariants(1);
}

#[test]
fn a_host_that_does_not_answer_a_connect_is_given_up() {
    let hole = BlackHole::new();
    let run = Fetch::recorded().args(["--retry", "0", "--connect-timeout", "1"]).arg(hole.url()).run();
    run.assert_exit(1).check_invariants(1);
    let record = run.record();
    assert_eq!(record["error_class"], "connect", "{run}");
    assert_eq!(record["exitcode"], 28, "{run}");
    assert!(record["remote_port"].is_null(), "{run}");
}

#[test]
fn networks_that_cannot_be_reached_are_connect_failures_at_once() {
    let script = "ip link set lo up && ip route add blackhole 10.1.0.0/24 && ip route add unreachable 10.2.0.0/24 &&
        ip route add prohibit 10.3.0.0/24 || exit 9; exec \"$@\"";
    let private = std::process::Command::new("unshare").args(["-n", "bash", "-c", script, "bash", "true"]).status();
    if !private.is_ok_and(|status| status.success()) {
        return println!("skipped: a network of its own needs root, unshare and ip");
    }
    // The last has no route at all.
    let urls = ["http://10.1.0.1/", "http://10.2.0.1/", "http://10.3.0.1/", "http://10.4.0.1/"];
    let fetch = Fetch::recorded().args(["--retry", "0", "--connect-timeout", "30"]).urls(&urls);
    let run = fetch.under(["unshare", "-n", "bash", "-c", script, "bash"]).run();
    run.assert_exit(1).check_invariants(4);
    for record in run.records() {
        assert_eq!((&record["error_class"], &record["exitcode"]), (&"connect".into(), &7.into()), "{run}");
    }
}

#[test]
fn a_refused_connection_and_an_unknown_name_are_classes_of_their_own() {
    let run = Fetch::recorded().args(["--retry", "0"]).arg(refusing_url()).run();
    run.assert_exit(1).assert_failed_with("connect", 7).check_invariants(1);
    let run = Fetch::recorded().args(["--retry", "0"]).arg("http://no-such-host.invalid/").run();
    run.assert_exit(1).assert_failed_with("dns", 6).check_invariants(1);
}

#[test]
fn failures_that_may_pass_are_tried_again() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/502", 0 | 1) => Reply::status(502).body("not yet"),
        ("/always", _) => Reply::status(503),
        _ => Reply::ok("at last"),
    });
    let broken = Raw::start(|number| match number {
        0 => vec![Step::ReadHead],
        1 => vec![Step::ReadHead, Step::Reset],
        2 => Step::answer(format!("{OK}Content-Length: 1000\r\n\r\nhalf")),
        _ => Step::answer(format!("{OK}Content-Length: 5\r\n\r\nwhole")),
    });
    let urls = [server.url("/502"), server.url("/always"), broken.url("/broken")];
    let run = Fetch::recorded().args(["--retry", "3", "--retry-delay", "0.01"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(3);
    let records = run.records();
    assert_eq!((&records[0]["result"], &records[0]["num_retries"]), (&"ok".into(), &2.into()), "{run}");
    assert_eq!((&records[1]["result"], &records[1]["num_retries"]), (&"failed".into(), &3.into()), "{run}");
    assert_eq!((&records[2]["result"], &records[2]["num_retries"]), (&"ok".into(), &3.into()), "{run}");
    assert_eq!((server.count("/502"), server.count("/always")), (3, 4), "{run}");
    assert_eq!(run.place().read("out/broken"), b"whole");
}

#[test]
fn the_delay_between_attempts_is_kept() {
    let server = Server::http(|seen: &Seen| if seen.earlier < 2 { Reply::status(503) } else { Reply::ok("x") });
    let run = Fetch::recorded().args(["--retry-delay", "0.3"]).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    for pair in server.seen().windows(2) {
        let pause = pair[1].started - pair[0].ended.expect("it was answered");
        assert!(pause >= Duration::from_millis(290), "{pause:?}\n{run}");
    }
}

#[test]
fn failures_that_will_not_pass_are_tried_once() {
    let server =
        Server::http(|seen: &Seen| Reply::status(seen.path[1..].parse().expect("a status")).body("an error page"));
    let statuses = [400, 401, 403, 404, 405, 410, 451, 501, 505];
    let urls: Vec<String> = statuses.iter().map(|status| server.url(&format!("/{status}"))).collect();
    let run = Fetch::recorded().args(["--retry-delay", "0.01"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(urls.len());
    for (record, status) in run.records().iter().zip(statuses) {
        assert_eq!(record["error_class"], "http", "{run}");
        assert_eq!(record["exitcode"], 22, "{run}");
        assert_eq!(record["http_code"], status, "{run}");
        assert_eq!(server.count(&format!("/{status}")), 1, "{run}");
    }
    assert!(run.place().names("out").is_empty(), "{run}");
}

#[test]
fn statuses_of_a_busy_server_are_tried_again() {
    let server = Server::http(|seen: &Seen| match seen.earlier {
        0 => Reply::status(seen.path[1..].parse().expect("a status")),
        _ => Reply::ok("x"),
    });
    let statuses = ["/408", "/425", "/429", "/500", "/502", "/503", "/504", "/520", "/522", "/524"];
    let run = Fetch::recorded().args(["--retry-delay", "0.01"]).urls(&statuses.map(|path| server.url(path))).run();
    run.assert_exit(0).check_invariants(statuses.len());
    assert!(run.records().iter().all(|record| record["num_retries"] == 1), "{run}");
}

#[test]
fn an_unexpected_kind_of_success_or_redirect_is_a_failure() {
    for answer in [
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 300 Multiple Choices\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 305 Use Proxy\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let run = fetch_raw(answer);
        run.assert_exit(1);
        if answer.starts_with("HTTP/1.1 3") {
            run.assert_failed("http");
        }
    }
}

#[test]
fn a_large_error_page_is_not_saved() {
    for status in [404, 500] {
        let server = Server::http(move |_| Reply::status(status).body(vec![b'x'; 10 << 20]));
        let run = Fetch::recorded().args(["--retry", "0"]).arg(server.url("/a")).run();
        run.assert_exit(1).assert_failed("http").check_invariants(1);
        assert!(run.place().names("out").is_empty(), "{run}");
    }
}

#[test]
fn coded_bodies_are_stored_as_sent_unless_asked_otherwise() {
    let server = Server::http(|_| Reply::status(200).gzip(b"plain text"));
    let run = Fetch::recorded().arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.place().read("out/a"), gzip(b"plain text"));
    assert_eq!(server.seen()[0].header("accept-encoding"), None);
    let run = Fetch::recorded().arg("--compressed").arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.place().read("out/a"), b"plain text");
    assert!(server.seen()[1].header("accept-encoding").is_some_and(|codings| codings.contains("gzip")), "{run}");
}

#[test]
fn a_coded_body_that_cannot_be_decoded_is_a_failure() {
    let coded = gzip(&vec![b'x'; 1000]);
    let mut wrong = coded.clone();
    let sum = wrong.len() - 8;
    wrong[sum] ^= 0xff;
    for (name, body) in [
        ("truncated", &coded[..coded.len() / 2]),
        ("no sum", &coded[..coded.len() - 8]),
        ("wrong sum", &wrong),
        ("text", b"text"),
    ] {
        let body = body.to_vec();
        let server = Server::http(move |_| Reply::ok(body.clone()).header("content-encoding", "gzip"));
        let run = Fetch::recorded().args(["--compressed", "--retry", "0"]).arg(server.url("/a")).run();
        run.check_invariants(1);
        assert_eq!(run.record()["result"], "failed", "{name}\n{run}");
    }
}

#[test]
fn a_body_that_two_lines_say_is_coded_twice_is_not_stored_half_decoded() {
    let server = Server::http(|_| Reply::status(200).header("content-encoding", "gzip").gzip(&gzip(b"plain")));
    let run = Fetch::recorded().args(["--compressed", "--retry", "0"]).arg(server.url("/a")).run();
    run.assert_exit(1).assert_failed("protocol").check_invariants(1);
}

#[test]
fn hosts_that_share_an_address_do_not_share_answers() {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.host.split(':').next().unwrap_or_default().to_owned()));
    let hosts = ["a.test", "b.test"];
    let urls: Vec<String> = (0..20).map(|number| server.url_as(hosts[number % 2], &format!("/{number}"))).collect();
    let resolve = hosts.map(|host| server.resolve(host));
    let run = Fetch::recorded().args(["--resolve", &resolve[0], "--resolve", &resolve[1]]).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    for number in 0..20 {
        assert_eq!(run.place().read_text(&format!("out/{number}")), hosts[number % 2]);
    }
}

#[test]
fn no_more_transfers_run_at_once_than_asked() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x").held_by(&held));
    let other = Server::http_at([127, 0, 0, 9].into(), |_| Reply::ok("x"));
    let mut urls: Vec<String> = (0..40).map(|number| server.url(&format!("/{number}"))).collect();
    urls.push(other.url("/other"));
    let running = Fetch::recorded().args(["-j", "7"]).urls(&urls).start();
    server.wait("seven at once", |counts| counts.running == 7);
    for _ in 0..40 {
        gate.let_through(1);
    }
    running.finish().assert_exit(0).check_invariants(41);
    assert_eq!(server.counts(|counts| counts.most_running), 7);
}
