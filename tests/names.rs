//! What files are called: after the URL, after the line's own name, after a template; always inside the directory.

use std::collections::{BTreeSet, HashSet};

use crate::harness::command::Stdin;
use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server, Stream, echo};

/// The paths of these URLs' files below `out`, in input order.
#[track_caller]
fn names_of(run: &Finished) -> Vec<String> {
    let name = |record: &serde_json::Value| record["filename_effective"].as_str().unwrap_or("-").to_owned();
    run.records().iter().map(|record| name(record).trim_start_matches("out/").to_owned()).collect()
}

#[test]
fn a_file_is_called_as_the_last_part_of_its_path() {
    let server = echo();
    let urls: Vec<String> =
        ["/a.txt", "/dir/b.txt?x=1#y", "/dir/", "", "/c%20d.txt"].iter().map(|path| server.url(path)).collect();
    let run = Fetch::recorded().urls(&urls).run();
    run.check_invariants(urls.len());
    let names = names_of(&run);
    assert_eq!(names[..3], ["a.txt", "b.txt", "index.html"], "{run}");
    assert!(names[3].starts_with("index-") && names[3].ends_with(".html"), "{run}");
}

/// Paths that want to be somewhere else, or somebody else.
fn hostile_paths() -> Vec<String> {
    let dots = ["..", "%2e%2e", ".%2e", "%2e.", "%252e%252e", "%c0%ae%c0%ae", "....", ". .", "%2e%2e%00"];
    let slashes = ["/", "%2f", "%5c", "\\", "%252f", "%c0%af", "//", ";/", "%2f%2f"];
    let ends = ["x", "canary.txt", ""];
    let mut paths = Vec::new();
    for dot in dots {
        for slash in slashes {
            for end in ends {
                paths.push(format!("/{dot}{slash}{end}"));
            }
        }
    }
    let long = "x".repeat(300);
    let more = [
        "/",
        "/?q",
        "/?/../x",
        "/.",
        "/..",
        "/.bashrc",
        "/-rf",
        "/--",
        "/~",
        "/~root",
        "/*",
        "/a%2fb",
        "/a%5cb",
        "/a%00b",
        "/%00",
        "/%0a",
        "/a%0ab",
        "/%1b]0;x%07",
        "/%1b[2J",
        "/%7f",
        "/%c2%9b2J",
        "/%e2%80%aegpj.exe",
        "/%ff%fe",
        "/con",
        "/a:b",
        "/C:%5cx",
        "/a.part",
        "/a.part.meta",
        "/a.PART",
        "/a.Part.META",
        "/.part",
        "/ ",
        "/%20",
        "/a%20",
        "/a.",
        "/%e2%80%8b",
        "/%ef%bc%8f..%ef%bc%8fx",
        "/%2525",
    ];
    paths.extend(more.iter().map(|path| (*path).to_owned()));
    paths.push(format!("/{long}"));
    paths.push(format!("/{}", &long[..255]));
    paths.push(format!("/{}", &long[..256]));
    paths.push(format!("/{long}.tar.gz"));
    paths.push(format!("/a.{long}"));
    paths.push(format!("/{}", "%c3%bc".repeat(300)));
    paths
}

#[test]
fn no_url_gets_its_file_out_of_the_directory_or_under_a_dangerous_name() {
    let server = echo();
    let urls: Vec<String> = hostile_paths().iter().map(|path| server.url(path)).collect();
    assert!(urls.len() > 200);
    let run = Fetch::recorded().urls(&urls).run();
    run.check_invariants(urls.len());
    for record in run.records().iter().filter(|record| record["result"] == "ok") {
        let path = record["filename_effective"].as_str().expect("a file");
        let name = path.strip_prefix("out/").expect("below the directory");
        assert!(!name.contains('/'), "{record}");
        assert!(!name.starts_with(['.', '-']) && !name.is_empty(), "{record}");
        assert!(!name.chars().any(char::is_control), "{record}");
        assert!(name.len() + ".part.meta".len() <= 255, "{record}");
        let folded = name.to_lowercase();
        assert!(!folded.ends_with(".part") && !folded.ends_with(".part.meta"), "{record}");
    }
    let ok = run.results().iter().filter(|result| *result == "ok").count();
    assert!(ok > urls.len() / 2, "most of them are harmless once renamed\n{run}");
}

#[test]
fn different_urls_with_one_name_get_files_of_their_own_in_input_order() {
    let server = echo();
    let urls = ["/1/a.txt", "/2/a.txt", "/3/a.txt", "/3/A.txt", "/3/a.txt"].map(|path| server.url(path));
    let mut seen = BTreeSet::new();
    for jobs in ["1", "50"] {
        let run = Fetch::recorded().args(["-j", jobs]).urls(&urls).run();
        run.assert_exit(0).check_invariants(5);
        assert_eq!(run.results(), ["ok", "ok", "ok", "ok", "skipped"], "{run}");
        let names = names_of(&run);
        assert_eq!((names[0].as_str(), names[3].as_str()), ("a.txt", "A.txt"), "{run}");
        for (name, content) in [(&names[1], "/2/a.txt"), (&names[2], "/3/a.txt")] {
            assert!(name.starts_with("a-") && name.ends_with(".txt"), "{name}\n{run}");
            assert_eq!(run.place().read(&format!("out/{name}")), content.as_bytes());
        }
        seen.insert(names);
    }
    assert_eq!(seen.len(), 1, "the names are the same in every run: {seen:?}");
}

#[test]
fn a_redirect_does_not_change_the_name() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/x" => Reply::redirect(302, "/.bashrc"),
        "/y" => Reply::redirect(302, "/evil.sh"),
        _ => Reply::ok("body").header("content-disposition", "attachment; filename=\"../../evil\""),
    });
    let run = Fetch::recorded().urls(&[server.url("/x"), server.url("/y")]).run();
    run.assert_exit(0).check_invariants(2);
    assert_eq!(run.place().names("out"), ["x", "y"], "{run}");
}

#[test]
fn a_name_after_a_tab_is_the_name() {
    let server = echo();
    let url = server.url("/a");
    let lines = ["b.txt", "deep/er/c.txt", "with space", "ümläut"].map(|name| format!("{url}?{}\t{name}", name.len()));
    let run = Fetch::recorded().urls(&lines).run();
    run.assert_exit(0).check_invariants(4);
    assert_eq!(names_of(&run), ["b.txt", "deep/er/c.txt", "with space", "ümläut"], "{run}");
}

#[test]
fn a_name_after_a_tab_that_leaves_the_directory_is_a_bad_line() {
    let server = echo();
    let names: [&[u8]; 9] = [
        b"../x",
        b"/etc/x",
        b"..",
        b"a/../../b",
        b"a/..",
        b"a\0b",
        b"a\x1bb",
        b"deep/../../canary/canary.txt",
        b"../out/x",
    ];
    for name in names {
        let line = [server.url("/a").as_bytes(), b"\t", name, b"\n"].concat();
        let run = Fetch::recorded().list(line).run();
        run.assert_exit(1).assert_failed_with("input", 3).check_invariants(1);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn an_odd_name_after_a_tab_is_taken_as_it_is_or_refused() {
    let server = echo();
    let (long, longest) = ("x".repeat(300), "x".repeat(245));
    for (name, found) in [
        (".", None),
        ("", None),
        ("./", None),
        ("a//b", None),
        ("a/.", None),
        (&long, None),
        (&longest, Some(&*longest)),
        ("a\tb", None),
        ("~root/x", Some("~root/x")),
        ("con", Some("con")),
        (".hidden", Some(".hidden")),
        ("-rf", Some("-rf")),
        ("x.part", Some("x.part_")),
        ("x.PART.meta", Some("x.PART.meta_")),
    ] {
        let run = Fetch::recorded().list(format!("{}\t{name}\n", server.url("/a"))).run();
        run.check_invariants(1);
        match found {
            None => drop(run.assert_exit(1).assert_failed_with("input", 3)),
            Some(path) => assert_eq!(run.assert_exit(0).place().names("out"), [path], "{run}"),
        }
    }
}

#[test]
fn a_link_inside_the_directory_does_not_lead_a_name_outside() {
    let server = echo();
    let place = Place::new();
    place.write("out/other", "");
    std::os::unix::fs::symlink("../../canary", place.path("out/link")).expect("make a link");
    let run = place.fetch().args(["--json", "-d", "out"]).list(format!("{}\tlink/new\n", server.url("/a"))).run();
    run.assert_exit(1).check_invariants(1);
}

#[test]
fn templates_are_filled_in() {
    let server = echo();
    let port = server.port().to_string();
    for (template, name) in [
        ("{name}", "file.tar.gz"),
        ("{stem}{ext}", "file.tar.gz"),
        ("x-{stem}", "x-file.tar"),
        ("{line}{ext}", "1.gz"),
        ("{host}/{path}", "127.0.0.1/dir/file.tar.gz"),
        ("{port}", port.as_str()),
        ("{{{line}}}", "{1}"),
        ("deep/{line}/{name}", "deep/1/file.tar.gz"),
    ] {
        let run = Fetch::recorded().args(["-o", template]).arg(server.url("/dir/file.tar.gz?q")).run();
        run.assert_exit(0).check_invariants(1);
        assert_eq!(names_of(&run), [name], "{template}\n{run}");
    }
    let run = Fetch::recorded().arg("--tree").arg(server.url("/dir/file.tar.gz")).run();
    assert_eq!(names_of(&run), ["127.0.0.1/dir/file.tar.gz"], "{run}");
}

#[test]
fn a_hash_in_a_template_tells_urls_apart() {
    let server = echo();
    let urls = ["/1/a", "/2/a"].map(|path| server.url(path));
    let run = Fetch::recorded().args(["-o", "{hash}"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(2);
    let names = names_of(&run);
    assert!(names[0] != names[1] && names.iter().all(|name| name.chars().all(|c| c.is_ascii_hexdigit())), "{run}");
}

#[test]
fn millions_of_files_can_be_spread_over_directories() {
    let server = echo();
    const MANY: usize = 5000;
    let urls: Vec<String> = (0..MANY).map(|number| server.url(&format!("/{number}.txt"))).collect();
    let run = Fetch::recorded().args(["-j", "20", "-o", "{hash:3}/{hash}{ext}"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(MANY);
    let names = names_of(&run);
    let mut directories = HashSet::new();
    for (number, name) in names.iter().enumerate() {
        let (directory, file) = name.split_once('/').expect("a directory");
        assert!(directory.len() == 3 && file.starts_with(directory) && file.len() == 20, "{name}\n{run}");
        assert_eq!(run.place().read_text(&format!("out/{name}")), format!("/{number}.txt"), "{name}");
        directories.insert(directory);
    }
    // Of 4096, if the digits are as good as chance: 2888 ± 25.
    assert!((2700..3100).contains(&directories.len()), "{} directories", directories.len());
}

#[test]
fn with_a_hash_in_the_template_a_line_that_comes_again_is_a_duplicate_while_it_is_fetched() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/gone", 0) => Reply::status(404),
        (path, 0) if path == "/held" => Reply::ok(path.to_owned()).held_by(&held),
        (path, _) => Reply::ok(path.to_owned()),
    });
    let fetch = Fetch::recorded().args(["-o", "{hash}", "-"]).stdin(Stdin::Open);
    let mut running = fetch.start();
    let line = |path: &str| server.url(path) + "\n";
    running.write_stdin(line("/gone") + &line("/held") + &line("/held"));
    running.wait_for_lines(Stream::Out, 2);
    gate.open();
    running.wait_for_lines(Stream::Out, 3);
    running.write_stdin(line("/held") + &line("/gone"));
    let run = running.finish();
    run.assert_exit(1).check_invariants(5);
    assert_eq!(run.results(), ["failed", "ok", "skipped", "skipped", "ok"], "{run}");
    let why = |index: usize| run.records()[index]["errormsg"].as_str().unwrap_or_default().to_owned();
    assert!(why(2).contains("duplicate") && why(3).contains("exists"), "{run}");
    assert_eq!((server.count("/held"), server.count("/gone")), (1, 2), "{run}");
}

#[test]
fn a_tree_of_hostile_paths_stays_below_its_host() {
    let server = echo();
    let urls: Vec<String> = hostile_paths().iter().map(|path| server.url(path)).collect();
    let run = Fetch::recorded().arg("--tree").urls(&urls).run();
    run.check_invariants(urls.len());
    for name in run.place().names("out") {
        assert!(name.starts_with("127.0.0.1/"), "{name}");
        assert!(name.split('/').all(|part| part != ".." && part != "." && part.len() <= 255), "{name}");
    }
}

#[test]
fn a_template_with_an_unknown_placeholder_is_refused_and_the_known_ones_are_named() {
    for template in ["{nmae}", "{", "a}b", "{}", "../{name}", "/etc/{name}"] {
        let run = Fetch::new().args(["-o", template, "http://127.0.0.1:9/"]).run();
        run.assert_exit(2).check_invariants(0);
        if template == "{nmae}" {
            for known in ["name", "stem", "ext", "host", "port", "path", "line", "hash"] {
                run.assert_stderr_has(&format!("{{{known}}}"));
            }
        }
    }
}

#[test]
fn where_case_does_not_tell_files_apart_it_does_not_tell_names_apart() {
    let server = echo();
    let urls = ["/1/read.me", "/2/READ.ME", "/3/Read.me"].map(|path| server.url(path));
    let fetch = Fetch::recorded().urls(&urls);
    // Every look for a file finds one: the one under its name in the other case, too.
    let options = ["-e", "trace=faccessat,faccessat2", "-e", "inject=faccessat,faccessat2:retval=0"];
    let Some(fetch) = fetch.strace(options) else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(3);
    let names = names_of(&run);
    let folded: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!((names[0].as_str(), folded.len()), ("read.me", 3), "{run}");
    assert_eq!(run.place().names("out").len(), 3, "nothing is left of the look at it\n{run}");
}

#[test]
fn a_name_of_every_length_has_room_for_its_suffixes() {
    // Of unknown length, so that it has its partial file and its description.
    let server = Server::http(|seen: &Seen| match seen.header("range") {
        None => Reply::ok(vec![b'x'; 1000]).header("etag", "\"v\"").chunked().then_break(),
        Some(_) => Reply::status(206).header("etag", "\"v\"").header("content-range", "bytes 1000-1000/1001").body("y"),
    });
    let names: Vec<String> = (240..=256).map(|length| "n".repeat(length)).collect();
    let urls: Vec<String> = names.iter().map(|name| server.url(&format!("/{name}"))).collect();
    let run = Fetch::recorded().args(["--retry", "1", "--retry-delay", "0"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(names.len());
    assert!(run.records().iter().all(|record| record["resume_from"] == 1000), "{run}");
    assert_eq!(run.place().names("out").len(), names.len(), "{run}");
}
