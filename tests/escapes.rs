//! Text that would command the terminal, wherever it comes from: variables that are read, names that servers give,
//! names that are typed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::harness::invariants::first_unclean;
use crate::harness::pty::{OnTerminal, Size};
use crate::harness::{Fetch, Place, Raw, Step, echo};

/// A title, a cleared screen twice, text turned round, a line begun anew.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\rowned";

/// What of it must not be on any terminal.
const COMMANDS: [&str; 7] = ["\u{1b}]", "\u{1b}[2J", "\u{9b}", "\u{202e}", "\u{7}", "\u{7f}", "\rowned"];

/// The ways to tell, each with whether the program itself commands the terminal then.
const WAYS: [(&[&str], bool); 4] = [
    (&["--progress", "off", "--color", "never", "-v"], false),
    (&["--progress", "off", "--color", "never", "--json"], false),
    (&["--progress", "bars", "-v"], true),
    (&["--progress", "bars", "--json"], true),
];

/// Runs it to its end on a terminal, where it must tell something and nothing of it a command.
#[track_caller]
fn run(fetch: Fetch, commands_itself: bool) -> (OnTerminal, Option<i32>) {
    let mut terminal = fetch.on_terminal(Size { rows: 24, columns: 200 });
    let status = terminal.finish();
    let raw = terminal.raw();
    let text = String::from_utf8_lossy(&raw);
    let found = COMMANDS.iter().find(|command| text.contains(**command));
    assert_eq!(found, None, "{}", terminal.describe(status));
    // The terminal makes the end of a line two characters.
    let lines = text.replace("\r\n", "\n");
    let unclean = first_unclean(lines.as_bytes()).filter(|_| !commands_itself);
    assert!(!text.is_empty() && unclean.is_none(), "{unclean:?}: {}", terminal.describe(status));
    (terminal, status.code())
}

/// The same behind something else, with bytes that are no UTF-8.
fn evil(before: impl AsRef<str>) -> OsString {
    let bytes = [before.as_ref().as_bytes(), EVIL.as_bytes(), b"\xff\x9b"].concat();
    OsString::from_vec(bytes)
}

#[test]
fn variables_that_are_read_do_not_command_the_terminal() {
    let server = echo();
    let http = [server.url("/a")];
    let https = [http[0].replace("http:", "https:")];
    // The variable, what is before the text, the URL, further options, the exit code, and what is told of it.
    for (name, before, urls, args, code, told) in [
        ("http_proxy", "http://127.0.0.1:1/", &http, &[][..], None, ""),
        ("http_proxy", "odd://", &http, &[], Some(2), "http_proxy"),
        ("https_proxy", "socks9://h:99999/", &https, &[], Some(2), "https_proxy"),
        ("ALL_PROXY", "http://[::", &https, &[], Some(2), "ALL_PROXY"),
        ("no_proxy", "h,", &http, &[], Some(0), "200"),
        ("SSL_CERT_FILE", "missing", &https, &[], Some(2), "owned"),
        ("CURL_CA_BUNDLE", "missing", &https, &[], Some(2), "owned"),
        ("SSLKEYLOGFILE", "keys", &https, &[], None, ""),
        ("FETCHMANY_CONFIG", "missing", &http, &[], Some(2), "owned"),
        ("FETCHMANY_USER", "u:", &http, &[], None, ""),
        ("FETCHMANY_OAUTH2_BEARER", "", &http, &[], None, ""),
        ("HOME", "/missing/", &http, &["-n"], None, ""),
        ("TERM", "", &http, &[], Some(0), "200"),
        ("COLUMNS", "80", &http, &[], Some(0), "200"),
    ] {
        for (way, commands_itself) in WAYS {
            let fetch = Fetch::new().args(["--retry", "0", "-d", "out"]).args(args).args(way).env(name, evil(before));
            let (terminal, ended) = run(fetch.urls(urls), commands_itself);
            let said = String::from_utf8_lossy(&terminal.raw()).into_owned();
            assert!(said.contains(told), "{name} {way:?}: {said}");
            assert!(code.is_none_or(|code| ended == Some(code)), "{name} {way:?} {ended:?}: {said}");
        }
    }
}

#[test]
fn the_directory_of_configurations_does_not_command_the_terminal() {
    let server = echo();
    let place = Place::new();
    let directory = place.path(EVIL);
    place.write(&format!("{EVIL}/fetchmany/config"), format!("-j 1\n--odd{EVIL}\n"));
    for (way, commands_itself) in WAYS {
        let fetch = place.fetch().args(way).env("XDG_CONFIG_HOME", &directory).arg(server.url("/a"));
        let (terminal, ended) = run(fetch, commands_itself);
        let said = String::from_utf8_lossy(&terminal.raw()).into_owned();
        assert!(ended == Some(2) && said.contains("fetchmany/config:2: "), "{said}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn names_that_servers_give_command_neither_the_terminal_nor_its_next_listing() {
    let plain = EVIL.replace('\r', "");
    let coded: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for given in [
        format!("filename=\"a{plain}b\""),
        format!("filename*=UTF-8''a{coded}b"),
        format!("filename=\"a\"; filename*=utf-8''{coded}"),
        format!("filename=\"{plain}/../../{plain}\""),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Disposition: attachment; {given}\r\nContent-Length: 1\r\n\r\nx");
        let server = Raw::always(Step::answer(head));
        for (way, commands_itself) in WAYS {
            let fetch = Fetch::new().args(["--retry", "0", "-J", "-d", "out"]).args(way).urls(&[server.url("/a")]);
            let (terminal, ended) = run(fetch, commands_itself);
            let names = terminal.place().names("out");
            assert!(ended == Some(0) && names.len() == 1, "{given:?} {names:?}");
            assert_eq!(first_unclean(names[0].as_bytes()), None, "{given:?} {names:?}");
        }
    }
}

#[test]
fn a_name_does_not_begin_its_line_anew() {
    let server = echo();
    for (way, commands_itself) in WAYS {
        let place = Place::new();
        let directory = format!("out{EVIL}");
        let input = format!("list{EVIL}");
        place.write(&input, format!("{}\nbad\rowned\n{}\tname\rowned\n", server.url("/%0downed"), server.url("/b")));
        let fetch = place.fetch().args(["-d", &directory]).args(way).arg(&input);
        let (terminal, ended) = run(fetch, commands_itself);
        let said = String::from_utf8_lossy(&terminal.raw()).into_owned();
        assert!(ended == Some(1) && said.contains("owned"), "{said}");
        let names = place.names(&directory);
        assert!(!names.is_empty() && names.iter().all(|name| first_unclean(name.as_bytes()).is_none()), "{names:?}");
    }
}
