//! The three standard streams when they are closed, odd, or about to be flooded.

use std::fs::File;
use std::process::Stdio;

use crate::harness::command::Stdin;
use crate::harness::raw::refusing_url;
use crate::harness::{Fetch, Gate, Place, Reply, Seen, Server, echo, until};

#[test]
fn nothing_takes_the_number_of_a_closed_standard_stream() {
    for closed in ["<&-", "-q >&-", "2>&-", "-q <&- >&-", "-q <&- >&- 2>&-"] {
        let gate = Gate::new();
        let held = gate.clone();
        // Large enough to have a name while they are written, and to be there before their end.
        let server =
            Server::http(move |seen: &Seen| Reply::ok(seen.path.repeat(1 << 19)).then_wait(&held).body("the end"));
        let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
        let fetch = Fetch::new().args(["-d", "out"]).under_bash(&format!(r#"exec "$@" {closed}"#)).urls(&urls);
        let running = fetch.start();
        until("three files being written", || {
            running.place().tree("out").values().filter(|content| content.len() >= 1 << 20).count() == 3
        });
        for number in 0..3 {
            let target = std::fs::read_link(format!("/proc/{}/fd/{number}", running.pid().as_raw_nonzero()));
            let Ok(target) = target.map(|target| target.to_string_lossy().into_owned()) else { continue };
            let harmless = target == "/dev/null" || target.starts_with("pipe:");
            assert!(harmless, "with {closed}, descriptor {number} is {target}");
        }
        gate.open();
        let run = running.finish();
        run.assert_exit(0);
        for name in ["a", "b", "c"] {
            let whole = format!("/{name}").repeat(1 << 19) + "the end";
            assert!(run.place().read(&format!("out/{name}")) == whole.as_bytes(), "{closed}: {name}\n{run}");
        }
    }
}

#[test]
fn who_closed_standard_output_loses_nothing_in_it() {
    let server = echo();
    for args in [&["-d", "out"][..], &["--json", "-d", "out"], &["-o", "-"], &["-q", "-o", "-"]] {
        let fetch = Fetch::new().args(args).under_bash(r#"exec "$@" >&-"#).urls(&[server.url("/a")]);
        let run = fetch.run();
        run.assert_exit(2).assert_stderr_has("standard output is closed");
        assert!(run.place().tree("out").is_empty() && server.seen().is_empty(), "{run}");
    }
}

#[test]
fn what_is_no_list_is_none_as_standard_input_either() {
    let place = Place::new();
    place.write("dir/file", "");
    for input in [place.path("dir"), "/dev/zero".into(), "/dev/urandom".into(), "/proc/self/mem".into()] {
        let stdin = Stdin::Is(Stdio::from(File::open(&input).expect("open")));
        let run = place.fetch().args(["--json", "-d", "out"]).stdin(stdin).run();
        run.assert_exit(2).assert_stderr_has("standard input").check_invariants(0);
    }
}

#[test]
fn a_flood_of_failures_is_some_lines_and_a_number() {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path.clone()));
    let mut lines: Vec<String> = (0..1000).map(|number| format!("bad line {number}")).collect();
    lines.push(server.url("/good"));
    let run = Fetch::new().args(["-q", "-d", "out", "--failed", "failed", "--results", "results"]).urls(&lines).run();
    run.assert_exit(1).check_invariants(1001);
    assert!(run.stdout.is_empty(), "{run}");
    let told: Vec<&str> = run.stderr_text().lines().collect();
    let shown = told.iter().filter(|line| line.contains("bad line")).count();
    let hidden = told.iter().filter_map(|line| line.split("... and ").nth(1)?.split(' ').next());
    let hidden: usize = hidden.map(|count| count.replace(',', "").parse::<usize>().expect("a number")).sum();
    assert!((1..=200).contains(&shown) && told.len() < shown + 20, "{} lines\n{run}", told.len());
    assert_eq!(shown + hidden, 1000, "every failure is accounted for\n{run}");
    assert_eq!(run.place().read_text("failed").lines().count(), 1000, "{run}");
    assert_eq!(run.place().read("out/good"), b"/good");
}

#[test]
fn verbose_tells_of_retries_and_connections_and_nothing_else_does() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/a", 0) => Reply::status(500),
        (path, _) => Reply::ok(path.to_owned()),
    });
    let (a, b) = (server.url("/a"), server.url("/b"));
    let fetch = |args: &[&str]| {
        let run = Fetch::new().args(["--discard", "--retry-delay", "0.01", "-j", "1"]).args(args).args([&a, &b]).run();
        run.assert_exit(0);
        assert_eq!(run.stdout_text().lines().count(), 2, "one result each\n{run}");
        run
    };
    let run = fetch(&["-v"]);
    run.assert_stderr_has(&format!("{a}: http: the server answered 500; will be tried again"));
    run.assert_stderr_has(&format!("{a}: retry 1 after 0.0"));
    for url in [&a, &b] {
        run.assert_stderr_has(&format!("{url}: 127.0.0.1 port {}, HTTP/1.1, connection used again, ", server.port()));
    }
    let quieter = fetch(&[]);
    assert_eq!(quieter.stderr_text().lines().count(), 1, "the summary\n{quieter}");
    let refused = Fetch::new().args(["-v", "--discard", "--retry-delay", "0.01", &refusing_url()]).run();
    refused.assert_exit(1).assert_stderr_has(": connect: ").assert_stderr_has(": retry 1 after ");
}

#[test]
fn the_help_of_quiet_says_how_many_failures_are_shown() {
    let help = Fetch::new().arg("--help").run();
    let text = help.stdout_text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("no more than 20 are shown in a second and the others are counted"), "{help}");
}
