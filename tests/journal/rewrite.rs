//! A journal whose lines are mostly out of date is written anew: by the next run, whatever happens meanwhile, and with
//! nothing lost that is anybody else's.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{HEADER, journaled, words};
use crate::harness::{Place, Server, echo};

/// Three URLs.
fn urls(server: &Server) -> Vec<String> {
    (0..3).map(|number| server.url(&format!("/{number}"))).collect()
}

/// A journal in which all of them are done, and have failed sixty times before; its length.
fn stale(place: &Place, urls: &[String]) -> usize {
    journaled(place).urls(urls).run().assert_exit(0);
    let lines = place.read_text("j").replace(HEADER, "");
    let failures = lines.replace("ok ", "failed ").repeat(60);
    place.write("j", format!("{HEADER}{failures}{lines}"));
    place.read("j").len()
}

#[test]
fn a_kill_or_a_full_disk_meanwhile_costs_nothing_and_is_told_to_who_asks() {
    let server = echo();
    // Where the file has no name before it is whole, and where that one cannot get a name and another is made.
    let refusal = "inject=linkat:error=EPERM";
    for (options, fault, left) in [
        (&[][..], "renameat:signal=KILL", 1),
        (&[], "fdatasync:signal=KILL", 0),
        (&[], "renameat:error=EIO", 0),
        (&[], "fdatasync:error=ENOSPC", 0),
        (&[], "flock:error=EIO:when=2", 0),
        (&["-e", refusal], "renameat:signal=KILL", 1),
        (&["-e", refusal], "fdatasync:signal=KILL:when=2", 1),
        (&["-e", refusal], "renameat:error=EIO", 0),
        (&["-e", refusal], "fdatasync:error=ENOSPC:when=2", 0),
    ] {
        let (place, urls) = (Place::new(), urls(&server));
        let length = stale(&place, &urls);
        let fetch = journaled(&place).arg("-v").urls(&urls);
        let injected = format!("inject={fault}");
        let Some(fetch) = fetch.strace(["-e", &injected].iter().chain(options)) else { return };
        let run = fetch.run();
        let killed = fault.contains("KILL");
        let expected = if killed { (None, Some(9)) } else { (Some(0), None) };
        assert_eq!((run.code(), run.signal()), expected, "{fault}\n{run}");
        assert_eq!(run.stderr_text().contains("journal j stays as long as it is, "), !killed, "{fault}\n{run}");
        assert_eq!(place.read("j").len(), length, "{fault}");
        let again = journaled(&place).urls(&urls).run();
        assert_eq!(again.assert_exit(0).results(), ["skipped"; 3], "{fault}\n{again}");
        assert!(place.read("j").len() < length, "{fault}\n{again}");
        assert_eq!(words(&place).len(), 3, "{fault}");
        let others: Vec<String> = place.names(".").into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(others.iter().all(|name| name.starts_with(".fetchmany-")), "{fault} {others:?}");
        assert_eq!(others.len(), left, "{fault} {others:?}");
    }
}

#[test]
fn it_has_the_same_owner_and_permissions_and_whatever_lies_beside_it_stays() {
    let server = echo();
    let theirs = ["", "theirs", HEADER];
    for content in theirs {
        let (place, urls) = (Place::new(), urls(&server));
        let length = stale(&place, &urls);
        place.write("j.new", content);
        let path = place.path("j");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("it is ours");
        // Only root may.
        let _ = std::os::unix::fs::chown(&path, Some(12_345), Some(23_456));
        let looks = || path.metadata().map(|found| (found.uid(), found.gid(), found.mode())).expect("a journal");
        let before = looks();
        journaled(&place).urls(&urls).run().assert_exit(0);
        assert!(place.read("j").len() < length, "{content:?}");
        assert_eq!(looks(), before, "{content:?}");
        assert_eq!(place.read_text("j.new"), content);
    }
}
