//! `-w`: results in the user's own words, which read as curl's do.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::authority::Alpn;
use crate::harness::command::Stdin;
use crate::harness::{Authority, Fetch, Gate, Place, Reply, Seen, Server, Stream};

/// A body, a redirect to it, an error.
fn server() -> Server {
    Server::http(|seen: &Seen| match seen.path.as_str() {
        "/moved" => Reply::redirect(302, "/file.txt?to=b"),
        "/anchor" => Reply::redirect(302, "/file.txt#there"),
        "/404" => Reply::status(404).header("content-type", "text/html").body("not here"),
        _ => Reply::ok("0123456789").header("content-type", "text/plain; charset=x"),
    })
}

/// What curl prints; `None`, with a word about it, where it is not installed.
fn curl(place: &Place, args: &[&str]) -> Option<String> {
    let mut command = Command::new("curl");
    command.current_dir(place.work()).env_clear().args(["-q", "-s", "--fail-with-body", "-L"]).args(args);
    match command.output() {
        Ok(output) => Some(String::from_utf8(output.stdout).expect("text")),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "curl must be installed in CI: {error}");
            eprintln!("skipped: curl is not installed");
            None
        }
    }
}

/// Digits are as they may be: times differ from run to run, but not in their form.
fn form_of(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "9").trim_start_matches('9').to_owned()
}

#[test]
fn variables_read_as_curls_do() {
    let server = server();
    let place = Place::new();
    let same = "%{http_code}|%{response_code}|%{exitcode}|%{url}|%{url_effective}|%{content_type}|%{size_download}|\
                %{num_redirects}|%{num_connects}|%{remote_ip}|%{remote_port}|%{http_version}|%{urlnum}|\
                100%%|%x\\x|\\ta\\r\\n";
    let times = ["time_namelookup", "time_connect", "time_appconnect", "time_starttransfer", "time_total"];
    let refusing = crate::harness::raw::refusing_url();
    let (anchored, moved) = (server.url("/a?b=c#d%20e"), server.url("/moved#gone"));
    let plain = [server.url("/file.txt"), server.url("/moved"), server.url("/404"), server.url("/anchor")];
    for url in plain.iter().chain([&anchored, &moved, &refusing]) {
        let Some(expected) = curl(&place, &["-o", "curls", "-w", same, url]) else { return };
        let run = place.fetch().args(["-d", "out", "--if-exists", "overwrite", "--retry", "0", "-w", same, url]).run();
        assert_eq!(run.stdout_text(), expected, "{url}\n{run}");
        for time in times {
            let format = format!("%{{{time}}}");
            let Some(expected) = curl(&place, &["-o", "curls", "-w", &format, url]) else { return };
            let run = place.fetch().args(["--discard", "--retry", "0", "-w", &format, url]).run();
            assert_eq!(form_of(run.stdout_text()), form_of(&expected), "{url} {time}\n{run}");
        }
    }
    let Some(expected) = curl(&place, &["-o", "x.txt", "-w", "%{filename_effective}", &server.url("/a")]) else {
        return;
    };
    let run = place.fetch().args(["-o", "x.txt", "--if-exists", "overwrite", "-w", "%{filename_effective}"]);
    assert_eq!(run.arg(server.url("/a")).run().stdout_text(), expected);
}

#[test]
fn what_is_in_no_record_reads_as_curls_does_too() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/moved" => Reply::redirect(302, "/a?to=b").header("x-tag", "old"),
        "/404" => Reply::status(404),
        _ => Reply::ok("0123456789").header("x-tag", "one").header("x-other", "a\"b").header("x-tag", "two"),
    });
    let place = Place::new();
    let same = "%{http_connect}|%{local_ip}|%{num_headers}|%{proxy_ssl_verify_result}|%{redirect_url}|%{referer}|\
                %{size_header}|%{size_upload}|%{speed_upload}|%{ssl_verify_result}|%{method}|%header{X-Tag}|%header{none}|";
    let refusing = crate::harness::raw::refusing_url();
    for url in [&server.url("/a"), &server.url("/moved"), &server.url("/404"), &refusing] {
        let curl_args = ["-o", "curls", "-A", "x", "-e", "http://from.test/", "-w", same, url];
        let Some(expected) = curl(&place, &curl_args) else { return };
        let ours = ["--discard", "--retry", "0", "-A", "x", "-e", "http://from.test/", "-w", same, url];
        let run = place.fetch().args(ours).run();
        assert_eq!(run.stdout_text(), expected, "{url}\n{run}");
    }
    let told = |format: &str, url: &str| {
        let run = place.fetch().args(["--discard", "--retry", "0", "-w", format, url]).run();
        run.stdout_text().to_owned()
    };
    assert_eq!(told("%header{X-TAG:all:, }", &server.url("/a")), "one, two");
    let undated = |json: &str| json.lines().filter(|line| !line.starts_with("\"date\"")).collect::<Vec<_>>().join("\n");
    for (url, has_headers) in [(server.url("/a"), true), (refusing, false)] {
        let Some(expected) = curl(&place, &["-o", "curls", "-w", "%{header_json}", &url]) else { return };
        let json = told("%{header_json}", &url);
        assert_eq!(undated(&json), undated(&expected), "{url}");
        assert_eq!(
            json.contains("\"x-tag\":[\"one\",\"two\"]") && json.contains("[\"a\\\"b\"]"),
            has_headers,
            "{json}"
        );
    }
    let port: u16 = told("%{local_port}", &server.url("/a")).parse().expect("a number");
    assert_ne!(port, 0);
    let unfollowed =
        place.fetch().args(["--discard", "--no-location", "-w", "%{redirect_url}"]).arg(server.url("/moved"));
    assert_eq!(unfollowed.run().stdout_text(), server.url("/a?to=b"));
    for (url, is_chain) in [(server.url("/moved"), true), (server.url("/a"), false)] {
        let times = told("%{time_redirect} %{time_pretransfer} %{time_total}", &url);
        let times: Vec<f64> = times.split(' ').map(|time| time.parse().expect("seconds")).collect();
        assert!((times[0] > 0.0) == is_chain && times[1] > 0.0 && times[0] < times[2], "{url}: {times:?}");
    }
    assert_eq!(
        told("%{time_redirect}|%{local_ip}|%{num_headers}|%header{x}", "http://nowhere.invalid:0/"),
        "0.000000||0|"
    );
}

#[test]
fn the_parts_of_both_urls_are_variables() {
    let server = server();
    let format = "%{url.fragment}|%{urle.fragment}|%{urle.path}";
    for (path, expected) in [
        ("/a?b#c", "c|c|/a"),
        ("/a", "||/a"),
        ("/moved#gone", "gone||/file.txt"),
        ("/anchor#gone", "gone|there|/file.txt"),
    ] {
        let run = Fetch::new().args(["--discard", "-w", format]).arg(server.url(path)).run();
        assert_eq!(run.stdout_text(), expected, "{run}");
    }
    let run = Fetch::recorded().arg(server.url("/anchor#gone")).run();
    assert_eq!(run.record()["url_effective"], server.url("/file.txt#there"), "{run}");
}

#[test]
fn what_a_deadline_stops_took_until_then() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/moved" => Reply::redirect(302, "/silent").after(Duration::from_millis(400)),
        "/half" => Reply::ok("0".repeat(50_000)).then_wait(&held).body("1"),
        _ => Reply::ok("never").held_by(&held),
    });
    for (path, size) in [("/silent", 0), ("/half", 50_000), ("/moved", 0)] {
        let began = Instant::now();
        let run = Fetch::recorded().args(["--retry", "0", "-m", "1"]).arg(server.url(path)).run();
        let all = began.elapsed().as_secs_f64();
        run.assert_exit(1).assert_failed_with("timeout", 28).check_invariants(1);
        let record = run.record();
        let total = record["time_total"].as_f64().expect("a time");
        // Of a chain every request, once.
        assert!((1.0..=all).contains(&total), "{path}: {all}\n{run}");
        assert_eq!(record["size_download"], size, "{run}");
        let speed = record["speed_download"].as_f64().expect("a speed");
        // Cut to whole bytes, as the time is to microseconds.
        assert!((speed - f64::from(size) / total).abs() < 2.0, "{path}\n{run}");
    }
}

#[test]
fn certificates_are_told_as_curl_tells_them() {
    let authority = Authority::new().intermediate();
    let root = authority.pem();
    let root = root.to_str().expect("a path of text");
    let server = Server::tls(&authority.identity(), Alpn::Http11, |_| Reply::ok("x"));
    let place = Place::new();
    let told = |url: &str| {
        let format = "%{num_certs}|%{ftp_entry_path}|%{certs}";
        let run = place.fetch().args(["--discard", "--retry", "0", "--cacert", root, "-w", format, url]).run();
        let expected = curl(&place, &["-o", "curls", "--cacert", root, "-w", format, url])?;
        // How numbers and extensions are put in words changes from version to version.
        let kept = |text: &str| {
            let stable = |line: &&str| !line.contains(':') || line.starts_with("Subject:");
            text.lines().filter(stable).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(kept(run.stdout_text()), kept(&expected), "{url}\n{run}");
        Some(run.stdout_text().to_owned())
    };
    let Some(text) = told(&server.url("/a")) else { return };
    assert!(text.starts_with("2||Subject:"), "{text}");
    assert_eq!(text.matches("-----BEGIN CERTIFICATE-----\n").count(), 2, "{text}");
    assert!(told(&crate::harness::raw::refusing_url()).is_some_and(|text| text == "0||"));
}

#[test]
fn each_url_is_told_once_and_nothing_else_is_on_standard_output() {
    let server = server();
    let urls = [server.url("/a"), server.url("/404"), "nonsense".to_owned()];
    let run = Fetch::new().args(["-d", "out", "-w", "%{urlnum} %{result} %{http_code}\\n"]).urls(&urls).run();
    run.assert_exit(1).check_invariants(3);
    let mut lines: Vec<&str> = run.stdout_text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0 ok 200", "1 failed 404", "2 failed 000"], "{run}");
}

#[test]
fn json_is_the_record() {
    let server = server();
    let run =
        Fetch::new().args(["-d", "out", "--results", "results", "-w", "%{json}\\n"]).urls(&[server.url("/a")]).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.stdout, run.place().read("results"), "{run}");
}

#[test]
fn text_goes_to_standard_error_and_to_files() {
    let server = server();
    let place = Place::new();
    place.write("added", "before\n");
    place.write("made", "before\n");
    let format = "out %{urlnum}\\n%{stderr}err %{urlnum}\\n%output{made}%{url}\\n%output{>>added}%{http_code}\\n\
                  %{stdout}end\\n%{onerror}%output{bad}%{url}\\n";
    let urls = [server.url("/a"), server.url("/404")];
    let run = place.fetch().args(["-d", "out", "-j", "1", "-w", format]).urls(&urls).run();
    run.assert_exit(1).assert_stderr_has("err 0\n").assert_stderr_has("err 1\n");
    assert_eq!(run.stdout_text(), "out 0\nend\nout 1\nend\n", "{run}");
    assert_eq!(place.read_text("made"), format!("{}\n{}\n", urls[0], urls[1]));
    assert_eq!(place.read_text("added"), "before\n200\n404\n");
    assert_eq!(place.read_text("bad"), format!("{}\n", urls[1]));
}

#[test]
fn a_format_can_come_from_a_file_and_from_standard_input() {
    let server = server();
    let place = Place::new();
    place.write("format", "%{http_code}\\n");
    let fetch = || place.fetch().args(["--discard", &server.url("/a")]);
    assert_eq!(fetch().args(["-w", "@format"]).run().assert_exit(0).stdout_text(), "200\n");
    let run = fetch().args(["-w", "@-"]).stdin(Stdin::Bytes(b"%{size_download}!\n".to_vec())).run();
    assert_eq!(run.assert_exit(0).stdout_text(), "10!\n");
    let run = place.fetch().args(["-w", "@-", "-"]).stdin(Stdin::Bytes(b"%{size}".to_vec())).run();
    run.assert_exit(2).assert_stderr_has("standard input is the list");
}

#[test]
fn a_format_that_means_nothing_ends_the_run_before_it_begins() {
    let server = server();
    let url = server.url("/a");
    for (format, said) in [
        ("%{nonsense}", "unknown variable %{nonsense}"),
        ("%{http_code", "%{ is not closed"),
        ("@no/such/file", "no/such/file"),
        ("%output{no/such/directory/file}x", "no/such/directory/file"),
        ("%output{}x", "%output{}"),
    ] {
        let run = Fetch::new().args(["--discard", "-w", format, &url]).run();
        run.assert_exit(2).assert_stderr_has(said);
        assert!(run.stdout.is_empty(), "{run}");
    }
    let place = Place::new();
    place.write("list", format!("{url}\n"));
    let run = place.fetch().args(["--discard", "-w", "%output{list}x", "list"]).run();
    run.assert_exit(2).assert_stderr_has("is also an INPUT");
    Fetch::new().args(["--json", "-w", "x", &url]).run().assert_exit(2);
    assert!(server.seen().is_empty());
}

#[test]
fn what_is_told_is_told_as_it_ends() {
    let server = server();
    let mut running = Fetch::new().args(["--discard", "-w", "%{http_code}\\n", "-"]).stdin(Stdin::Open).start();
    let mut stdin = running.take_stdin();
    std::io::Write::write_all(&mut stdin, format!("{}\n", server.url("/a")).as_bytes()).expect("write");
    running.wait_for_line(Stream::Out, "200");
    running.send_signal(Signal::INT);
    drop(stdin);
    running.finish();
}
