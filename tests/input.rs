//! Lines and INPUTs: what is accepted, what is a bad line, and that no line is ever more than a line.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::harness::command::Stdin;
use crate::harness::{Fetch, Place, Reply, Server, Stream, echo, until};

#[test]
fn an_empty_list_is_a_success_without_records() {
    Fetch::recorded().list("").run().assert_exit(0).check_invariants(0);
    Fetch::recorded().run().assert_exit(0).check_invariants(0);
    Fetch::recorded().arg("-").run().assert_exit(0).check_invariants(0);
}

#[test]
fn blank_lines_and_comments_are_no_jobs() {
    let list = "\n  \n\t\n# a comment\n#http://127.0.0.1/x\n\r\n   \r\n";
    Fetch::recorded().list(list).run().assert_exit(0).check_invariants(0);
}

#[test]
fn the_last_line_needs_no_line_end() {
    let server = echo();
    let run = Fetch::recorded().list(format!("{}\n{}", server.url("/a"), server.url("/b"))).run();
    run.assert_exit(0).check_invariants(2);
    assert_eq!(run.place().read("out/b"), b"/b");
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_taken_off() {
    let server = echo();
    let run = Fetch::recorded().list(format!("\u{feff}{}\r\n{}\r\n", server.url("/a"), server.url("/b"))).run();
    run.assert_exit(0).check_invariants(2);
    assert_eq!(server.paths(), ["/a", "/b"], "{run}");
}

#[test]
fn a_text_in_utf_16_is_all_bad_lines() {
    let server = echo();
    let text = format!("\u{feff}{}\n{}\n", server.url("/a"), server.url("/b"));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let run = Fetch::recorded().list(bytes).run();
    run.assert_exit(1).check_invariants(run.json().len());
    assert!(run.json().len() >= 2, "{run}");
    assert!(run.json().iter().all(|record| record["error_class"] == "input"), "{run}");
    assert!(server.seen().is_empty());
}

/// Runs a list of one bad line between two good ones: the bad line fails as input, alone, and nothing of it gets on
/// the wire. `http://h/` in it stands for a server that would answer.
#[track_caller]
fn is_a_bad_line(bad: impl AsRef<[u8]>) {
    let server = echo();
    let bad = with_server(bad.as_ref(), &server.url("/bad/"));
    let list = [server.url("/first").as_bytes(), b"\n", &bad, b"\n", server.url("/last").as_bytes(), b"\n"].concat();
    let run = Fetch::recorded().list(list).run();
    run.assert_exit(1).check_invariants(3);
    assert_eq!(run.results(), ["ok", "failed", "ok"], "{}\n{run}", bad.escape_ascii());
    let record = &run.records()[1];
    assert_eq!(record["error_class"], "input", "{run}");
    assert_eq!(record["exitcode"], 3, "{run}");
    assert_eq!(record["line"], 2, "{run}");
    let mut paths = server.paths();
    paths.sort();
    assert_eq!(paths, ["/first", "/last"], "{run}");
}

fn with_server(line: &[u8], url: &str) -> Vec<u8> {
    const STAND_IN: &[u8] = b"http://h/";
    let Some(at) = line.windows(STAND_IN.len()).position(|window| window == STAND_IN) else { return line.to_vec() };
    [&line[..at], url.as_bytes(), &with_server(&line[at + STAND_IN.len()..], url)].concat()
}

#[test]
fn control_characters_in_a_line_make_it_bad() {
    for bad in ["http://h/a\rb", "http://h/a\x01b", "http://h/a\x7fb", "http://h/a\x1b[2J", "http://h/a\0http://evil/"]
    {
        is_a_bad_line(bad);
    }
}

#[test]
fn a_line_is_never_an_option() {
    for bad in ["-o/etc/x", "--config=x", "-", "  out=../../x", " http://h/a", "\tdir=/etc", "\thttp://h/a"] {
        is_a_bad_line(bad);
    }
}

#[test]
fn other_schemes_are_refused() {
    for scheme in [
        "file:///etc/passwd",
        "ftp://h/x",
        "sftp://h/x",
        "scp://h/x",
        "gopher://h/x",
        "dict://h/x",
        "mqtt://h/x",
        "ws://h/x",
        "telnet://h/x",
        "ldap://h/x",
        "smb://h/x",
        "ipfs://h/x",
        "data:text/plain,x",
        "javascript:alert(1)",
    ] {
        is_a_bad_line(scheme);
    }
}

#[test]
fn nothing_is_opened_for_a_url_of_a_file() {
    let place = Place::new();
    let secret = place.write("secret", "not to be read").display().to_string();
    let to = format!("file://{secret}");
    let server = Server::http(move |_| Reply::redirect(302, to.clone()));
    let list =
        [format!("file://{secret}"), format!("FILE://localhost{secret}"), format!("file:{secret}"), server.url("/")];
    let fetch = place.fetch().args(["--json", "-d", "out"]).urls(&list);
    let Some(fetch) = fetch.strace(["-e", "trace=%file"]) else { return };
    let run = fetch.run();
    run.assert_exit(1).check_invariants(4);
    let trace = place.trace();
    assert!(trace.iter().any(|line| line.contains("urls.txt")), "{trace:#?}");
    assert!(!trace.iter().any(|line| line.contains("secret")), "{trace:#?}");
}

#[test]
fn a_scheme_is_never_guessed() {
    for bad in
        ["example.com/x", "ftp.example.com/x", "//h/x", "h:80", "/x", "x", "127.0.0.1", "http:/", "http:h/x", "http"]
    {
        is_a_bad_line(bad);
    }
}

#[test]
fn a_host_or_port_that_cannot_be_makes_the_line_bad() {
    for bad in [
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1:99999999999/",
        "http://127.0.0.1:x/",
        "http://:80/",
        "http:///x",
        "http://",
        "http://[::1/",
        "http://a b/",
        "http://u:p@/x",
    ] {
        is_a_bad_line(bad);
    }
    is_a_bad_line(b"http://h\xff.example/");
}

#[test]
fn a_line_that_is_far_too_long_is_bad_as_a_whole() {
    let tail = "http://h/in-the-tail";
    is_a_bad_line(format!("http://h/{}{tail}", "x".repeat(1 << 20)));
    is_a_bad_line(format!("http://h/{}", "x".repeat(64 << 10)));
}

#[test]
fn a_long_line_within_the_limit_is_fetched() {
    let server = echo();
    let run = Fetch::recorded().urls(&[format!("{}?{}", server.url("/a"), "x".repeat(20_000))]).run();
    run.assert_exit(0).check_invariants(1);
}

#[test]
fn bytes_that_are_no_utf_8_are_percent_encoded() {
    let server = echo();
    let line = [server.url("/x").as_bytes(), b"\xff\xc3\x28?q=\xfe\n"].concat();
    let run = Fetch::recorded().list(line).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(server.paths()[0].to_uppercase(), "/X%FF%C3(?Q=%FE", "{run}");
}

#[test]
fn a_scheme_in_capitals_is_the_same_scheme() {
    let server = echo();
    let run = Fetch::recorded().urls(&[server.url("/a").replace("http:", "HTTP:")]).run();
    run.assert_exit(0).check_invariants(1);
}

#[test]
fn a_fragment_is_not_sent() {
    let server = echo();
    let run = Fetch::recorded().urls(&[server.url("/a?q=1#part")]).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(server.paths(), ["/a?q=1"], "{run}");
}

#[test]
fn other_spellings_of_an_address_lead_to_the_same_host() {
    let server = echo();
    let spellings = ["127.1", "0x7f.1", "2130706433", "127.0.0.1", "0177.0.0.1"];
    let urls: Vec<_> = spellings.iter().map(|host| server.url_as(host, &format!("/{host}"))).collect();
    let run = Fetch::recorded().urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    let host = format!("127.0.0.1:{}", server.port());
    assert!(server.seen().iter().all(|seen| seen.host == host), "{:?}\n{run}", server.seen());
}

#[test]
fn an_international_name_is_sent_in_its_ascii_form() {
    let server = echo();
    let resolve = server.resolve("xn--bcher-kva.example");
    let run = Fetch::recorded().args(["--resolve", &resolve]).urls(&[server.url_as("bücher.example", "/a")]).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(server.seen()[0].host, format!("xn--bcher-kva.example:{}", server.port()), "{run}");
}

#[test]
fn inputs_are_read_in_the_order_given_and_named_in_the_record() {
    let server = echo();
    let place = Place::new();
    place.write("one.txt", format!("# first\n{}\n", server.url("/one")));
    place.write("two.txt", format!("{}\n", server.url("/two")));
    let direct = server.url("/direct");
    let run = place
        .fetch()
        .args(["--json", "-d", "out", "one.txt", &direct, "-", "./two.txt"])
        .stdin(Stdin::Bytes(format!("\n\n{}\n", server.url("/stdin")).into_bytes()))
        .run();
    run.assert_exit(0).check_invariants(4);
    let origin = |record: &serde_json::Value| (record["source"].as_str().map(str::to_owned), record["line"].as_u64());
    let origins: Vec<_> = run.records().iter().map(origin).collect();
    let source = |name: &str| Some(name.to_owned());
    assert_eq!(origins[0], (source("one.txt"), Some(2)), "{run}");
    assert_eq!(origins[1].0, source(&direct), "{run}");
    assert_eq!(origins[2], (source("-"), Some(3)), "{run}");
    assert_eq!(origins[3], (source("./two.txt"), Some(1)), "{run}");
}

#[test]
fn an_input_that_cannot_be_read_ends_the_run_before_it_begins() {
    let server = echo();
    let place = Place::new();
    place.write("dir/file", "");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).expect("bind a socket");
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).expect("make a link");
    for input in ["missing.txt", "dir", "socket", "dangling"] {
        let run = place.fetch().args(["--json", "-d", "out", &server.url("/a"), input]).run();
        run.assert_exit(2).assert_stderr_has(input).check_invariants(0);
    }
    assert!(server.seen().is_empty());
    let run = place.fetch().args(["--json", "-d", "out", "/proc/self/mem"]).run();
    run.assert_exit(2).assert_stderr_has("/proc/self/mem").check_invariants(0);
}

#[test]
fn a_list_that_may_not_be_read_ends_the_run_before_it_begins() {
    let server = echo();
    let place = Place::new();
    let list = place.write("closed.txt", server.url("/a"));
    std::fs::set_permissions(list, Permissions::from_mode(0o000)).expect("close the list");
    let fetch = place.fetch().args(["--json", "-d", "out", &server.url("/b"), "closed.txt"]);
    let Some(fetch) = fetch.held_to_permissions() else { return };
    fetch.run().assert_exit(2).assert_stderr_has("closed.txt: Permission denied").check_invariants(0);
    assert!(server.seen().is_empty());
}

#[test]
fn who_forgot_the_scheme_of_a_url_is_told() {
    for (input, hinted) in [
        ("example.com/x", true),
        ("example.com", true),
        ("127.0.0.1:8080/a", true),
        ("missing.txt", false),
        ("lists/missing", false),
        ("./example.com", false),
        ("missing", false),
        ("localhost/x", true),
        ("localhost:8080", true),
        ("host:8080/x", true),
    ] {
        let run = Fetch::recorded().arg(input).run();
        run.assert_exit(2).assert_stderr_has(input).check_invariants(0);
        assert_eq!(run.stderr_text().contains(&format!("write https://{input}")), hinted, "{run}");
    }
}

#[test]
fn a_named_pipe_and_a_process_substitution_are_read_to_their_end() {
    let server = echo();
    let script = format!(
        r#"mkfifo pipe; (echo {}; echo {}) >pipe & exec "$@" pipe <(echo {})"#,
        server.url("/a"),
        server.url("/b"),
        server.url("/c"),
    );
    let run = Fetch::recorded().under_bash(&script).run();
    run.assert_exit(0);
    assert_eq!(run.results(), ["ok", "ok", "ok"], "{run}");
}

#[test]
fn the_first_line_is_fetched_before_the_second_is_written() {
    let server = echo();
    let mut running = Fetch::recorded().arg("-").stdin(Stdin::Open).start();
    for path in ["/a", "/b"] {
        running.write_stdin(format!("{}\n", server.url(path)));
        running.wait_for_line(Stream::Out, path);
    }
    running.close_stdin();
    running.finish().assert_exit(0).check_invariants(2);
}

#[test]
fn standard_input_may_be_a_file_or_a_socket() {
    use std::io::Write;
    let server = echo();
    let place = Place::new();
    let list = place.write("list", format!("{}\n", server.url("/file")));
    let file = std::fs::File::open(list).expect("open the list");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("make sockets");
    writeln!(&ours, "{}", server.url("/socket")).expect("write");
    drop(ours);
    for stdin in [Stdio::from(file), Stdio::from(std::os::fd::OwnedFd::from(theirs))] {
        let run = place.fetch().args(["--json", "-d", "out"]).stdin(Stdin::Is(stdin)).run();
        run.assert_exit(0).check_invariants(1);
    }
    assert_eq!(place.names("out"), ["file", "socket"]);
}

#[test]
fn a_line_written_in_pieces_is_one_line() {
    let server = echo();
    let mut running = Fetch::recorded().stdin(Stdin::Open).start();
    let (begin, end) = (server.url("/a"), "b\n");
    running.write_stdin(format!("{}\n{begin}", server.url("/before")));
    running.wait_for_line(Stream::Out, "/before");
    running.write_stdin(end);
    let run = running.finish();
    run.assert_exit(0).check_invariants(2);
    assert_eq!(server.count("/ab"), 1, "{run}");
}

#[test]
fn an_endless_list_is_read_no_faster_than_it_is_fetched() {
    let server = Server::http(|_| Reply::ok("x"));
    let mut running = Fetch::new().args(["--json", "--discard", "-j", "4"]).stdin(Stdin::Open).start();
    let mut pipe = running.take_stdin();
    let url = server.url("/endless");
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut line = 0;
        while writeln!(pipe, "{url}/{line}").is_ok() {
            line += 1;
            count.store(line, Ordering::Relaxed);
        }
    });
    server.wait("3,000 requests", |counts| counts.requests.len() >= 3000);
    let ahead = written.load(Ordering::Relaxed).saturating_sub(server.counts(|counts| counts.requests.len()));
    let rss = running.rss();
    running.send_signal(Signal::TERM);
    running.send_signal(Signal::TERM);
    let run = running.finish();
    run.assert_signal(Signal::TERM);
    let _ = writer.join();
    assert!(ahead < 50_000, "{ahead} lines were read ahead of the transfers");
    assert!(rss < 100 << 20, "{rss} bytes of memory");
}

#[test]
fn a_list_that_is_endless_zeros_takes_no_memory_and_can_be_stopped() {
    let server = echo();
    let running = Fetch::recorded().args([&server.url("/a"), "/dev/zero"]).start();
    until("the first record, or the end", || server.count("/a") == 1 || !running.is_alive());
    if running.is_alive() {
        let rss = running.rss();
        assert!(rss < 100 << 20, "{rss} bytes of memory");
        running.send_signal(Signal::TERM);
        running.send_signal(Signal::TERM);
    }
    let run = running.finish();
    assert!(run.code() == Some(2) || run.signal() == Some(Signal::TERM.as_raw()), "{run}");
}

#[test]
fn closed_standard_streams_do_not_become_files_or_sockets() {
    let server = echo();
    let urls = [server.url("/a"), server.url("/b")];
    let run = Fetch::new().args(["-d", "out"]).under_bash(r#"exec "$@" <&-"#).urls(&urls).run();
    run.assert_exit(0);
    let run = Fetch::new().args(["-d", "out"]).under_bash(r#"exec "$@" <&- >&- 2>&-"#).urls(&urls).run();
    assert!(run.code().is_some(), "{run}");
    for name in run.place().names("out") {
        assert_eq!(run.place().read(&format!("out/{name}")), format!("/{name}").into_bytes());
    }
}

#[test]
fn a_thousand_bad_lines_do_not_keep_the_good_one_from_its_file() {
    let server = echo();
    let mut lines: Vec<String> = (0..1000).map(|number| format!("bad line {number}")).collect();
    lines.push(server.url("/good"));
    let run = Fetch::recorded().urls(&lines).run();
    run.assert_exit(1).check_invariants(1001);
    assert_eq!(run.results().iter().filter(|result| *result == "failed").count(), 1000, "{run}");
    assert_eq!(run.place().read("out/good"), b"/good");
}

#[test]
fn the_same_line_again_is_a_duplicate() {
    let server = echo();
    let run = Fetch::recorded().urls(&vec![server.url("/a"); 3]).run();
    run.assert_exit(0).check_invariants(3);
    assert_eq!(run.results(), ["ok", "skipped", "skipped"], "{run}");
    assert_eq!(server.count("/a"), 1, "{run}");
}

#[test]
fn nothing_is_a_duplicate_when_nothing_is_kept() {
    let server = echo();
    let run = Fetch::new().args(["--json", "--discard"]).urls(&vec![server.url("/a"); 3]).run();
    run.assert_exit(0).check_invariants(3);
    assert_eq!(server.count("/a"), 3, "{run}");
}
