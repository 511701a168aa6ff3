//! Numbers: many files, many transfers at once, many hosts, many descriptors, against a real nginx.

use std::collections::HashSet;
use std::io::Write;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::command::Stdin;
use crate::harness::nginx::{Listen, most_at_once};
use crate::harness::{Fetch, Finished, Gate, Nginx, Place, Reply, Server, Stream, until, until_within};

const FILES: usize = 20_000;

/// One KiB that no other number has.
fn content(number: usize) -> Vec<u8> {
    format!("{number:08} ").bytes().cycle().take(1024).collect()
}

fn make_files(nginx: &Nginx) {
    for number in 0..FILES {
        std::fs::write(nginx.root().join(number.to_string()), content(number)).expect("write a file to serve");
    }
}

/// Every file of `out` has its content, and every one of them one record.
#[track_caller]
fn check_files(run: &Finished, place: &Place) {
    run.assert_exit(0).check_invariants(FILES);
    let tree = place.tree("out");
    assert_eq!(tree.len(), FILES);
    for number in 0..FILES {
        assert!(tree[&number.to_string()] == content(number), "{number}");
    }
}

#[track_caller]
fn fetch_all(nginx: &Nginx, url: impl Fn(&str) -> String) {
    let place = Place::new();
    let urls: Vec<String> = (0..FILES).map(|number| url(&format!("/{number}"))).collect();
    let fetch = place.fetch().args(["--json", "-d", "out", "-j", "200", "--cacert"]).arg(nginx.cacert());
    let run = fetch.bound(Duration::from_secs(300)).urls(&urls).run();
    check_files(&run, &place);
}

#[test]
fn twenty_thousand_files_over_http_tls_and_http_2() {
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    make_files(&nginx);
    fetch_all(&nginx, |path| nginx.http(path));
    fetch_all(&nginx, |path| nginx.tls(path));
    fetch_all(&nginx, |path| nginx.http2(path));
    until("the log", || nginx.accesses().len() >= 3 * FILES);
    let accesses = nginx.accesses();
    assert_eq!(accesses.len(), 3 * FILES, "one request each");
    assert_eq!(accesses.iter().filter(|access| access.protocol == "HTTP/2.0").count(), FILES);
    let connections: HashSet<u64> = accesses.iter().map(|access| access.connection).collect();
    assert!(connections.len() < 2000, "{} connections for three times {FILES} files", connections.len());
}

/// Fetches `count` URLs that each take two seconds, all at once.
#[track_caller]
fn fetch_at_once(count: usize, wrap: impl FnOnce(Fetch) -> Fetch) {
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    let urls: Vec<String> = (0..count).map(|number| nginx.http(&format!("/sleep/2/{number}"))).collect();
    let jobs = count.to_string();
    let fetch = wrap(Fetch::recorded().args(["-j", &jobs, "--connect-timeout", "60"]));
    let run = fetch.bound(Duration::from_secs(300)).urls(&urls).run();
    run.assert_exit(0).check_invariants(count);
    let tree = run.place().tree("out");
    for number in 0..count {
        assert_eq!(tree[&number.to_string()], format!("slept for /sleep/2/{number}").into_bytes());
    }
    until("the log", || nginx.accesses().len() >= count);
    let most = most_at_once(&nginx.accesses());
    // Connecting takes a while: the first may have been answered before the last was asked for.
    assert!(most > 1100, "{most} of {count} were being answered at once");
}

#[test]
fn four_thousand_transfers_at_once() {
    fetch_at_once(4000, |fetch| fetch);
}

#[test]
fn eight_thousand_transfers_at_once() {
    fetch_at_once(8000, |fetch| fetch);
}

#[test]
fn transfers_work_on_high_descriptors() {
    let script = r#"for ((i = 0; i < 1100; i++)); do exec {fd}</dev/null; done; exec "$@""#;
    fetch_at_once(2000, |fetch| fetch.under_bash(script));
}

#[test]
fn four_thousand_hosts() {
    const HOSTS: u32 = 4000;
    let Some(nginx) = Nginx::start(Listen::EveryAddress) else { return };
    std::fs::write(nginx.root().join("file"), "the same everywhere").expect("write a file to serve");
    let host = |number: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number).to_string();
    let urls: Vec<String> = (0..HOSTS).map(|number| nginx.http_at(&host(number), "/file")).collect();
    let run = Fetch::recorded().args(["--tree", "-j", "1000"]).bound(Duration::from_secs(300)).urls(&urls).run();
    run.assert_exit(0).check_invariants(HOSTS as usize);
    let tree = run.place().tree("out");
    assert!((0..HOSTS).all(|number| tree[&format!("{}/file", host(number))] == b"the same everywhere"), "{run}");
}

#[test]
fn connections_to_many_hosts_are_kept_within_bounds() {
    const HOSTS: usize = 3000;
    let server = Server::http_at(Ipv4Addr::UNSPECIFIED, |_| Reply::ok("here"));
    let host = |number: usize| format!("127.2.{}.{}", number / 250, number % 250 + 1);
    let urls: Vec<String> = (0..HOSTS).map(|number| server.url_as(&host(number), "/")).collect();
    let fetch = Fetch::recorded().args(["--discard", "-j", "50"]).stdin(Stdin::Open);
    let mut running = fetch.bound(Duration::from_secs(120)).start();
    let mut most = 0;
    for (number, some) in urls.chunks(100).enumerate() {
        running.write_stdin(some.iter().map(|url| format!("{url}\n")).collect::<String>());
        running.wait_for_lines(Stream::Out, 100 * number + 50);
        most = most.max(running.descriptors());
    }
    running.wait_for_lines(Stream::Out, HOSTS);
    most = most.max(running.descriptors());
    running.finish().assert_exit(0).check_invariants(HOSTS);
    // A socket and a file for each that runs, and 256 connections that idle.
    assert!((100..=2 * 50 + 256 + 40).contains(&most), "{most} descriptors");
}

#[test]
fn few_descriptors_lower_the_number_of_transfers_and_lose_nothing() {
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::write(nginx.root().join("file"), "x").expect("write a file to serve");
    let urls: Vec<String> = (0..1000).map(|number| nginx.http(&format!("/file?{number}"))).collect();
    let run = Fetch::recorded().args(["-j", "200"]).under(["prlimit", "--nofile=64"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    let told = run.stderr_text().lines().filter(|line| line.contains("descriptors")).count();
    assert_eq!(told, 1, "it is said once\n{run}");
    let run = Fetch::recorded().under(["prlimit", "--nofile=12"]).urls(&urls[..1]).run();
    run.assert_exit(3).check_invariants(0);
}

/// Ten minutes with a debug build: `cargo test a_million_files -- --ignored --nocapture` tells how long each tenth took.
#[test]
#[ignore = "takes minutes, and 4 GiB of disk"]
fn a_million_files_in_one_directory() {
    const MANY: usize = 1_000_000;
    const TENTH: usize = MANY / 10;
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::write(nginx.root().join("file"), content(0)).expect("write a file to serve");
    // No name is remembered: 16 bytes a URL and the slack of their table would be.
    let fetch = Fetch::new().args(["-d", "out", "-o", "{hash}", "-w", "%{urlnum} %{http_code}\\n", "-j", "200"]);
    let place = fetch.place().clone();
    let told = std::fs::File::create(place.path("told")).expect("make a file");
    let mut running = fetch.stdin(Stdin::Open).stdout(told).bound(Duration::from_secs(1800)).start();
    let mut stdin = running.take_stdin();
    let (mut peaks, mut length) = (Vec::new(), 0);
    for tenth in 0..10 {
        let start = std::time::Instant::now();
        let numbers = tenth * TENTH..(tenth + 1) * TENTH;
        let lines: String = numbers.clone().map(|number| nginx.http(&format!("/file?{number}")) + "\n").collect();
        stdin.write_all(lines.as_bytes()).expect("write to its input");
        length += numbers.map(|number| format!("{number} 200\n").len() as u64).sum::<u64>();
        let told = || place.path("told").metadata().expect("it is there").len();
        until_within(Duration::from_secs(600), "a tenth of them", || told() >= length);
        peaks.push(running.peak_rss());
        println!("{tenth}: {:?}, {} KiB at most", start.elapsed(), peaks[tenth] / 1024);
    }
    drop(stdin);
    let run = running.finish();
    run.assert_exit(0);
    // The first tenth may not have had as much of everything at once as there ever is.
    assert!(peaks[9] <= peaks[1] + peaks[1] / 20, "{peaks:?}");
    let told = place.read_text("told");
    let told: HashSet<&str> = told.lines().collect();
    assert!(told.len() == MANY && told.iter().all(|line| line.ends_with(" 200")), "{} records", told.len());
    let files = std::fs::read_dir(place.path("out")).expect("the directory");
    let whole =
        |entry: std::io::Result<std::fs::DirEntry>| entry.and_then(|it| it.metadata()).expect("a file").len() == 1024;
    assert_eq!(files.map(whole).filter(|whole| *whole).count(), MANY);
    let sample = std::fs::read_dir(place.path("out")).expect("the directory").step_by(1009);
    for entry in sample.map(|entry| entry.expect("a file").path()) {
        assert!(std::fs::read(&entry).expect("it is there") == content(0), "{}", entry.display());
    }
}

#[test]
#[ignore = "takes a minute where others work too"]
fn a_file_of_five_gigabytes_is_counted_to_its_end() {
    const LENGTH: u64 = (5 << 30) + 7;
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::File::create(nginx.root().join("large")).expect("make a file").set_len(LENGTH).expect("a hole");
    let run = Fetch::recorded().args(["--discard"]).bound(Duration::from_secs(300)).arg(nginx.http("/large")).run();
    run.assert_exit(0).assert_stderr_has("5.00 GiB").check_invariants(1);
    let record = run.record();
    assert_eq!((&record["size"], &record["size_download"]), (&LENGTH.into(), &LENGTH.into()), "{run}");
}

#[test]
fn memory_does_not_grow_with_the_list() {
    // From the first on, as many lines are read ahead as ever are.
    const FEW: usize = 20_000;
    const MANY: usize = 60_000;
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::write(nginx.root().join("file"), "x").expect("write a file to serve");
    let fetch = Fetch::new().args(["--discard", "-j", "50"]).stdin(Stdin::Open);
    let mut running = fetch.bound(Duration::from_secs(120)).start();
    let mut stdin = running.take_stdin();
    let mut write = |numbers: Range<usize>| {
        let lines: String = numbers.map(|number| nginx.http(&format!("/file?{number}")) + "\n").collect();
        stdin.write_all(lines.as_bytes()).expect("write to its input");
    };
    write(0..FEW);
    running.wait_for_lines(Stream::Out, FEW);
    let few = running.peak_rss();
    write(FEW..MANY);
    running.wait_for_lines(Stream::Out, MANY);
    let many = running.peak_rss();
    drop(stdin);
    running.finish().assert_exit(0);
    assert!(many <= few + few / 20, "{few} bytes for {FEW} URLs, {many} for {MANY}");
}

#[test]
fn a_list_is_read_ahead_to_its_bound_and_v_tells_where_that_is() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Server::http(move |_| Reply::ok("slow").held_by(&held));
    let other = Server::http_at(Ipv4Addr::new(127, 0, 0, 2), |_| Reply::ok("other"));
    let list = |before: usize| -> Vec<String> {
        let mut list: Vec<String> = (0..before).map(|number| slow.url(&format!("/{number}"))).collect();
        list.push(other.url(&format!("/behind-{before}")));
        list
    };
    let start = |before, args: &[&str]| Fetch::new().args(["--discard"]).args(args).urls(&list(before)).start();
    // Within the bound the host behind gets its turn, and nothing is to be told.
    let running = start(16_000, &["-v"]);
    running.wait_for_line(Stream::Out, "behind-16000");
    let run = running.kill();
    assert!(!run.stderr_text().contains("ahead"), "{run}");
    let running = start(17_000, &["-v"]);
    running.wait_for_line(Stream::Err, "16384 lines of 1 host wait");
    running.kill();
    // Who did not ask is not told.
    let before = slow.counts(|counts| counts.requests.len());
    let running = start(17_000, &[]);
    slow.wait("as many as are allowed", |counts| counts.requests.len() >= before + 8);
    running.send_signal_and_settle(Signal::USR1);
    running.wait_for_line(Stream::Err, "16,384 waiting");
    let run = running.kill();
    assert!(!run.stderr_text().contains("ahead"), "{run}");
    assert_eq!(other.paths(), ["/behind-16000"]);
    gate.open();
}

/// Sorted by time or by number, lists of many hosts come back to each of them after many others.
#[test]
fn who_comes_back_to_a_host_finds_a_connection() {
    const HOSTS: usize = 40;
    let Some(nginx) = Nginx::start(Listen::EveryAddress) else { return };
    std::fs::write(nginx.root().join("file"), "the same everywhere").expect("write a file to serve");
    let urls: Vec<String> =
        (0..25 * HOSTS).map(|line| nginx.http_at(&format!("127.0.1.{}", line % HOSTS + 1), "/file")).collect();
    let run = Fetch::recorded().args(["--discard", "-j", "20"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    until("the log", || nginx.accesses().len() >= urls.len());
    let connections: HashSet<u64> = nginx.accesses().iter().map(|access| access.connection).collect();
    assert!(connections.len() < 5 * HOSTS, "{} connections to {HOSTS} hosts", connections.len());
}
