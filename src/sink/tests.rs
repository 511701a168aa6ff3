//! The rules of files on disk, through the room's own door.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use super::testing::{job, options};
use super::*;

type Test = anyhow::Result<()>;

const NONE: Version = Version { etag: None, last_modified: None, date: None };
const UNKNOWN: Head = Head { from: 0, length: None, content_encoding: false, version: NONE, name: None };
const SMALL: Head = Head { length: Some(4), ..UNKNOWN };

fn sink(dir: &Path, if_exists: IfExists) -> anyhow::Result<Sink> {
    Sink::open(options(dir, if_exists))
}

fn told(result: Result<(), Failure>) -> Test {
    result.map_err(|failure| anyhow::anyhow!(failure.message))
}

/// The same with this Last-Modified.
fn modified(date: &str, head: Head) -> Head {
    Head { version: Version { last_modified: Some(date.to_owned()), ..NONE }, ..head }
}

/// A claimed job and a body with the bytes `data`.
fn received(sink: &mut Sink, url: &str, head: Head, data: &[u8]) -> anyhow::Result<(Job, Body)> {
    let mut job = job(url);
    assert_eq!(sink.claim(&mut job), Claim::Fetch);
    let mut body = sink.body(&job);
    told(body.begin(head))?;
    told(body.write(data))?;
    Ok((job, body))
}

fn published(sink: &mut Sink, mut body: Body) -> (Outcome, Saved) {
    loop {
        match sink.publish(&mut body) {
            Landed::Done(outcome, saved) => return (outcome, saved),
            Landed::Renamed => {}
            Landed::Waits => panic!("files never wait"),
        }
    }
}

fn listing(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_body_appears_whole_under_its_name_with_the_servers_time_and_the_usual_mode() -> Test {
    for (head, before) in [(SMALL, vec![]), (UNKNOWN, vec!["a.txt.part", "a.txt.part.meta"])] {
        let dir = tempfile::tempdir()?;
        let out = dir.path().join("made/out");
        let mut sink = sink(&out, IfExists::Skip)?;
        let head = modified("Sun, 09 Sep 2001 01:46:40 GMT", head);
        let (_, body) = received(&mut sink, "http://h/a.txt", head, b"data")?;
        assert_eq!(listing(&out)?, before);
        let (outcome, saved) = published(&mut sink, body);
        assert_eq!(outcome, Outcome::Ok);
        assert_eq!(saved.filename, Some(out.join("a.txt")));
        assert_eq!(saved.size, Some(4));
        assert_eq!(listing(&out)?, ["a.txt"]);
        assert_eq!(fs::read(out.join("a.txt"))?, b"data");
        fs::write(dir.path().join("usual"), "")?;
        let (usual, file) = (fs::metadata(dir.path().join("usual"))?, fs::metadata(out.join("a.txt"))?);
        assert_eq!(file.mode(), usual.mode());
        assert_eq!(file.mtime(), 1_000_000_000);
    }
    Ok(())
}

#[test]
fn an_empty_body_and_an_absurd_time_are_no_failure() -> Test {
    let dir = tempfile::tempdir()?;
    let mut sink = sink(dir.path(), IfExists::Skip)?;
    let mut none = job("http://h/204");
    sink.claim(&mut none);
    let body = sink.body(&none);
    assert_eq!(published(&mut sink, body).0, Outcome::Ok);
    assert_eq!(fs::read(dir.path().join("204"))?, b"");
    for (name, time) in
        [("1901", "Tue, 01 Jan 1901 00:00:00 GMT"), ("9999", "Fri, 31 Dec 9999 23:59:59 GMT"), ("-", "-")]
    {
        let (_, body) = received(&mut sink, &format!("http://h/{name}"), modified(time, SMALL), b"data")?;
        assert_eq!(published(&mut sink, body).0, Outcome::Ok, "{name}");
    }
    Ok(())
}

#[test]
fn what_is_there_already_is_skipped_replaced_numbered_or_a_failure() -> Test {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("a.txt"), "old")?;
    fs::write(dir.path().join("a.1.txt"), "old")?;
    let claim = |if_exists| -> anyhow::Result<_> {
        let mut job = job("http://h/a.txt");
        let claim = sink(dir.path(), if_exists)?.claim(&mut job);
        Ok((claim, job.destination))
    };
    assert!(matches!(claim(IfExists::Skip)?.0, Claim::Skip(_)));
    assert!(matches!(claim(IfExists::Fail)?.0, Claim::Refuse(failure) if failure.class == ErrorClass::Local));
    assert_eq!(claim(IfExists::Rename)?, (Claim::Fetch, Some("a.2.txt".into())));
    assert_eq!(claim(IfExists::Overwrite)?, (Claim::Fetch, Some("a.txt".into())));

    (3..=100).try_for_each(|number| fs::write(dir.path().join(format!("a.{number}.txt")), "old"))?;
    assert_eq!(claim(IfExists::Rename)?.1, Some("a.2.txt".into()));
    fs::write(dir.path().join("a.2.txt"), "old")?;
    assert_eq!(claim(IfExists::Rename)?.1, Some("a.101.txt".into()));

    let mut sink = sink(dir.path(), IfExists::Overwrite)?;
    let (_, body) = received(&mut sink, "http://h/a.txt", SMALL, b"new")?;
    assert_eq!(fs::read(dir.path().join("a.txt"))?, b"old", "until the new one is whole");
    assert_eq!(published(&mut sink, body).0, Outcome::Ok);
    assert_eq!(fs::read(dir.path().join("a.txt"))?, b"new");
    Ok(())
}

#[test]
fn a_file_that_appears_between_claim_and_publication_is_not_replaced() -> Test {
    for head in [SMALL, UNKNOWN] {
        for if_exists in [IfExists::Skip, IfExists::Fail, IfExists::Rename, IfExists::Overwrite] {
            let dir = tempfile::tempdir()?;
            let mut sink = sink(dir.path(), if_exists)?;
            let (_, body) = received(&mut sink, "http://h/a.txt", head.clone(), b"mine")?;
            fs::write(dir.path().join("a.txt"), "theirs")?;
            fs::write(dir.path().join("a.1.txt"), "theirs")?;
            let (outcome, saved) = published(&mut sink, body);
            let (expected, name) = match outcome {
                Outcome::Skipped(_) => (IfExists::Skip, Some("a.txt")),
                Outcome::Failed(failure) if failure.class == ErrorClass::Local => (IfExists::Fail, None),
                Outcome::Ok if if_exists == IfExists::Rename => (IfExists::Rename, Some("a.2.txt")),
                Outcome::Ok => (IfExists::Overwrite, Some("a.txt")),
                other => panic!("{other:?}"),
            };
            assert_eq!(if_exists, expected);
            assert_eq!(saved.filename, name.map(|name| dir.path().join(name)));
            let mine = if_exists == IfExists::Overwrite;
            assert_eq!(fs::read(dir.path().join("a.txt"))?, if mine { &b"mine"[..] } else { b"theirs" });
            assert_eq!(fs::read(dir.path().join("a.1.txt"))?, b"theirs");
            assert!(!dir.path().join("a.txt.part").exists());
        }
    }
    Ok(())
}

#[test]
fn a_directory_at_the_final_name_fails_the_job_and_stays() -> Test {
    for if_exists in [IfExists::Skip, IfExists::Fail, IfExists::Rename, IfExists::Overwrite] {
        let dir = tempfile::tempdir()?;
        let mut sink = sink(dir.path(), if_exists)?;
        let (_, body) = received(&mut sink, "http://h/late", UNKNOWN, b"data")?;
        for name in ["early", "late"] {
            fs::create_dir(dir.path().join(name))?;
        }
        assert!(
            matches!(sink.claim(&mut job("http://h/early")), Claim::Refuse(failure) if failure.class == ErrorClass::Local)
        );
        let (outcome, _) = published(&mut sink, body);
        assert!(matches!(outcome, Outcome::Failed(failure) if failure.class == ErrorClass::Local), "{if_exists:?}");
        assert!(dir.path().join("late").is_dir());
    }
    Ok(())
}

#[test]
fn links_and_fifos_count_as_existing_and_are_replaced_by_name() -> Test {
    let dir = tempfile::tempdir()?;
    let canary = dir.path().join("canary");
    fs::write(&canary, "safe")?;
    let out = dir.path().join("out");
    fs::create_dir(&out)?;
    symlink(&canary, out.join("link"))?;
    symlink("/nonexistent", out.join("dangling"))?;
    rustix::fs::mkfifoat(rustix::fs::CWD, out.join("fifo"), rustix::fs::Mode::RWXU)?;
    assert!(fs::symlink_metadata(out.join("fifo"))?.file_type().is_fifo());
    for name in ["link", "dangling", "fifo"] {
        let url = format!("http://h/{name}");
        assert!(matches!(sink(&out, IfExists::Skip)?.claim(&mut job(&url)), Claim::Skip(_)));
        assert!(matches!(sink(&out, IfExists::Fail)?.claim(&mut job(&url)), Claim::Refuse(_)));
        let mut sink = sink(&out, IfExists::Overwrite)?;
        let (_, body) = received(&mut sink, &url, SMALL, b"data")?;
        assert_eq!(published(&mut sink, body).0, Outcome::Ok);
        assert!(fs::symlink_metadata(out.join(name))?.is_file());
    }
    assert_eq!(fs::read(canary)?, b"safe");
    Ok(())
}

#[test]
fn a_broken_transfer_leaves_its_bytes_as_a_partial_file_and_a_useless_one_leaves_nothing() -> Test {
    for head in [SMALL, UNKNOWN] {
        for (class, data, kept) in [
            (Some(ErrorClass::Partial), &b"da"[..], true),
            (Some(ErrorClass::Timeout), b"da", true),
            (None, b"da", true),
            (None, b"", false),
            (Some(ErrorClass::TooLarge), b"da", false),
            (Some(ErrorClass::Checksum), b"da", false),
            (Some(ErrorClass::Http), b"da", false),
        ] {
            let dir = tempfile::tempdir()?;
            let mut sink = sink(dir.path(), IfExists::Skip)?;
            let (_, body) = received(&mut sink, "http://h/a", head.clone(), data)?;
            let failure = class.map(|class| Failure::new(class, 1, "why"));
            sink.abandon(body, failure.as_ref());
            let expected: &[&str] = if kept { &["a.part", "a.part.meta"] } else { &[] };
            assert_eq!(listing(dir.path())?, expected, "{class:?}");
        }
    }
    Ok(())
}

#[test]
fn a_partial_file_of_an_earlier_attempt_or_run_is_used_up() -> Test {
    let dir = tempfile::tempdir()?;
    let (_, earlier) = received(&mut sink(dir.path(), IfExists::Skip)?, "http://h/a", UNKNOWN, b"from an earlier run")?;
    drop(earlier);
    assert_eq!(listing(dir.path())?, ["a.part", "a.part.meta"], "as after a kill");
    let mut sink = sink(dir.path(), IfExists::Skip)?;
    let (job, body) = received(&mut sink, "http://h/a", SMALL, b"da")?;
    sink.abandon(body, None);
    assert_eq!(fs::read(dir.path().join("a.part"))?, b"da");
    let mut body = sink.body(&job);
    told(body.begin(SMALL))?;
    told(body.write(b"data"))?;
    assert_eq!(published(&mut sink, body).0, Outcome::Ok);
    assert_eq!(listing(dir.path())?, ["a"]);
    assert_eq!(fs::read(dir.path().join("a"))?, b"data");
    Ok(())
}

#[test]
fn a_partial_file_that_another_writes_is_left_alone() -> Test {
    let dir = tempfile::tempdir()?;
    let (mut ours, mut theirs) = (sink(dir.path(), IfExists::Skip)?, sink(dir.path(), IfExists::Skip)?);
    let (_, body) = received(&mut theirs, "http://h/a", UNKNOWN, b"theirs")?;
    let mut job = job("http://h/a");
    assert_eq!(ours.claim(&mut job), Claim::Fetch);
    let locked = Failure::local("another process is writing a.part");
    assert_eq!(ours.body(&job).begin(UNKNOWN).expect_err("it is locked"), locked);
    // As soon as it is known that there may be one, nothing is asked for.
    let other = sink(dir.path(), IfExists::Skip)?.body(&job);
    assert_eq!(other.refusal(), Some(&locked));
    assert_eq!(published(&mut theirs, body).0, Outcome::Ok);
    assert_eq!(fs::read(dir.path().join("a"))?, b"theirs");
    Ok(())
}

#[test]
fn what_took_the_place_of_a_partial_file_is_neither_published_nor_removed() -> Test {
    let dir = tempfile::tempdir()?;
    let part = dir.path().join("a.part");
    let mut sink = sink(dir.path(), IfExists::Skip)?;
    let version = Version { etag: Some("\"x\"".to_owned()), ..NONE };
    let (job, body) = received(&mut sink, "http://h/a", Head { version, ..UNKNOWN }, b"ours")?;
    fs::remove_file(&part)?;
    fs::write(&part, "theirs")?;
    assert!(matches!(published(&mut sink, body).0, Outcome::Failed(failure) if failure.class == ErrorClass::Local));
    assert_eq!(listing(dir.path())?, ["a.part"], "nothing tells that it is ours");
    let refused = sink.body(&job).begin(UNKNOWN).expect_err("it is theirs");
    assert!(refused.message.starts_with("a.part is there and not known to be ours"), "{}", refused.message);

    fs::remove_file(&part)?;
    for (failure, given_up) in
        [(ErrorClass::TooLarge, false), (ErrorClass::Partial, false), (ErrorClass::Partial, true)]
    {
        let mut body = sink.body(&job);
        told(body.write(b"ours"))?;
        fs::remove_file(&part)?;
        fs::write(&part, "theirs")?;
        sink.abandon(body, Some(&Failure::new(failure, 1, "why")).filter(|_| !given_up));
        assert_eq!(fs::read(&part)?, b"theirs");
        assert_eq!(listing(dir.path())?, ["a.part"]);
        fs::remove_file(&part)?;
    }
    Ok(())
}

#[test]
fn a_partial_name_that_is_a_trap_does_not_spring() -> Test {
    let dir = tempfile::tempdir()?;
    let canary = dir.path().join("canary");
    fs::write(&canary, "safe")?;
    let out = dir.path().join("out");
    fs::create_dir(&out)?;
    symlink(&canary, out.join("link.part"))?;
    rustix::fs::mkfifoat(rustix::fs::CWD, out.join("fifo.part"), rustix::fs::Mode::RWXU)?;
    fs::create_dir(out.join("dir.part"))?;
    fs::hard_link(&canary, out.join("hard.part"))?;
    let mut sink = sink(&out, IfExists::Skip)?;
    for name in ["link", "fifo", "dir", "hard"] {
        let mut job = job(&format!("http://h/{name}"));
        assert_eq!(sink.claim(&mut job), Claim::Fetch);
        let failure = sink.body(&job).begin(SMALL).expect_err("that is no partial file");
        assert!(failure.message.contains(&format!("{name}.part")), "{}", failure.message);
    }
    assert_eq!(fs::read(canary)?, b"safe");
    Ok(())
}

#[test]
fn names_are_claimed_in_order_and_two_urls_never_share_one() -> Test {
    let dir = tempfile::tempdir()?;
    let urls = ["http://h/x/a.txt", "http://h/y/a.txt", "http://h/x/a.txt", "http://h/y/a.txt", "http://h/A.txt"];
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut sink = sink(dir.path(), IfExists::Skip)?;
        let claims: Vec<_> = urls
            .map(|url| {
                let mut job = job(url);
                let claim = sink.claim(&mut job);
                (job.destination.map(|name| name.display().to_string()), claim == Claim::Fetch)
            })
            .into();
        runs.push(claims);
    }
    assert_eq!(runs[0], runs[1]);
    let second = format!("a-{}.txt", hash::Digest::of(urls[1]).hex(8));
    let expected = [("a.txt", true), (&second, true), ("a.txt", false), (&second, false), ("A.txt", true)];
    assert_eq!(runs[0], expected.map(|(name, fetch)| (Some(name.to_owned()), fetch)));
    Ok(())
}

#[test]
fn a_url_that_is_a_file_and_one_below_it_are_both_kept() -> Test {
    for order in [["http://h/d/a", "http://h/d/a/b"], ["http://h/d/a/b", "http://h/d/a"]] {
        let dir = tempfile::tempdir()?;
        let template = Template::parse("{host}/{path}").map_err(anyhow::Error::msg)?;
        let target = Target::Files { dir: dir.path().to_owned(), template };
        let mut sink = Sink::open(Options { target, ..options(dir.path(), IfExists::Skip) })?;
        for url in order {
            let (_, body) = received(&mut sink, url, SMALL, url.as_bytes())?;
            let (outcome, saved) = published(&mut sink, body);
            assert_eq!(outcome, Outcome::Ok);
            assert_eq!(fs::read(saved.filename.unwrap_or_default())?, url.as_bytes());
        }
    }
    Ok(())
}

#[test]
fn a_given_name_makes_its_directories_and_a_bad_one_is_a_bad_line_everywhere() -> Test {
    let dir = tempfile::tempdir()?;
    let mut files = sink(dir.path(), IfExists::Skip)?;
    let mut discard = Sink::open(Options { target: Target::Discard, ..options(dir.path(), IfExists::Skip) })?;
    let named = |name: &str| Job { name: Some(name.to_owned()), ..job("http://h/a") };
    for bad in ["../x", "/etc/x", "", "a/../../b", "a\0b"] {
        for sink in [&mut files, &mut discard] {
            assert!(
                matches!(sink.claim(&mut named(bad)), Claim::Refuse(failure) if failure.class == ErrorClass::Input)
            );
        }
    }
    let mut job = named("~root/x/y.txt");
    assert_eq!(files.claim(&mut job), Claim::Fetch);
    let mut body = files.body(&job);
    told(body.begin(SMALL))?;
    told(body.write(b"data"))?;
    // Another program removes the directory while we hold it open.
    fs::remove_dir_all(dir.path().join("~root"))?;
    files.look_again();
    assert_eq!(published(&mut files, body).0, Outcome::Ok);
    assert_eq!(fs::read(dir.path().join("~root/x/y.txt"))?, b"data");
    assert_eq!(files.filename(&job), Some(dir.path().join("~root/x/y.txt")));
    Ok(())
}

#[test]
fn a_name_of_255_bytes_and_a_path_that_nobody_could_open() -> Test {
    let dir = tempfile::tempdir()?;
    let mut sink = sink(dir.path(), IfExists::Skip)?;
    for name in ["n".repeat(255), "%C3%BC".repeat(300), format!("{}.html", "n".repeat(256))] {
        let (_, body) = received(&mut sink, &format!("http://h/{name}"), UNKNOWN, b"data")?;
        assert_eq!(published(&mut sink, body).0, Outcome::Ok);
    }
    let deep = Job { name: Some(format!("{}x", "d/".repeat(2100))), ..job("http://h/a") };
    assert!(matches!(sink.claim(&mut { deep }), Claim::Refuse(failure) if failure.class == ErrorClass::Local));
    Ok(())
}

#[test]
fn the_size_limit_holds_for_the_declared_and_for_the_received_length() -> Test {
    let dir = tempfile::tempdir()?;
    for target in [Target::Discard, options(dir.path(), IfExists::Skip).target] {
        let options = Options { target, max_filesize: Some(3), ..options(dir.path(), IfExists::Skip) };
        let mut sink = Sink::open(options)?;
        let mut job = job("http://h/a");
        assert_eq!(sink.claim(&mut job), Claim::Fetch);
        let mut body = sink.body(&job);
        let failure = body.begin(SMALL).expect_err("four bytes are declared");
        assert_eq!((failure.class, failure.exitcode), (ErrorClass::TooLarge, 63));
        let mut body = sink.body(&job);
        told(body.begin(Head { content_encoding: true, ..SMALL }))?;
        told(body.write(b"dat"))?;
        let failure = body.write(b"a").expect_err("the fourth byte came");
        assert_eq!((failure.class, body.size()), (ErrorClass::TooLarge, 3));
        sink.abandon(body, Some(&failure));
        assert_eq!(listing(dir.path())?.len(), 0);
    }
    Ok(())
}

#[test]
fn discarded_bodies_are_counted_and_repeated_lines_are_no_duplicates() -> Test {
    let dir = tempfile::tempdir()?;
    let mut sink = Sink::open(Options { target: Target::Discard, ..options(dir.path(), IfExists::Skip) })?;
    for _ in 0..2 {
        let (job, body) = received(&mut sink, "http://h/a", UNKNOWN, b"data")?;
        let (outcome, saved) = published(&mut sink, body);
        assert_eq!((outcome, saved.size, saved.filename), (Outcome::Ok, Some(4), None));
        assert_eq!((job.destination, listing(dir.path())?.len()), (None, 0));
    }
    Ok(())
}

#[test]
fn a_full_disk_is_told_in_plain_words_and_remembered() -> Test {
    let dir = tempfile::tempdir()?;
    let mut sink = sink(dir.path(), IfExists::Skip)?;
    let (_, mut body) = received(&mut sink, "http://h/a", UNKNOWN, b"data")?;
    let failure = body.failed(Fault::system("write", "a", rustix::io::Errno::NOSPC));
    assert_eq!(failure, Failure::local("write a: No space left on device").no_space());
    assert!(!sink.disk_shut());
    sink.abandon(body, Some(&failure));
    assert!(sink.disk_shut());
    assert_eq!(listing(dir.path())?.len(), 0);
    Ok(())
}
