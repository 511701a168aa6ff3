//! TLS and HTTP/2: who is trusted, and that nothing is tried twice that cannot become better.

use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};

use crate::harness::authority::Alpn;
use crate::harness::frames::frame;
use crate::harness::{Authority, Fetch, Finished, Gate, Identity, Place, Raw, Reply, Seen, Server, Step};

fn serve(identity: &Identity) -> Server {
    Server::tls(identity, Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()))
}

/// Fetches with the usual retries (without waiting between them), trusting `authority`.
fn fetch(authority: &Authority, args: &[&str], url: &str) -> Finished {
    let run =
        Fetch::recorded().args(["--retry-delay", "0.01", "--cacert"]).arg(authority.pem()).args(args).arg(url).run();
    run.check_invariants(1);
    run
}

#[test]
fn a_trusted_server_is_fetched_from_by_http_2() {
    let authority = Authority::new();
    let server = serve(&authority.identity());
    let run = fetch(&authority, &[], &server.url("/a"));
    run.assert_exit(0);
    let record = run.record();
    assert_eq!(record["http_version"], "2", "{run}");
    assert_eq!(record["scheme"], "https", "{run}");
    assert_eq!(server.seen()[0].version, "2", "{run}");
    assert!(record["time_appconnect"].as_f64().is_some_and(|time| time > 0.0), "{run}");
    fetch(&authority, &[], &server.url_as("127.0.0.1", "/a")).assert_exit(0);
}

#[test]
fn an_intermediate_that_the_server_sends_is_enough() {
    let authority = Authority::new();
    let server = serve(&authority.intermediate().identity());
    fetch(&authority, &[], &server.url("/a")).assert_exit(0);
}

type Edit = fn(&mut CertificateParams);

/// The server's certificate is refused: class `tls`, once, and no file.
#[track_caller]
fn is_refused(name: &str, authority: &Authority, identity: &Identity, host: &str) {
    let server = serve(identity);
    let run = fetch(authority, &[], &server.url_as(host, "/a"));
    run.assert_exit(1);
    assert_eq!(run.record()["error_class"], "tls", "{name}\n{run}");
    assert_eq!(run.record()["exitcode"], 60, "{name}\n{run}");
    assert_eq!(run.record()["num_retries"], 0, "{name}\n{run}");
    assert_eq!(server.counts(|counts| counts.connections), 1, "{name}: not tried again\n{run}");
    assert!(run.place().names("out").is_empty(), "{name}\n{run}");
}

#[test]
fn certificates_that_prove_nothing_are_refused_and_not_tried_again() {
    let authority = Authority::new();
    let unchanged: Edit = |_| {};
    let expired: Edit = |params| params.not_after = date_time_ymd(2020, 1, 1);
    let not_yet: Edit = |params| params.not_before = date_time_ymd(2400, 1, 1);
    let client_only: Edit = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let code_only: Edit = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    for (name, names, edit, host) in [
        ("expired", &["localhost"][..], expired, "localhost"),
        ("not yet valid", &["localhost"], not_yet, "localhost"),
        ("another host", &["elsewhere.test"], unchanged, "localhost"),
        ("an address that is not named", &["localhost"], unchanged, "127.0.0.1"),
        ("a partial wildcard", &["local*"], unchanged, "localhost"),
        ("for clients alone", &["localhost"], client_only, "localhost"),
        ("for code alone", &["localhost"], code_only, "localhost"),
    ] {
        is_refused(name, &authority, &authority.issue(names, edit), host);
    }
    is_refused("signed by nobody", &authority, &Identity::self_signed(), "localhost");
    is_refused("an unknown root", &authority, &Authority::new().identity(), "localhost");
    let without = authority.intermediate().identity().without_intermediate();
    is_refused("the intermediate is missing", &authority, &without, "localhost");
}

#[test]
fn our_own_authority_is_not_trusted_unasked() {
    let server = serve(&Authority::new().identity());
    let run = Fetch::recorded().arg(server.url("/a")).run();
    run.assert_exit(1).assert_failed("tls").check_invariants(1);
}

#[test]
fn insecure_means_insecure() {
    let server = serve(&Identity::self_signed());
    let run = Fetch::recorded().args(["-k", &server.url("/a")]).run();
    run.assert_exit(0).check_invariants(1);
}

#[test]
fn a_missing_file_of_authorities_is_named_before_anything_is_sent() {
    let server = serve(&Authority::new().identity());
    let run = Fetch::recorded().args(["--cacert", "no/such.pem", &server.url("/a")]).run();
    run.assert_exit(2).assert_stderr_has("no/such.pem").check_invariants(0);
    assert_eq!(server.counts(|counts| counts.connections), 0);
}

/// What the server says about who asks: class `tls`, once, and no file.
#[track_caller]
fn is_turned_away(server: &Server, run: &Finished, why: &str) {
    run.assert_exit(1).assert_failed("tls");
    assert_eq!(run.record()["num_retries"], 0, "{run}");
    assert_eq!(server.counts(|counts| counts.connections), 1, "not tried again\n{run}");
    let message = run.record()["errormsg"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(why), "{run}");
    assert!(run.place().names("out").is_empty(), "{run}");
}

#[test]
fn who_has_no_client_certificate_where_one_is_demanded_is_told_so_once() {
    let authority = Authority::new();
    for alpn in [Alpn::Http2, Alpn::Http11] {
        let server = Server::tls(&authority.identity_asking_for_client_certificates(), alpn, |_| Reply::ok("x"));
        // With TLS 1.3 the refusal comes after the handshake.
        let run = fetch(&authority, &[], &server.url("/a"));
        is_turned_away(&server, &run, "the server asks for a client certificate (--cert)");
    }
}

#[test]
fn a_client_certificate_that_the_server_does_not_take_is_shown_once() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = |authority: &Authority, edit: Edit| {
        authority.issue(&["client"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            edit(params);
        })
    };
    let fetch = |identity: &Identity| {
        let server = serve(&authority.identity_asking_for_client_certificates());
        let place = Place::new();
        identity.write(&place.work());
        let fetch = place.fetch().args(["--json", "-d", "out", "--retry-delay", "0.01"]);
        let fetch = fetch.args(["--cert", "cert.pem", "--key", "key.pem", "--cacert"]).arg(authority.pem());
        let run = fetch.arg(server.url("/a")).run();
        run.check_invariants(1);
        (server, run)
    };
    fetch(&client(&authority, |_| {})).1.assert_exit(0);
    for (identity, why) in [
        // Of the same name as the one that is trusted.
        (client(&other, |_| {}), "decrypt error"),
        (client(&other.intermediate(), |_| {}), "unknown ca"),
        (client(&authority, |params| params.not_after = date_time_ymd(2020, 1, 1)), "certificate expired"),
    ] {
        let (server, run) = fetch(&identity);
        is_turned_away(&server, &run, why);
    }
}

#[test]
fn what_is_no_tls_is_a_tls_failure() {
    let alert = b"\x15\x03\x03\0\x02\x02\x70".to_vec();
    let half = b"\x16\x03\x03\x40\0\x02".to_vec();
    for (name, steps) in [
        ("plain HTTP", vec![Step::ReadSome, Step::Send(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]),
        ("the end", vec![Step::ReadSome]),
        ("a reset", vec![Step::ReadSome, Step::Reset]),
        ("an alert", vec![Step::ReadSome, Step::Send(alert)]),
        ("half a record", vec![Step::ReadSome, Step::Send(half)]),
    ] {
        let server = Raw::always(steps);
        let run = Fetch::recorded().args(["--retry", "0"]).arg(server.url("/a").replace("http:", "https:")).run();
        run.assert_exit(1).check_invariants(1);
        assert_eq!(run.record()["error_class"], "tls", "{name}\n{run}");
    }
}

#[test]
fn a_handshake_that_was_reset_is_tried_again() {
    let authority = Authority::new();
    let reset = Raw::always(vec![Step::ReadSome, Step::Reset]);
    let url = reset.url("/a").replace("http:", "https:");
    fetch(&authority, &["--retry", "2"], &url).assert_exit(1);
    assert_eq!(reset.connections(), 3);
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let drip = Step::SendSlowly { bytes: b"\x16\x03\x03\x40\0".repeat(1000), every: Duration::from_millis(100) };
    for steps in [vec![Step::ReadSome, Step::Hang], vec![Step::ReadSome, drip]] {
        let server = Raw::always(steps);
        let url = server.url("/a").replace("http:", "https:");
        let run = Fetch::recorded().args(["--retry", "0", "--connect-timeout", "1"]).arg(url).run();
        run.assert_exit(1).check_invariants(1);
        run.assert_failed_with("tls", 28);
    }
}

#[test]
fn many_urls_of_a_host_that_never_shakes_hands_are_no_failures_of_its_name() {
    let server = Raw::always(vec![Step::ReadSome, Step::Hang]);
    let url = server.url("/").replace("http:", "https:");
    let urls: Vec<String> = (0..50).map(|number| format!("{url}{number}")).collect();
    let args = ["--retry", "0", "--connect-timeout", "1", "-j", "50"];
    let run = Fetch::recorded().args(args).urls(&urls).bound(Duration::from_secs(120)).run();
    run.assert_exit(1).check_invariants(50);
    let mut shaking = 0;
    for record in run.records() {
        match record["error_class"].as_str() {
            Some("tls") => shaking += 1,
            Some("connect") => assert_eq!(record["errormsg"], "waited for a connection", "{run}"),
            _ => panic!("{record}\n{run}"),
        }
    }
    assert!(shaking > 0, "{run}");
}

#[test]
fn a_handshake_that_is_refused_is_not_tried_again_whatever_went_wrong_before_it() {
    let alert = b"\x15\x03\x03\0\x02\x02\x28".to_vec();
    let server = Raw::always(vec![Step::ReadSome, Step::Send(alert)]);
    let port = server.url("").rsplit(':').next().expect("a port").to_owned();
    // The first address refuses, which leaves its error number behind.
    for address in ["127.0.0.1", "127.0.0.9,127.0.0.1"] {
        let resolve = format!("a.test:{port}:{address}");
        let args = ["--retry", "2", "--retry-delay", "0.01", "--resolve", &resolve];
        let before = server.connections();
        let run = Fetch::recorded().args(args).arg(format!("https://a.test:{port}/a")).run();
        run.assert_exit(1).assert_failed("tls").check_invariants(1);
        assert_eq!(server.connections() - before, 1, "{run}");
    }
}

#[test]
fn plain_http_to_a_tls_port_is_a_failure() {
    let server = serve(&Authority::new().identity());
    let run = Fetch::recorded().args(["--retry", "0"]).arg(server.url("/a").replace("https:", "http:")).run();
    run.assert_exit(1).assert_failed("protocol").check_invariants(1);
}

#[test]
fn a_tls_body_without_a_length_needs_the_goodbye() {
    let authority = Authority::new();
    let config = authority.identity().server_config(Alpn::Http11);
    let answer = Step::answer("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
    let polite = Raw::tls(config.clone(), {
        let answer = answer.clone();
        move |_| [answer.clone(), vec![Step::CloseNotify]].concat()
    });
    let run = fetch(&authority, &["--retry", "0"], &polite.url("/a"));
    run.assert_exit(0);
    assert_eq!(run.place().read("out/a"), b"all of it");
    let rude = Raw::tls(config, move |_| answer.clone());
    fetch(&authority, &["--retry", "0"], &rude.url("/a")).assert_exit(1).assert_failed("partial");
}

#[test]
fn http_1_1_is_used_where_it_is_asked_for_or_all_there_is() {
    let authority = Authority::new();
    let identity = authority.identity();
    let server = serve(&identity);
    let run = fetch(&authority, &["--http1.1"], &server.url("/a"));
    run.assert_exit(0);
    assert_eq!(run.record()["http_version"], "1.1", "{run}");
    let old = Server::tls(&identity, Alpn::Http11, |_| Reply::ok("x"));
    let run = fetch(&authority, &["--http2"], &old.url("/a"));
    run.assert_exit(0);
    assert_eq!(run.record()["http_version"], "1.1", "{run}");
}

#[test]
fn transfers_to_one_host_share_http_2_connections() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.repeat(1000)));
    let urls: Vec<String> = (0..300).map(|number| server.url(&format!("/{number}"))).collect();
    let run = Fetch::recorded().args(["-j", "100", "--cacert"]).arg(authority.pem()).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    for number in 0..300 {
        assert_eq!(run.place().read_text(&format!("out/{number}")), format!("/{number}").repeat(1000));
    }
    let connections = server.counts(|counts| counts.used_connections());
    assert!(connections <= 10, "{connections} connections for 300 streams\n{run}");
}

#[test]
fn a_held_stream_does_not_hold_the_others_of_its_connection() {
    let authority = Authority::new();
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::tls(&authority.identity(), Alpn::Http2, move |seen: &Seen| {
        if seen.path == "/held" { Reply::ok("half").then_wait(&held).body("half") } else { Reply::ok("x") }
    });
    let mut urls = vec![server.url("/held")];
    urls.extend((0..50).map(|number| server.url(&format!("/{number}"))));
    let running = Fetch::recorded().args(["-j", "10", "--cacert"]).arg(authority.pem()).urls(&urls).start();
    running.wait_for_lines(crate::harness::Stream::Out, 50);
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(51);
    assert_eq!(run.json()[50]["urlnum"], 0, "{run}");
}

/// A connection that takes whatever comes for the first request and sends its settings and these frames.
fn http2(frames: &[Vec<u8>]) -> Vec<Step> {
    let settings = [frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat();
    // Preface, settings and request may come in one piece or in several: what is left unread is read before the end.
    vec![Step::ReadSome, Step::Send([settings, frames.concat()].concat()), Step::Hang]
}

/// `:status 200` and a body of `ok`, on the first stream.
fn http2_ok() -> Vec<Step> {
    http2(&[frame(1, 4, 1, b"\x88"), frame(0, 1, 1, b"ok")])
}

#[test]
fn streams_that_a_server_never_looked_at_are_sent_again() {
    let authority = Authority::new();
    let config = authority.identity().server_config(Alpn::Http2);
    for (name, first) in [
        ("GOAWAY that saw nothing", vec![frame(7, 0, 0, &[0; 8])]),
        ("REFUSED_STREAM", vec![frame(3, 0, 1, &[0, 0, 0, 7])]),
    ] {
        let server = Raw::tls(config.clone(), move |number| if number == 0 { http2(&first) } else { http2_ok() });
        let run = fetch(&authority, &["-m", "20"], &server.url("/a"));
        assert_eq!(run.record()["result"], "ok", "{name}\n{run}");
        assert_eq!(run.place().read("out/a"), b"ok", "{name}");
    }
}

#[test]
fn a_server_that_wants_http_1_1_gets_it() {
    let authority = Authority::new();
    let http2_config = authority.identity().server_config(Alpn::Http2);
    let server = Raw::tls(http2_config, |number| match number {
        0 => http2(&[frame(3, 0, 1, &[0, 0, 0, 13])]),
        _ => Step::answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    });
    let run = fetch(&authority, &["-m", "20"], &server.url("/a"));
    run.assert_exit(0);
    assert_eq!(run.record()["http_version"], "1.1", "{run}");
}

#[test]
fn a_server_that_always_sends_us_away_is_given_up() {
    let authority = Authority::new();
    let config = authority.identity().server_config(Alpn::Http2);
    for (name, goodbye) in [
        ("GOAWAY: enhance your calm", frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])),
        ("text after settings", ANSWER.into()),
    ] {
        let server = Raw::tls(config.clone(), move |_| http2(std::slice::from_ref(&goodbye)));
        let run = fetch(&authority, &["--retry", "1", "-m", "10"], &server.url("/a"));
        assert_eq!((run.code(), run.record()["error_class"].as_str()), (Some(1), Some("protocol")), "{name}\n{run}");
        assert!(server.connections() <= 20, "{name}: {} connections\n{run}", server.connections());
    }
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_server_that_answers_http_2_with_http_1_1_is_a_protocol_failure_and_holds_nobody_up() {
    let authority = Authority::new();
    let config = authority.identity().server_config(Alpn::Http2);
    for answer in [ANSWER, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 505 x\r\n\r\n"] {
        for end in [&[Step::Hang][..], &[]] {
            let steps = [&[Step::ReadSome, Step::Send(answer.into())], end].concat();
            let agreed = Raw::tls(config.clone(), {
                let steps = steps.clone();
                move |_| steps.clone()
            });
            let plain = Raw::always(steps);
            for (server, args) in [(agreed, &[][..]), (plain, &["--http2-prior-knowledge"])] {
                // Far longer than it takes: a deadline that ends it would be of another class.
                let run = fetch(&authority, &[&["--retry", "0", "-m", "30"], args].concat(), &server.url("/a"));
                let class = run.record()["error_class"].clone();
                assert_eq!((run.code(), class), (Some(1), "protocol".into()), "{answer:?}\n{run}");
                assert!(!run.place().exists("out/a"), "{run}");
            }
        }
    }
}

#[test]
fn the_file_of_authorities_is_not_read_for_every_connection() {
    let authority = Authority::new();
    let config = authority.identity().server_config(Alpn::Http11);
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let server = Raw::tls(config, move |_| Step::answer(answer));
    let urls: Vec<String> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let log = dir.path().join("opened");
    let trace = ["strace", "-f", "-qq", "-e", "trace=open,openat", "-o"].map(std::ffi::OsString::from);
    if !std::process::Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, or may not trace");
        println!("skipped: strace is missing, or may not trace");
        return;
    }
    let run = Fetch::recorded()
        .under(trace.into_iter().chain([log.clone().into_os_string()]))
        .args(["--http1.1", "-j", "2", "--cacert"])
        .arg(authority.pem())
        .urls(&urls)
        .run();
    run.assert_exit(0).check_invariants(20);
    assert_eq!(server.connections(), 20, "{run}");
    let opened = std::fs::read_to_string(&log).expect("strace's log").matches("ca.pem").count();
    assert!((1..=3).contains(&opened), "opened {opened} times\n{run}");
}

#[test]
fn the_groups_of_the_key_exchange_can_be_chosen() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |_| Reply::ok("x"));
    let fetch = |curves: &str| {
        let fetch = Fetch::recorded().args(["--curves", curves, "--retry", "0", "--cacert"]).arg(authority.pem());
        fetch.arg(server.url("/a")).run()
    };
    fetch("X25519").assert_exit(0);
    fetch("P-384:P-256").assert_exit(0);
    // A group that the server does not have.
    fetch("ffdhe2048").assert_exit(1).assert_failed("tls");
    fetch("").assert_exit(2).assert_stderr_has("--curves");
    fetch("X25519:nonsense").assert_exit(2).assert_stderr_has("--curves X25519:nonsense");
}
