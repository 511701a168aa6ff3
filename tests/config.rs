//! The config file and the command line: who wins, and what is said about mistakes.

use crate::harness::{Fetch, Finished, Place, Server, echo};

/// Puts the text where the config file usually is.
fn configure(place: &Place, text: &str) {
    let dir = place.home().join(".config/fetchmany");
    std::fs::create_dir_all(&dir).expect("make the config directory");
    std::fs::write(dir.join("config"), text).expect("write the config file");
}

fn fetch(place: &Place, args: &[&str], server: &Server) -> Finished {
    place.fetch().args(args).arg(server.url("/a")).run()
}

#[test]
fn options_come_from_the_file_and_what_is_typed_wins() {
    let server = echo();
    let text = "# how we fetch\n\n-H 'X-One: from the file' # said there\n--user-agent=\"Agent 1\"\n-d there\n--json\n";
    let place = Place::new();
    configure(&place, text);
    let run = fetch(&place, &["-A", "Agent/2", "-H", "X-Two: typed"], &server);
    run.assert_exit(0);
    assert_eq!(run.record()["filename_effective"], "there/a", "{run}");
    let seen = server.seen().pop().expect("a request");
    let headers = ["x-one", "x-two", "user-agent"].map(|name| seen.header(name));
    assert_eq!(headers, [Some("from the file"), Some("typed"), Some("Agent/2")]);
}

#[test]
fn what_is_typed_wins_over_options_that_do_not_go_with_it() {
    let server = echo();
    for (text, typed, file) in [
        ("--tree", &["-o", "name"][..], Some("name")),
        ("--output=other\n", &["--discard"], None),
        ("--digest\n-u u:p", &["--basic"], Some("a")),
        ("--fifo pipe", &[], Some("a")),
        ("-q", &["-v"], Some("a")),
        ("-q\n-q", &[], Some("a")),
        // One needs the other, and both are there.
        ("--limit-rate 1G\n-j4", &["-j8"], Some("a")),
    ] {
        let place = Place::new();
        configure(&place, text);
        fetch(&place, typed, &server).assert_exit(0);
        let files: Vec<String> = place.names(".");
        assert_eq!(files, file.into_iter().map(str::to_owned).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn the_file_is_the_one_that_is_named_or_none() {
    let server = echo();
    let agent = |place: &Place, args: &[&str], env: &[(&str, &str)]| {
        let fetch = env.iter().fold(place.fetch().args(args), |fetch, (name, value)| fetch.env(name, value));
        fetch.args(["--discard", &server.url("/a")]).run().assert_exit(0);
        let agent = server.seen().pop().expect("a request").header("user-agent").expect("an agent").to_owned();
        if agent.starts_with("fetchmany/") { "none".to_owned() } else { agent }
    };
    let place = Place::new();
    configure(&place, "-A usual");
    let xdg = place.home().join("xdg");
    std::fs::create_dir_all(xdg.join("fetchmany")).expect("make a directory");
    std::fs::write(xdg.join("fetchmany/config"), "-A xdg").expect("write a file");
    place.write("named", "-A named");
    place.write("fetchmany/config", "-A evil");
    place.write("config", "-A evil");
    place.write(".fetchmanyrc", "-A evil");
    let xdg = xdg.to_str().expect("text");
    for (args, env, expected) in [
        (&[][..], &[][..], "usual"),
        (&[], &[("XDG_CONFIG_HOME", xdg)], "xdg"),
        (&[], &[("XDG_CONFIG_HOME", ".")], "usual"),
        (&[], &[("XDG_CONFIG_HOME", "/nonexistent")], "none"),
        (&[], &[("XDG_CONFIG_HOME", xdg), ("FETCHMANY_CONFIG", "named")], "named"),
        (&[], &[("FETCHMANY_CONFIG", "")], "none"),
        (&["--config", "named"], &[("FETCHMANY_CONFIG", "missing")], "named"),
        (&["--no-config"], &[("FETCHMANY_CONFIG", "missing")], "none"),
        (&["-A", "typed"], &[], "typed"),
        (&[], &[("HOME", ".")], "none"),
    ] {
        assert_eq!(agent(&place, args, env), expected, "{args:?} {env:?}");
    }
}

#[test]
fn a_mistake_is_named_with_its_file_line_and_option_before_anything_is_sent() {
    let server = echo();
    for (text, message) in [
        ("-j 8\n--no-such-thing", "conf:2: unexpected argument '--no-such-thing'"),
        ("--job 8", "--jobs"),
        ("-j lots", "conf:1: invalid value 'lots' for '--jobs"),
        ("-A", "conf:1: a value is required for '--user-agent"),
        ("# fine\n\n-A 'x", "conf:3: a quote is not closed"),
        ("-A x y", "conf:1: one option a line"),
        ("-j 8 --tree", "conf:1: one option a line"),
        ("-kI", "conf:1: one option a line"),
        ("http://h/", "conf:1: not an option"),
        ("user:S3CR3T", "conf:1: not an option"),
        ("-", "conf:1: not an option"),
        ("--config other", "conf:1: --config belongs on the command line"),
        ("--no-config", "conf:1: --no-config belongs on the command line"),
        ("--help", "conf:1: "),
        ("-V", "conf:1: "),
        ("--generate man", "conf:1: "),
        ("--parallel-max 8", "it is called --jobs here"),
        // What it needs may stand on another line, or be typed.
        ("--retry-failed\n-j 8", "conf:1: --retry-failed: it goes with --journal FILE"),
        ("--tree\n-j 8\n--discard", "conf:3: the argument '--tree' cannot be used with '--discard'"),
        ("--color sometimes", "possible values: auto, always, never"),
        // Errors of meaning.
        ("\n-o {nope}", "conf:2: --output \"{nope}\": unknown placeholder {nope}"),
        ("--cacert /nope", "conf:1: --cacert: "),
        ("-w %{nope}", "conf:1: --write-out: "),
        ("--journal /no/dir/x", "conf:1: --journal: "),
        ("--results /no/dir/x", "conf:1: --results: "),
        ("--failed /no/dir/x", "conf:1: --failed: "),
        ("-c /no/dir/x", "conf:1: --cookie-jar: "),
        ("--checksum-file /nope", "conf:1: --checksum-file: "),
        ("--netrc-file /nope", "conf:1: --netrc-file: "),
        ("-u @/nope", "conf:1: --user: "),
        ("-x foo://x", "conf:1: --proxy: "),
        ("-H @/nope", "conf:1: --header: "),
    ] {
        let place = Place::new();
        place.write("conf", text);
        let run = fetch(&place, &["--config", "conf"], &server);
        run.assert_exit(2).assert_stderr_has(message);
        assert!(!run.stderr_text().contains("S3CR3T"), "{run}");
    }
    for args in [&["--config", "missing"][..], &["--config", "."], &["--config", "a", "--no-config"]] {
        fetch(&Place::new(), args, &server).assert_exit(2);
    }
    let run = Fetch::recorded().env("FETCHMANY_CONFIG", "missing").arg(server.url("/a")).run();
    run.assert_exit(2).assert_stderr_has("missing, which FETCHMANY_CONFIG names: No such file or directory\n");
    // The last one counts, and one that is typed is not the file's.
    let place = Place::new();
    place.write("conf", "-o {nope}\n-o fine\n--cacert /nope");
    fetch(&place, &["--config", "conf"], &server).assert_exit(2).assert_stderr_has("fetchmany: conf:3: --cacert: ");
    fetch(&place, &["--config", "conf", "--cacert", "/not"], &server).assert_exit(2).assert_stderr_has("y: --cacert: ");
    assert!(server.seen().is_empty());
}
