//! What is told: records, lines for people, files of results, the summary, the exit code; and what never is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::command::Stdin;
use crate::harness::invariants::first_unclean;
use crate::harness::raw::refusing_url;
use crate::harness::{Fetch, Finished, Place, Raw, Reply, Seen, Server, Step, Stream};

/// `/404` and the like answer with that status, everything else with its path.
fn mixed() -> Server {
    Server::http(|seen: &Seen| match seen.path[1..].parse() {
        Ok(status) => Reply::status(status),
        Err(_) => Reply::ok(seen.path.clone()).header("content-type", "text/x-test"),
    })
}

#[test]
fn the_record_of_a_file_tells_all_about_it() {
    let server = mixed();
    let run = Fetch::recorded().urls(&["# one line of comment", &server.url("/file.txt")]).run();
    run.assert_exit(0).check_invariants(1);
    let record = run.record();
    for (key, value) in [
        ("result", "ok".into()),
        ("error_class", serde_json::Value::Null),
        ("errormsg", serde_json::Value::Null),
        ("exitcode", 0.into()),
        ("url", server.url("/file.txt").into()),
        ("url_effective", server.url("/file.txt").into()),
        ("filename_effective", "out/file.txt".into()),
        ("size", 9.into()),
        ("size_download", 9.into()),
        ("http_code", 200.into()),
        ("http_version", "1.1".into()),
        ("content_type", "text/x-test".into()),
        ("num_redirects", 0.into()),
        ("num_retries", 0.into()),
        ("num_connects", 1.into()),
        ("remote_ip", "127.0.0.1".into()),
        ("remote_port", server.port().into()),
        ("scheme", "http".into()),
        ("source", "urls.txt".into()),
        ("line", 2.into()),
        ("urlnum", 0.into()),
        ("sha256", serde_json::Value::Null),
        ("resume_from", serde_json::Value::Null),
        ("id", serde_json::Value::Null),
    ] {
        assert_eq!(record[key], value, "{key}\n{run}");
    }
    for key in ["time_namelookup", "time_connect", "time_starttransfer", "time_total", "time_queue"] {
        assert!(record[key].as_f64().is_some_and(|time| (0.0..60.0).contains(&time)), "{key}\n{run}");
    }
    assert!(record["time_total"].as_f64() >= record["time_starttransfer"].as_f64(), "{run}");
    assert!(
        record["speed_download"].is_number() && record["conn_id"].is_number() && record["xfer_id"].is_number(),
        "{run}"
    );
}

#[test]
fn what_is_not_known_is_null() {
    let run = Fetch::recorded().args(["--retry", "0"]).urls(&["nonsense", &refusing_url()]).run();
    run.assert_exit(1).check_invariants(2);
    let records = run.records();
    assert_eq!((&records[0]["result"], &records[0]["url"]), (&"failed".into(), &"nonsense".into()), "{run}");
    for record in &records {
        for key in ["http_code", "http_version", "content_type", "size", "resume_from", "sha256", "id", "host_paused"] {
            assert!(record[key].is_null(), "{key} of {record}\n{run}");
        }
    }
    assert!(records[0]["time_total"].is_null() && records[0]["remote_ip"].is_null(), "{run}");
}

#[test]
fn exit_codes_tell_how_it_went() {
    let server = mixed();
    for (paths, code) in [(&["/a"][..], 0), (&["/404"], 1), (&["/a", "/404", "/b"], 1), (&["/a", "/a"], 0)] {
        let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
        Fetch::recorded().urls(&urls).run().assert_exit(code).check_invariants(paths.len());
    }
}

#[test]
fn without_json_there_is_a_line_for_every_url() {
    let server = mixed();
    let urls = [server.url("/a"), server.url("/404"), server.url("/a"), "nonsense".to_owned()];
    let run = Fetch::new().args(["-d", "out"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(4);
    let lines: Vec<&str> = run.stdout_text().lines().collect();
    assert_eq!(lines.len(), 4, "{run}");
    assert!(lines.iter().any(|line| line.contains("ok") && line.contains("200") && line.contains("/a")), "{run}");
    assert!(lines.iter().any(|line| line.contains("failed") && line.contains("404")), "{run}");
    assert!(lines.iter().any(|line| line.contains("skipped")), "{run}");
    assert!(!run.stdout_text().contains('{'), "{run}");
}

#[test]
fn the_summary_is_on_standard_error() {
    let server = mixed();
    let run = Fetch::recorded().urls(&[server.url("/a"), server.url("/b"), server.url("/404")]).run();
    run.assert_exit(1).check_invariants(3);
    assert!(run.stderr_text().contains("2 ok") && run.stderr_text().contains("1 failed"), "{run}");
    assert!(
        run.stderr.iter().all(|byte| *byte != b'\r' && *byte != 0x1b),
        "no drawing where there is no terminal\n{run}"
    );
}

#[test]
fn quiet_leaves_the_failures_and_quieter_nothing() {
    let server = mixed();
    let urls = [server.url("/a"), server.url("/404")];
    let run = Fetch::new().args(["-q", "-d", "out"]).urls(&urls).run();
    run.assert_exit(1).assert_stderr_has("/404").check_invariants(2);
    assert!(run.stdout.is_empty() && !run.stderr_text().contains("/a "), "{run}");
    let run = Fetch::new().args(["-qq", "-d", "out"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(2);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    let run = Fetch::new().args(["-q", "-d", "out"]).urls(&urls[..1]).run();
    run.assert_exit(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
}

#[test]
fn results_go_to_a_file_as_well_which_begins_anew_with_every_run() {
    let server = mixed();
    let place = Place::new();
    place.write("results", "an older run\n");
    let run =
        place.fetch().args(["-d", "out", "--results", "results"]).urls(&[server.url("/a"), server.url("/404")]).run();
    run.assert_exit(1).check_invariants(2);
    assert_eq!(run.stdout_text().lines().count(), 2, "{run}");
    let run = place.fetch().args(["-d", "out", "--results", "results", "--json"]).urls(&[server.url("/b")]).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.read("results"), run.stdout, "the same records");
}

#[test]
fn failed_lines_are_input_again() {
    let server =
        Server::http(
            |seen: &Seen| if seen.path != "/good" && seen.earlier == 0 { Reply::status(404) } else { Reply::ok("x") },
        );
    let place = Place::new();
    let with_user = server.url("/user").replace("//", "//user:word@");
    let lines = [server.url("/good"), server.url("/bad"), format!("{}\tname", server.url("/named")), with_user];
    let run = place.fetch().args(["--json", "-d", "out", "--failed", "failed"]).urls(&lines).run();
    run.assert_exit(1).check_invariants(4);
    let mut failed: Vec<String> = place.read_text("failed").lines().map(str::to_owned).collect();
    failed.sort();
    let mut expected = lines[1..].to_vec();
    expected.sort();
    assert_eq!(failed, expected, "as they were read\n{run}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&place.path("failed").metadata().expect("it is there").permissions());
    assert_eq!(mode & 0o077, 0, "it holds credentials");
    let run = place.fetch().args(["--json", "-d", "out", "failed"]).run();
    run.assert_exit(0).check_invariants(3);
    assert_eq!(place.read("out/name"), b"x");
}

#[test]
fn a_failed_line_keeps_the_name_that_it_had_to_take() {
    let server = Server::http(|seen: &Seen| {
        let fails = seen.path.starts_with("/y/") && seen.earlier == 0;
        if fails { Reply::status(404) } else { Reply::ok(seen.path.clone()) }
    });
    for (args, names) in [(&[][..], 2), (&["-o", "{line}.bin"], 2)] {
        let place = Place::new();
        let urls = [server.url(&format!("/x/a{}.txt", args.len())), server.url(&format!("/y/a{}.txt", args.len()))];
        let run = place.fetch().args(["--json", "-d", "out", "--failed", "failed"]).args(args).urls(&urls).run();
        run.assert_exit(1).check_invariants(2);
        let failed = place.read_text("failed");
        assert!(failed.starts_with(&format!("{}\t", urls[1])), "{failed:?}\n{run}");
        let run = place.fetch().args(["--json", "-d", "out", "failed"]).args(args).run();
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.results(), ["ok"], "{run}");
        assert_eq!(place.names("out").len(), names, "{run}");
    }
}

#[test]
fn files_of_results_that_cannot_be_opened_end_the_run_before_it_begins() {
    let server = mixed();
    for option in ["--results", "--failed"] {
        let run = Fetch::recorded().args([option, "no/such/directory/file", &server.url("/a")]).run();
        run.assert_exit(2).assert_stderr_has("no/such/directory/file");
        assert!(run.stdout.is_empty(), "{run}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_file_of_results_that_is_also_something_else_is_refused_and_left_alone() {
    let server = mixed();
    let place = Place::new();
    let list = format!("{}\n", server.url("/a"));
    place.write("list", &list);
    std::os::unix::fs::symlink("list", place.path("link")).expect("make a link");
    std::fs::hard_link(place.path("list"), place.path("hard")).expect("make a link");
    for args in [
        &["--failed", "list", "list"][..],
        &["--results", "list", "list"],
        &["--failed", "link", "list"],
        &["--failed", "list", "link"],
        &["--failed", "hard", "list"],
        &["--results", "new", "--failed", "./new", "list"],
    ] {
        let run = place.fetch().args(["-d", "out"]).args(args).run();
        run.assert_exit(2).assert_stderr_has("is also");
        assert_eq!(place.read_text("list"), list, "{run}");
    }
    for script in [r#"exec "$@" <list"#, r#"exec "$@" list >>list"#] {
        let run = place.fetch().args(["-d", "out", "--failed", "list"]).under_bash(script).run();
        run.assert_exit(2).assert_stderr_has("list is also");
        assert_eq!(place.read_text("list"), list, "{run}");
    }
    assert!(server.seen().is_empty());
    let shared = ["--results", "/dev/null", "--failed", "/dev/null", "list"];
    place.fetch().args(["-d", "out"]).args(shared).run().assert_exit(0);
}

#[test]
fn a_run_that_cannot_begin_leaves_the_results_of_the_last_one() {
    let place = Place::new();
    place.write("file", "no directory");
    for option in ["--results", "--failed"] {
        place.write("kept", "an older run\n");
        let run = place.fetch().args(["-d", "file/below", option, "kept", "http://127.0.0.1/"]).run();
        run.assert_exit(3);
        assert_eq!(place.read_text("kept"), "an older run\n", "{run}");
    }
}

#[test]
fn a_pipe_for_results_that_nobody_reads_is_an_error_and_no_wait() {
    let server = mixed();
    let script = r#"mkfifo pipe; exec "$@" --results pipe"#;
    let run = Fetch::recorded().under_bash(script).arg(server.url("/a")).run();
    run.assert_exit(2).assert_stderr_has("pipe: nobody reads it");
    assert!(server.seen().is_empty());
    let script = r#"mkfifo pipe; (sleep 0.2; exec cat pipe >copy) & "$@" --results pipe; code=$?; wait; exit $code"#;
    let run = Fetch::recorded().under_bash(script).arg(server.url("/a")).run();
    run.assert_exit(0);
    assert_eq!(run.place().read("copy"), run.stdout, "{run}");
}

#[test]
fn credentials_are_told_to_nobody() {
    let server = Server::http(|seen: &Seen| if seen.path == "/ok" { Reply::ok("x") } else { Reply::unauthorized() });
    let with_user = |path: &str| server.url(path).replace("//", "//user:S3CR3T-1@");
    let lines = [
        with_user("/ok"),
        with_user("/no"),
        refusing_url().replace("//", "//S3CR3T-2:S3CR3T-3@"),
        "ftp://user:S3CR3T-4@127.0.0.1/x".to_owned(),
        "http://user:S3CR3T-5@127.0.0.1:99999/x".to_owned(),
        "http://user:S3CR3T-6@a@b:c@/x".to_owned(),
        " http://user:S3CR3T-7@127.0.0.1/x".to_owned(),
    ];
    for args in [&["--json", "-v", "--results", "results"][..], &["-v"], &["-q"], &["-o", "-", "-v"]] {
        let run = Fetch::new()
            .args(["--retry", "0", "-d", "out", "-u", "user:S3CR3T-8", "-H", "X-Key: S3CR3T-9"])
            .args(args)
            .urls(&lines)
            .run();
        run.assert_exit(1);
        run.assert_tells_no_secret();
    }
}

#[test]
fn text_from_outside_cannot_command_the_terminal() {
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{85}";
    let reason = evil.replace('\u{85}', "");
    let answer = format!("HTTP/1.1 404 {reason}\r\nContent-Type: {reason}\r\nContent-Length: 0\r\n\r\n");
    let server = Raw::always(Step::answer(answer));
    let redirect = Raw::always(Step::answer(format!(
        "HTTP/1.1 302 x\r\nLocation: gopher://{reason}/\r\nContent-Length: 0\r\n\r\n"
    )));
    let typed =
        Raw::always(Step::answer(format!("HTTP/1.1 200 OK\r\nContent-Type: {reason}\r\nContent-Length: 1\r\n\r\nx")));
    let place = Place::new();
    place.write(&format!("evil{reason}"), format!("{}\n", server.url("/list")));
    let lines = [
        server.url("/%1b]0;x%07%c2%9b%e2%80%ae"),
        server.url("/\u{202e}gpj.exe"),
        format!("{}{evil}", server.url("/")),
        redirect.url("/a"),
        typed.url("/typed"),
        format!("http://{evil}/"),
        format!("{}\t{evil}", server.url("/")),
    ];
    for args in [&["--json"][..], &[], &["-v"], &["-q"], &["--color", "never", "-v"]] {
        let run = place
            .fetch()
            .args(["--retry", "0", "-d", "out", "--if-exists", "overwrite"])
            .args(args)
            .urls(&lines)
            .arg(format!("evil{reason}"))
            .run();
        run.assert_exit(1).check_invariants(lines.len() + 1);
    }
    let run = place.fetch().arg(format!("--results={evil}/x")).arg(format!("missing{evil}")).run();
    run.assert_exit(2);
    assert_eq!(first_unclean(&run.stderr), None, "{run}");
}

/// Starts with standard output going into a pipe, whose other end is returned.
fn start_into_pipe(fetch: Fetch) -> (crate::harness::Running, File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("make a pipe");
    (fetch.stdout(Stdio::from(write)).start(), File::from(read))
}

#[track_caller]
fn assert_died_of_sigpipe(run: &Finished) {
    let quiet_death = run.signal() == Some(Signal::PIPE.as_raw()) || run.code() == Some(141);
    assert!(quiet_death && run.stderr.is_empty(), "like SIGPIPE, and quietly\n{run}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_quietly() {
    let server = mixed();
    let urls: Vec<String> = (0..2000).map(|number| server.url(&format!("/x{number}"))).collect();
    let (running, pipe) = start_into_pipe(Fetch::recorded().args(["-j", "4"]).urls(&urls));
    let mut line = String::new();
    let mut reader = BufReader::new(pipe);
    reader.read_line(&mut line).expect("the first line");
    assert!(line.ends_with('\n'), "{line:?}");
    drop(reader);
    let run = running.finish();
    assert_died_of_sigpipe(&run);
    assert!(server.seen().len() < 2000, "it stops at once");
    assert!(
        run.place()
            .tree("out")
            .iter()
            .all(|(name, content)| name.ends_with(".part") || *content == format!("/{name}").into_bytes())
    );
}

#[test]
fn a_reader_that_was_never_there_ends_the_run() {
    let server = mixed();
    let (running, pipe) = start_into_pipe(Fetch::recorded().urls(&[server.url("/a"), server.url("/b")]));
    drop(pipe);
    assert_died_of_sigpipe(&running.finish());
}

#[test]
fn a_standard_output_that_is_full_is_an_error_of_this_machine() {
    let server = mixed();
    for args in [&["--json"][..], &[], &["-o", "-"]] {
        let full = File::options().write(true).open("/dev/full").expect("open /dev/full");
        let run =
            Fetch::new().args(["-d", "out"]).args(args).stdout(full).urls(&[server.url("/a"), server.url("/b")]).run();
        run.assert_exit(3);
        assert!(!run.stderr.is_empty(), "{args:?}\n{run}");
    }
    let run = Fetch::recorded().args(["--results", "/dev/full", &server.url("/a")]).run();
    run.assert_exit(3).assert_stderr_has("/dev/full");
}

#[test]
fn a_reader_that_does_not_read_stops_the_list_but_not_the_signals() {
    let server = mixed();
    let long = "x".repeat(2000);
    let (mut running, pipe) = start_into_pipe(Fetch::new().args(["--json", "--discard", "-j", "8"]).stdin(Stdin::Open));
    let mut stdin = running.take_stdin();
    let url = server.url(&format!("/{long}"));
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        (0u32..).take_while(|number| writeln!(stdin, "{url}{number}").is_ok()).count()
    });
    // Each record is over 4,000 bytes: a megabyte of them waits long before this many.
    server.wait("the first requests", |counts| counts.requests.len() >= 100);
    crate::harness::until("requests to stop", {
        let mut last = (0, 0);
        let server = &server;
        move || {
            let now = server.seen().len();
            last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            last.1 >= 100
        }
    });
    assert!(server.seen().len() < 5000, "{} requests and nobody reads", server.seen().len());
    running.send_signal_and_settle(Signal::INT);
    running.send_signal(Signal::INT);
    running.finish().assert_signal(Signal::INT);
    drop(pipe);
    let _ = writer.join();
}

#[test]
fn a_closed_or_unread_standard_error_holds_up_nothing() {
    let server = mixed();
    let urls: Vec<String> = (0..500).map(|number| server.url(&format!("/{}", 400 + number % 2))).collect();
    let run = Fetch::recorded().args(["-v", "--retry", "0"]).under_bash(r#"exec "$@" 2>&-"#).urls(&urls).run();
    run.assert_exit(1).check_invariants(500);
    // A pipe that is full from the start and that nobody reads.
    let script = r#"mkfifo full; exec 9<>full; dd if=/dev/zero of=full bs=65536 count=1 status=none; exec "$@" 2>full"#;
    let run = Fetch::recorded().args(["-v", "--retry", "0"]).under_bash(script).urls(&urls).run();
    run.assert_exit(1);
    assert_eq!(run.json().len(), 500, "{run}");
}

#[test]
fn the_version_names_the_libraries() {
    let run = Fetch::new().arg("--version").run();
    run.assert_exit(0);
    for name in ["fetchmany ", "libcurl/", "OpenSSL", "nghttp2/", "zlib/"] {
        assert!(run.stdout_text().to_lowercase().contains(&name.to_lowercase()), "{name}\n{run}");
    }
    let run = Fetch::new().arg("--help").run();
    run.assert_exit(0);
    assert!(run.stdout_text().contains("--fifo") && run.stderr.is_empty(), "{run}");
}

#[test]
fn records_come_in_the_order_of_their_end_and_at_once() {
    let gate = crate::harness::Gate::new();
    let held = gate.clone();
    let server = Server::http(
        move |seen: &Seen| if seen.path == "/slow" { Reply::ok("x").held_by(&held) } else { Reply::ok("x") },
    );
    let running = Fetch::recorded().urls(&[server.url("/slow"), server.url("/fast")]).start();
    running.wait_for_line(Stream::Out, "/fast");
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(2);
    assert_eq!(run.json()[1]["urlnum"], 0, "{run}");
}
