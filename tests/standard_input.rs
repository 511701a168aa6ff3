//! Who reads standard input: the list or an option, one of them; and URLs that options took for their values.

use crate::harness::command::Stdin;
use crate::harness::reply::base64;
use crate::harness::{Fetch, echo};

#[test]
fn what_options_take_from_files_they_take_from_standard_input_too() {
    let server = echo();
    let basic = format!("Basic {}", base64(b"u:S3CR3T"));
    for (args, stdin, header, value) in [
        (["-H", "@-"], "X-One: 1\nX-Two: 2\n", "x-two", "2"),
        (["-b", "-"], "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tb\n", "cookie", "a=b"),
        (["-u", "@-"], "u:S3CR3T\n", "authorization", basic.as_str()),
        (["--oauth2-bearer", "@-"], "S3CR3T\n", "authorization", "Bearer S3CR3T"),
    ] {
        let fetch = Fetch::recorded().args(args).stdin(Stdin::Bytes(stdin.into()));
        fetch.arg(server.url("/a")).run().assert_exit(0).assert_tells_no_secret();
        assert_eq!(server.seen().pop().expect("a request").header(header), Some(value), "{args:?}");
    }
}

#[test]
fn it_is_read_once() {
    let list = echo().url("/a");
    for (args, told) in [
        (&["-H", "@-"][..], "--header @-: standard input is the list"),
        (&["-b", "-", "-"], "--cookie -: standard input is the list"),
        (&["-w", "@-", "-"], "--write-out @-: standard input is the list"),
        (&["-H", "@-", "-w", "@-", "http://h.invalid/"], "--header @-: --write-out @- reads standard input too"),
    ] {
        let run = Fetch::new().args(args).stdin(Stdin::Bytes(list.clone().into())).run();
        run.assert_exit(2).assert_stderr_has(told);
    }
}

#[test]
fn a_url_that_an_option_took_for_its_value_is_told_of() {
    let url = "http://u:S3CR3T@h.invalid/";
    for (option, name) in [("-u", "--user"), ("-w", "--write-out"), ("-A", "--user-agent"), ("-H", "--header")] {
        let run = Fetch::new().args([option, url]).run();
        run.assert_exit(0)
            .assert_stderr_has(&format!("{name} has a URL for its value, and standard input is the list"));
        run.assert_tells_no_secret();
        let run = Fetch::new().args([option, url, "-"]).run();
        assert!(!run.stderr_text().contains("for its value"), "{run}");
    }
    let run = Fetch::new().args(["-d", url]).run();
    run.assert_exit(2)
        .assert_stderr_has("--output-dir: a directory is wanted, and this is a URL")
        .assert_tells_no_secret();
}
