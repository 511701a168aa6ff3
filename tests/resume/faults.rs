//! A disk that refuses while something is continued.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::harness::strace::each_in_turn;

#[test]
fn whichever_step_of_continuing_fails_the_file_is_whole_or_the_next_run_makes_it_so() {
    for fault in [
        "openat:error=EACCES",
        "openat:error=EMFILE",
        "flock:error=EIO",
        "flock:error=ENOLCK",
        "lseek:error=EINVAL",
        "ftruncate:error=EIO",
        "pread64:error=EIO",
        "pread64:retval=0",
        "write:error=EIO",
        "unlinkat:error=EACCES",
        "renameat2:error=EIO",
        "renameat2:error=ENOSYS",
    ] {
        let breaks = Arc::new(AtomicBool::new(true));
        let flag = breaks.clone();
        let server = Server::http(move |seen: &Seen| match asked(seen) {
            Some(from) => rest(from),
            None if flag.swap(false, Ordering::SeqCst) => broken().header("etag", TAG),
            None => whole(1),
        });
        let disturbed = |fault: &str| {
            let place = Place::new();
            breaks.store(true, Ordering::SeqCst);
            run(&place, &server, &[]).assert_failed("partial");
            let fetch = place.fetch().args(["--json", "-d", "out", "--retry", "0"]).arg(server.url("/a"));
            let calls = fault.split(':').next().unwrap_or_default();
            let [out, part, meta] =
                ["out", "out/a.part", "out/a.part.meta"].map(|name| place.path(name).into_os_string());
            let only = ["-P".into(), out, "-P".into(), part, "-P".into(), meta];
            let inject = ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={fault}")];
            Some(fetch.strace(only.into_iter().chain(inject.map(Into::into)))?.run())
        };
        each_in_turn(fault, 1, disturbed, |number, disturbed| {
            let place = disturbed.place();
            match disturbed.json().first() {
                // Nothing began.
                None => drop(disturbed.assert_exit(3)),
                Some(record) if record["result"] == "ok" => {
                    disturbed.check_invariants(1);
                    assert!(place.read("out/a") == content(1), "{fault} {number}\n{disturbed}");
                    return;
                }
                Some(record) => {
                    disturbed.check_invariants(1);
                    assert_eq!(record["error_class"], "local", "{fault} {number}\n{disturbed}");
                    assert!(!place.exists("out/a"), "{fault} {number}\n{disturbed}");
                }
            }
            check_whole(place, &run(place, &server, &[]), 1);
        });
    }
}

#[test]
fn a_whole_file_that_cannot_get_its_name_is_not_fetched_again() {
    for error in ["EACCES", "EIO", "EXDEV"] {
        let large: Vec<u8> = (0..2u32 << 20).map(|at| (at / 253) as u8).collect();
        let sent = large.clone();
        let server = Server::http(move |seen: &Seen| match asked(seen) {
            Some(from) => {
                part(&format!("bytes {from}-{}/{}", sent.len() - 1, sent.len())).header("etag", TAG).body(&sent[from..])
            }
            None => Reply::ok(sent.clone()).header("etag", TAG),
        });
        let place = Place::new();
        let fetch = place.fetch().args(["--json", "-d", "out", "--retry", "0"]).arg(server.url("/a"));
        let Some(fetch) = fetch.inject(&format!("renameat2:error={error}")) else { return };
        let failed = fetch.run();
        failed.assert_exit(1).assert_failed("local").check_invariants(1);
        assert_eq!(place.names("out"), ["a.part", "a.part.meta"], "{failed}");
        let run = run(&place, &server, &[]);
        run.assert_exit(0).check_invariants(1);
        assert_eq!(
            (run.record()["size_download"].as_u64(), place.names("out")),
            (Some(1), vec!["a".to_owned()]),
            "{run}"
        );
        assert!(place.read("out/a") == large, "{run}");
    }
}
