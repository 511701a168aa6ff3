//! Servers that send a byte now and then, for ever: who is given up, when, and that nobody else waits for it.

use std::time::Duration;

use crate::harness::{Fetch, Raw, Reply, Server, Step};

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn a_body_that_stops_stalls_and_one_that_drips_does_not() {
    let head = format!("{OK}Content-Length: 30\r\n\r\n");
    let stopped = vec![Step::ReadHead, Step::Send(format!("{head}half").into_bytes()), Step::Hang];
    let dripping = Step::SendSlowly { bytes: vec![b'x'; 30], every: Duration::from_millis(100) };
    let dripping = vec![Step::ReadHead, Step::Send(head.into_bytes()), dripping];
    let server = Raw::start(move |number| if number == 0 { stopped.clone() } else { dripping.clone() });
    let args = ["--retry", "0", "--stall-timeout", "2"];
    let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
    run.assert_exit(1).assert_failed_with("stall", 28).check_invariants(1);
    let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
}

#[test]
fn a_head_that_drips_for_ever_stalls() {
    // Neither byte after byte of one header field nor line after line is an answer yet, or progress.
    let every = Duration::from_millis(100);
    let field = vec![Step::SendSlowly { bytes: format!("{OK}X: {}", "y".repeat(1000)).into_bytes(), every }];
    let pause = Step::SendSlowly { bytes: b"Y".to_vec(), every };
    let line = [Step::Send(b"X: a line\r\n".to_vec()), pause, Step::Send(b": another\r\n".to_vec())];
    let lines = std::iter::once(Step::Send(OK.into())).chain(std::iter::repeat_n(line, 1000).flatten()).collect();
    for drip in [field, lines] {
        let server = Raw::always([vec![Step::ReadHead], drip].concat());
        let run = Fetch::recorded().args(["--retry", "0", "--stall-timeout", "2"]).arg(server.url("/a")).run();
        run.assert_exit(1).assert_failed_with("stall", 28).check_invariants(1);
    }
}

#[test]
fn fifty_bodies_that_drip_cost_no_other_host() {
    // Ten bytes a second.
    let drip = Step::SendSlowly { bytes: vec![b'x'; 10_000], every: Duration::from_millis(100) };
    let head = Step::Send(format!("{OK}Content-Length: 1000000\r\n\r\n").into_bytes());
    let slow = Raw::always(vec![Step::ReadHead, head, drip]);
    let fast = Server::http_at([127, 0, 0, 2].into(), |_| Reply::ok("fast"));
    let mut urls: Vec<String> = (0..50).map(|number| slow.url(&format!("/{number}"))).collect();
    urls.extend((0..50).map(|number| fast.url(&format!("/{number}"))));
    let too_slow = ["-y", "5", "-Y", "1k"];
    for (jobs, limit, reason) in [
        (&["-j", "60"][..], &["-m", "5"][..], ""),
        (&[], &["-m", "5"], ""),
        (&["-j", "60"], &too_slow, "--speed-limit"),
    ] {
        let before = fast.seen().len();
        let args = [jobs, limit, &["--tree", "--retry", "0", "--per-host", "50"]].concat();
        let running = Fetch::recorded().args(&args).urls(&urls).start();
        fast.wait("every fast answer", |counts| counts.requests.len() == before + 50 && counts.running == 0);
        assert!(running.is_alive(), "the slow ones go on");
        let run = running.finish();
        run.assert_exit(1).check_invariants(100);
        for record in &run.records()[..50] {
            assert_eq!((&record["error_class"], &record["exitcode"]), (&"timeout".into(), &28.into()), "{run}");
            assert!(record["errormsg"].as_str().is_some_and(|text| text.contains(reason)), "{run}");
        }
        assert!(run.results()[50..].iter().all(|result| result == "ok"), "{run}");
    }
}
