//! What must be told to nobody: passwords in lines, options, headers and the environment, wherever something is written.

use std::os::unix::ffi::OsStrExt;

use crate::harness::raw::refusing_url;
use crate::harness::{Fetch, Gate, Place, Raw, Reply, Seen, Server, Step, until};

#[test]
fn the_password_of_a_proxy_is_told_to_nobody() {
    let refusing = refusing_url();
    let closing = Raw::always(vec![Step::ReadHead]).url("");
    let forbidding = Server::http(|_| Reply::status(407).header("proxy-authenticate", "Basic realm=\"S\""));
    let serving = Server::http(|_| Reply::ok("x"));
    let proxies = [refusing.trim_end_matches('/'), &closing, &forbidding.url(""), &serving.url("")];
    let with_user = |proxy: &str| proxy.replace("//", "//user:S3CR3T-1@");
    let proxies = proxies.iter().map(|proxy| with_user(proxy));
    let odd = [
        "http://user:S3CR3T-2@no-such-host.invalid:1",
        "odd://user:S3CR3T-3@127.0.0.1:1",
        "http://user:S3CR3T-4@[::",
        "user:S3CR3T-5@127.0.0.1:99999",
        "odd://user:S3CR3T-6 '@' x@127.0.0.1:1",
    ];
    for proxy in proxies.chain(odd.map(str::to_owned)) {
        for args in [&["--json", "-v", "--results", "results", "--failed", "failed"][..], &["-v"], &["-q"]] {
            let fetch = || {
                let args = args.iter().chain(&["--retry", "0", "-d", "out"]);
                Fetch::new().args(args).urls(&["http://target.invalid/a", "https://target.invalid/b"])
            };
            fetch().args(["-x", &proxy]).run().assert_tells_no_secret();
            fetch().env("http_proxy", &proxy).env("https_proxy", &proxy).run().assert_tells_no_secret();
        }
    }
}

#[test]
fn it_does_nothing_with_the_rights_of_somebody_else() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be two users at once");
        return;
    }
    let server = Server::http(|_| Reply::ok("x"));
    for (mine, refused) in [("--ruid=65534", true), ("--rgid=65534", true), ("--ruid=0", false)] {
        let run = Fetch::recorded().under(["setpriv", "--keep-groups", mine]).arg(server.url("/a")).run();
        run.assert_exit(if refused { 2 } else { 0 });
        assert_eq!(run.stderr_text().contains("setuid, setgid"), refused, "{run}");
        assert_eq!(run.place().exists("out"), !refused, "{run}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_url_that_an_option_swallowed_shows_no_password() {
    let help = Fetch::new().arg("--help").run();
    let options: Vec<&str> = help
        .stdout_text()
        .lines()
        .filter_map(|line| line.split_once("--"))
        .filter_map(|(before, rest)| {
            let is_first = before.trim().is_empty() || before.trim_start().starts_with('-');
            rest.split_once(" <").filter(|(name, _)| is_first && !name.contains(' ')).map(|(name, _)| name)
        })
        .collect();
    assert!(options.len() > 50 && options.contains(&"jobs") && options.contains(&"unix-socket"), "{options:?}");
    let swallowed = options.iter().chain(&["jbos", "proxy-user"]);
    let with_scheme = swallowed.map(|option| (*option, "http://u:S3CR3T@h.invalid/"));
    // Without one it may be the name of a file.
    let without = ["jobs", "rate", "max-time", "if-exists", "resolve", "proto", "request", "header", "proxy"];
    let swallowed = with_scheme.chain(without.map(|option| (option, "u:S3CR3T@h.invalid")));
    let lines = swallowed
        .flat_map(|(option, url)| [vec![format!("--{option}"), url.to_owned()], vec![format!("--{option}={url}")]]);
    let flags = ["quiet", "json"].map(|flag| vec![format!("--{flag}=http://u:S3CR3T@h.invalid/")]);
    for args in lines.chain(flags) {
        let run = Fetch::new().args(args).run();
        let told = [run.stdout_text(), run.stderr_text()].concat().to_lowercase();
        assert!(!told.contains("s3cr3t"), "{run}");
    }
}

#[test]
fn a_secret_header_is_told_to_nobody_whatever_the_answer() {
    let refusing = refusing_url();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/ok" => Reply::ok("x"),
        "/away" => Reply::redirect(302, refusing.clone()),
        "/broken" => Reply::ok("some").then_break(),
        _ => Reply::status(500),
    });
    let urls = ["/ok", "/away", "/broken", "/no"].map(|path| server.url(path));
    for args in [&["--json", "-v", "--results", "results", "--failed", "failed"][..], &["-v"], &["-q"]] {
        let fetch = Fetch::new().args(["--retry", "1", "--retry-delay", "0.01", "-d", "out"]).args(args).urls(&urls);
        let run = fetch.args(["-H", "Authorization: Bearer S3CR3T-1", "-H", "Cookie: a=S3CR3T-2"]).run();
        run.assert_exit(1);
        run.assert_tells_no_secret();
        // The line of an option that is refused is the user's own, yet not repeated.
        let refused = Fetch::new().args(["-H", "Authorization: S3CR3T-3\u{7}", &urls[0]]).run();
        refused.assert_exit(2);
        refused.assert_tells_no_secret();
    }
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some_and(|it| it.contains("S3CR3T-1"))));
}

#[test]
fn what_others_can_see_of_a_running_program_has_no_secret_that_came_by_file_or_environment() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.repeat(1 << 19)).then_wait(&held).body("the end"));
    let url = |path: &str| server.url(path).replace("//", "//user:S3CR3T-1@");
    let fetch = Fetch::recorded().args(["--results", "results", "--failed", "failed"]).urls(&[url("/a"), url("/b")]);
    let running = fetch.env("no_proxy", "*").env("http_proxy", "http://user:S3CR3T-2@127.0.0.1:1").start();
    let (place, pid) = (running.place().clone(), running.pid().as_raw_nonzero());
    until("both files being written", || ["a", "b"].iter().all(|name| place.exists(&format!("out/{name}.part"))));
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the command line");
    assert!(!String::from_utf8_lossy(&command).contains("S3CR3T"));
    for name in place.names(".") {
        assert!(!name.contains("S3CR3T"), "{name}");
    }
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(2);
    run.assert_tells_no_secret();
    for name in ["out/a", "out/b"] {
        let mut attributes = vec![0; 4096];
        let length = rustix::fs::listxattr(place.path(name), &mut attributes[..]).unwrap_or(0);
        let attributes = std::ffi::OsStr::from_bytes(&attributes[..length]).to_string_lossy().into_owned();
        assert!(!attributes.contains("user."), "{name} says where it is from: {attributes}");
    }
}

#[test]
fn what_a_file_says_of_its_version_tells_neither_whose_it_is_nor_where_it_came_from() {
    let server = Server::http(|seen: &Seen| match seen.path.starts_with("/from") {
        true => Reply::redirect(302, "/a?signed=T0K3N"),
        false => Reply::ok("x").header("etag", "\"version\""),
    });
    for (path, name) in [("/a?token=T0K3N", "a"), ("/from?token=T0K3N", "from")] {
        let place = Place::new();
        let url = server.url(path).replace("//", "//user:S3CR3T-1@");
        let fetch = || place.fetch().args(["--json", "-d", "out", "--if-exists", "update"]).urls(&[&url]).run();
        fetch().assert_exit(0).check_invariants(1);
        let file = place.path("out").join(name);
        let mut names = vec![0; 4096];
        let length = rustix::fs::listxattr(&file, &mut names[..]).unwrap_or(0);
        let names = String::from_utf8(names[..length].to_vec()).expect("text");
        let ours: Vec<&str> = names.split('\0').filter(|name| name.starts_with("user.")).collect();
        if ours.is_empty() {
            let probe = rustix::fs::setxattr(&file, "user.probe", b"x", rustix::fs::XattrFlags::empty());
            assert!(probe.is_err(), "the file says nothing of its version");
            eprintln!("skipped: files have no extended attributes here");
            return;
        }
        for attribute in ours {
            let mut value = vec![0; 65536];
            let length = rustix::fs::getxattr(&file, attribute, &mut value[..]).expect("it is there");
            let value = String::from_utf8_lossy(&value[..length]).into_owned();
            assert!(value.contains("version"), "{attribute}: {value}");
            let told = format!("{attribute} {value}");
            let secret = ["S3CR3T", "T0K3N", "token", "signed", "user:", "127.0.0.1", "//"]
                .into_iter()
                .find(|it| told.contains(it));
            assert_eq!(secret, None, "{told}");
        }
        let again = fetch();
        again.assert_exit(0).check_invariants(1);
        again.assert_tells_no_secret();
    }
}

#[test]
fn what_may_be_a_secret_is_not_repeated_where_it_is_refused() {
    let url = "http://h.invalid/";
    let place = Place::new();
    place.write("headers", "X-One: 1\n\nAuthorization Bearer S3CR3T\n");
    place.write("conf", "-A me\n-H 'Authorization Bearer S3CR3T'\n");
    for (args, told) in [
        (&["-H", "@headers", url][..], "--header @headers:3: a header has the form"),
        (&["-H", "Authorization Bearer S3CR3T", url], "--header"),
        (&["--config", "conf", url], "conf:2: "),
        (&["-b", "S3CR3T", url], "name=value"),
        (&["joe:S3CR3T@h/x"], "open input h/x: no such file (a URL begins with https:// or http://)"),
        (&["http:/joe:S3CR3T@h/x"], "a URL begins with https:// or http://"),
        (&["https:joe:S3CR3T@h/x"], "no such file"),
        (&["https//joe:S3CR3T@h/x"], "no such file"),
        (&["-x", "joe:S3CR3T@h:99999", url], "--proxy"),
        (&["--usr=joe:S3CR3T", url], "--usr"),
        (&["--usr", "joe:S3CR3T", url], "--usr"),
        (&["--basic=joe:S3CR3T", url], "--basic"),
    ] {
        let run = place.fetch().args(args).run();
        run.assert_exit(2).assert_stderr_has(told);
        assert!(!run.stderr_text().contains("S3CR3T"), "{run}");
    }
}

#[test]
fn a_line_that_is_nearly_a_url_is_told_without_its_password() {
    let lines = ["https//joe:S3CR3T@h/x", "https;//joe:S3CR3T@h/x", "https/joe:S3CR3T@h/x", "http:/joe:S3CR3T@h/x"];
    for args in [&["--json", "--results", "results"][..], &["-v"], &["-q"], &["--dry-run"]] {
        let run = Fetch::new().args(args).urls(&lines).run();
        run.assert_exit(1);
        run.assert_tells_no_secret();
    }
}
