//! Cookies: ignored unless asked for, kept for the run, written for the next.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Fetch, Finished, Place, Reply, Seen, Server};

/// `/set` sets what the case says; everything else answers with the cookies that came.
fn setting(cookies: &[&str]) -> Server {
    let cookies: Vec<String> = cookies.iter().map(|cookie| (*cookie).to_owned()).collect();
    Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/set" => cookies.iter().fold(Reply::ok("set"), |reply, cookie| reply.header("set-cookie", cookie.clone())),
        _ => Reply::ok(seen.header("cookie").unwrap_or("none").to_owned()),
    })
}

/// One after another.
fn fetch(place: &Place, args: &[&str], server: &Server, urls: &[String]) -> Finished {
    let names = ["a.test", "b.test", "deep.a.test"].map(|host| server.resolve(host));
    let fetch = place.fetch().args(["--json", "-d", "out", "-j", "1", "--if-exists", "overwrite"]).args(args);
    let run = names.iter().fold(fetch, |fetch, name| fetch.args(["--resolve", name])).urls(urls).run();
    run.assert_exit(0);
    run
}

#[test]
fn cookies_are_sent_as_given_and_those_that_servers_set_are_ignored() {
    let server = setting(&["id=1"]);
    let place = Place::new();
    for (args, sent) in
        [(&[][..], "none"), (&["-b", "a=1; b=2"], "a=1; b=2"), (&["-b", "a=1", "-b", "b=2"], "a=1; b=2")]
    {
        fetch(&place, args, &server, &[server.url("/set"), server.url("/then")]);
        assert_eq!(place.read_text("out/then"), sent, "{args:?}");
    }
}

#[test]
fn one_jar_serves_the_run_and_the_next_one() {
    let server = setting(&["session=1", "lasting=2; Max-Age=3600", "gone=3; Max-Age=0", "http=4; HttpOnly"]);
    let place = Place::new();
    place.write("jar", "");
    std::fs::set_permissions(place.path("jar"), PermissionsExt::from_mode(0o644)).expect("chmod");
    fetch(&place, &["-c", "jar"], &server, &[server.url("/set"), server.url("/then")]);
    let sorted = |text: String| {
        let mut cookies: Vec<String> = text.split("; ").map(str::to_owned).collect();
        cookies.sort();
        cookies.join("; ")
    };
    assert_eq!(sorted(place.read_text("out/then")), "http=4; lasting=2; session=1");
    let jar = place.read_text("jar");
    assert!(jar.starts_with("# Netscape HTTP Cookie File") && jar.contains("\tlasting\t2"), "{jar}");
    let mode = std::fs::metadata(place.path("jar")).expect("a jar").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.names(".").iter().filter(|name| name.starts_with("jar")).count(), 1, "nothing is left beside it");
    // Read again, with a cookie of its own; another host gets none of them.
    let urls = [server.url("/again"), server.url_as("a.test", "/other")];
    fetch(&place, &["-b", "jar", "-b", "own=5"], &server, &urls);
    assert_eq!(sorted(place.read_text("out/again")), "http=4; lasting=2; own=5; session=1");
    assert_eq!(place.read_text("out/other"), "own=5");
}

#[test]
fn a_jar_that_is_not_there_yet_is_read_and_written_by_the_same_command() {
    let server = setting(&["id=1; Max-Age=3600"]);
    let place = Place::new();
    fetch(&place, &["-b", "jar", "-c", "jar"], &server, &[server.url("/set")]);
    fetch(&place, &["-b", "jar", "-c", "jar"], &server, &[server.url("/then")]);
    assert_eq!(place.read_text("out/then"), "id=1");
    place.fetch().args(["-b", "other", "-c", "jar", &server.url("/x")]).run().assert_exit(2);
}

#[test]
fn a_cookie_file_counts_by_its_domains_and_a_broken_one_is_named() {
    let server = setting(&[]);
    let place = Place::new();
    let lines = ".a.test\tTRUE\t/\tFALSE\t0\tall\t1\n#HttpOnly_a.test\tFALSE\t/\tFALSE\t0\talone\t2\n# a comment\n\
                 Set-Cookie: header=3; Domain=b.test\n";
    place.write("cookies", lines);
    let urls = ["a.test", "deep.a.test", "b.test"].map(|host| server.url_as(host, &format!("/{host}")));
    fetch(&place, &["-b", "cookies"], &server, &urls);
    let sent = |host: &str| place.read_text(&format!("out/{host}"));
    assert!(sent("a.test").contains("all=1") && sent("a.test").contains("alone=2"), "{}", sent("a.test"));
    assert_eq!((sent("deep.a.test").as_str(), sent("b.test").as_str()), ("all=1", "header=3"));
    place.write("broken", "# fine\nnot a cookie\n");
    place.fetch().args(["-b", "broken", &server.url("/x")]).run().assert_exit(2).assert_stderr_has("broken:2: ");
}

#[test]
fn servers_set_no_cookies_for_others() {
    let many: Vec<String> = (0..1000).map(|number| format!("c{number}=x")).collect();
    let hostile = ["com=1; Domain=com", "sibling=2; Domain=b.test", "top=3; Domain=test", "own=4"];
    let all: Vec<&str> = hostile.into_iter().chain(many.iter().map(String::as_str)).collect();
    let server = setting(&all);
    let place = Place::new();
    let urls = [("a.test", "/set"), ("b.test", "/b"), ("a.test", "/a")].map(|(host, path)| server.url_as(host, path));
    fetch(&place, &["-b", ""], &server, &urls);
    assert_eq!(place.read_text("out/b"), "none");
    let own = place.read_text("out/a");
    assert!(own.contains("own=4") && !own.contains("sibling"), "{own}");
}

#[test]
fn of_cookies_without_measure_few_are_sent_and_too_many_are_no_answer() {
    let large = |count: usize| (0..count).map(|number| format!("c{number}={}", "x".repeat(4000))).collect::<Vec<_>>();
    for args in [&["--json", "-d", "out"][..], &["--json", "-d", "out", "-b", ""]] {
        let server = setting(&large(200).iter().map(String::as_str).collect::<Vec<_>>());
        let run = Fetch::new().args(args).args(["--retry", "0"]).arg(server.url("/set")).run();
        run.assert_exit(1).assert_failed("protocol").check_invariants(1);
        // As much as a head may have.
        let server = setting(&large(70).iter().map(String::as_str).collect::<Vec<_>>());
        let run = Fetch::new().args(args).args(["-j", "1"]).urls(&["/set", "/then"].map(|path| server.url(path))).run();
        run.assert_exit(0).check_invariants(2);
        let sent = run.place().read_text("out/then").len();
        assert!((4..8190).contains(&sent), "{sent} bytes of cookies\n{run}");
        assert_eq!(sent > 4000, args.contains(&"-b"), "{run}");
    }
}

#[test]
fn cookies_do_not_follow_a_redirect_to_another_host() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/from" => Reply::redirect(302, format!("http://b.test:{}/to", seen.host.rsplit(':').next().expect("a port"))),
        _ => Reply::ok(seen.header("cookie").unwrap_or("none").to_owned()),
    });
    let place = Place::new();
    place.write("cookies", "a.test\tFALSE\t/\tFALSE\t0\tid\tS3CR3T-1\n");
    for args in [["-b", "cookies"], ["-b", "id=S3CR3T-2"]] {
        fetch(&place, &args, &server, &[server.url_as("a.test", "/from")]);
        assert!(server.seen().iter().rev().nth(1).is_some_and(|seen| seen.header("cookie").is_some()));
        assert_eq!(place.read_text("out/from"), "none", "{args:?}");
    }
}

#[test]
fn a_jar_that_cannot_be_written_at_the_end_is_an_error() {
    let server = setting(&[]);
    let fetch = Fetch::recorded().args(["-c", "dir/jar"]);
    let place = fetch.place().clone();
    place.write("dir/x", "");
    let dir = place.path("dir");
    let url = server.url("/a");
    // The directory goes away between start and end.
    let gone = Server::http(move |_| {
        let _ = std::fs::rename(&dir, dir.with_extension("gone"));
        Reply::ok("x")
    });
    fetch.arg(url).arg(gone.url("/b")).run().assert_exit(3).assert_stderr_has("dir/jar");
}
