//! The source as its callers see it: a sequence of inputs, one answer at a time.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::*;

/// What a line became: source, line, URL and, for a refused one, why.
type Told = (String, u64, String, Option<String>);

fn open(inputs: Vec<Input>) -> Source {
    Source::open(Options { inputs, ..Options::default() }).expect("every input opens")
}

fn next(source: &mut Source) -> Next {
    source.next(Instant::now()).expect("readable")
}

/// Everything until the source has nothing more, or nothing for now.
fn drain(source: &mut Source) -> Vec<Told> {
    let mut told = Vec::new();
    // Bounded: a source that never says so would hang the test.
    for _ in 0..1_000_000 {
        let (job, why) = match next(source) {
            Next::Job(job) => (job, None),
            Next::Refused(job, failure) => (job, Some(failure.message)),
            Next::Again => continue,
            Next::NotNow | Next::End => return told,
        };
        assert_eq!(job.urlnum, told.len() as u64, "numbered in the order of the lines");
        told.push((job.origin.source.to_string(), job.origin.line, job.url, why));
    }
    panic!("the source goes on and on");
}

fn list(directory: &TempDir, name: &str, text: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn fifo(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    path
}

fn writer(path: &Path) -> File {
    File::options().write(true).open(path).expect("a writer")
}

#[test]
fn every_line_of_every_input_comes_once_in_order_with_its_origin() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let first = list(&directory, "first", b"\xef\xbb\xbf# comment\r\n\r\nhttp://h/1\r\n\r\nnonsense\r\nhttp://h/2");
    let empty = list(&directory, "empty", b"");
    let second = list(&directory, "second", b"\xef\xbb\xbfhttp://h/3\n");
    let mut source = open(vec![
        Input::Path(first.clone()),
        Input::Url("http://u:p@h/argument\tname".into()),
        Input::Path(empty),
        Input::Url("-x://h/".into()),
        Input::Path(second.clone()),
    ]);
    let (first, second) = (first.to_string_lossy().into_owned(), second.to_string_lossy().into_owned());
    let told = drain(&mut source);
    let expected = [
        (first.as_str(), 3, "http://h/1", false),
        (&first, 5, "nonsense", true),
        (&first, 6, "http://h/2", false),
        ("http://h/argument", 1, "http://h/argument", false),
        ("-x://h/", 1, "-x://h/", true),
        (&second, 1, "http://h/3", false),
    ];
    assert_eq!(told.len(), expected.len());
    for (told, (input, line, url, refused)) in told.iter().zip(expected) {
        assert_eq!((told.0.as_str(), told.1, told.2.as_str(), told.3.is_some()), (input, line, url, refused));
    }
    assert!(matches!(next(&mut source), Next::End), "and again");
    let progress = source.progress();
    assert_eq!(progress.bytes_total, Some(progress.bytes_read));
    assert_eq!((progress.lines, progress.ended), (6, true));
}

#[test]
fn a_job_has_everything_that_its_line_says() {
    let now = Instant::now() + Duration::from_secs(7);
    let mut source = open(vec![Input::Url("https://u:p%40@H:8443/a b?c#d\tname".into())]);
    let Next::Job(job) = source.next(now).expect("readable") else { panic!("a job") };
    assert_eq!(job.input_line, b"https://u:p%40@H:8443/a b?c#d\tname");
    assert_eq!(job.url, "https://H:8443/a b?c#d");
    assert_eq!(job.request_url, "https://h:8443/a%20b?c");
    let credentials = job.credentials.expect("credentials");
    assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("u", "p@"));
    assert_eq!(job.host, Host { tls: true, name: "h".into(), port: 8443 });
    assert_eq!((job.name.as_deref(), job.destination, job.num_retries), (Some("name"), None, 0));
    assert_eq!(job.accepted, now);
}

#[test]
fn a_refused_line_is_an_input_failure_that_is_refused_again_when_it_is_read_again() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let long = [b"http://h/".as_slice(), &b"x".repeat(200_000), b"\nhttp://good/\n"].concat();
    let mut cr = b"http://h/".to_vec();
    cr.resize(LIMIT, b'x');
    cr.extend_from_slice(b"\ry\n");
    for (inputs, lines) in [
        (vec![Input::Path(list(&directory, "long", &long))], 2),
        (vec![Input::Path(list(&directory, "cr", &cr))], 1),
        (vec![Input::Path(list(&directory, "nul", b"http://h/a\0http://evil/\r\r\n"))], 1),
        (vec![Input::Url("http://h/a\nhttp://h/b".into())], 1),
        (vec![Input::Url("http://h/a\r".into())], 1),
        (vec![Input::Url(format!("http://h/{}", "x".repeat(LIMIT)))], 1),
    ] {
        let mut source = open(inputs);
        let Next::Refused(job, failure) = next(&mut source) else { panic!("a bad line") };
        assert_eq!((failure.class, failure.exitcode), (crate::job::ErrorClass::Input, 3));
        assert!(job.request_url.is_empty() && job.host.name.is_empty() && job.credentials.is_none());
        assert!(job.url.len() < 3000 && job.input_line.len() <= LIMIT + 1);
        assert_eq!(drain_count(&mut source), lines - 1);
        let again = list(&directory, "again", &[job.input_line.as_slice(), b"\n"].concat());
        let mut source = open(vec![Input::Path(again)]);
        assert!(matches!(next(&mut source), Next::Refused(..)), "{}", job.url);
        assert!(matches!(next(&mut source), Next::End), "{}", job.url);
    }
}

fn drain_count(source: &mut Source) -> usize {
    std::iter::from_fn(|| match next(source) {
        Next::End | Next::NotNow => None,
        answer => Some(answer),
    })
    .filter(|answer| !matches!(answer, Next::Again))
    .count()
}

#[test]
fn a_url_written_in_two_pieces_is_one_url() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = fifo(&directory);
    let mut source = open(vec![Input::Path(path.clone()), Input::Url("http://h/after".into())]);
    assert!(matches!(next(&mut source), Next::NotNow));
    assert!(source.fd().is_some());
    let mut writer = writer(&path);
    writer.write_all(b"http://h/a").expect("written");
    assert!(matches!(next(&mut source), Next::NotNow));
    writer.write_all(b"b\nhttp://h/c").expect("written");
    assert_eq!(drain(&mut source).len(), 1);
    assert_eq!(source.progress().bytes_total, None);
    drop(writer);
    let rest: Vec<_> = std::iter::from_fn(|| match next(&mut source) {
        Next::Job(job) => Some(job.url),
        _ => None,
    })
    .collect();
    assert_eq!(rest, ["http://h/c", "http://h/after"]);
    assert!(source.fd().is_none());
}

#[test]
fn the_daemon_reads_its_fifo_last_and_never_ends() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("daemon");
    let mut source = open(vec![Input::Daemon(path.clone()), Input::Url("http://h/first".into())]);
    assert_eq!(drain(&mut source).len(), 1);
    for round in 1..=3 {
        writer(&path).write_all(b"http://h/a\n").expect("written");
        let Next::Job(job) = next(&mut source) else { panic!("a job") };
        assert_eq!((job.urlnum, job.origin.line), (round, round));
        assert_eq!(*job.origin.source, *path.to_string_lossy());
        assert!(matches!(next(&mut source), Next::NotNow));
    }
    assert!(!source.progress().ended);
    let other =
        Source::open(Options { inputs: vec![Input::Daemon(path)], ..Options::default() }).err().expect("refused");
    assert!(other.downcast_ref::<InUse>().is_some(), "{other:#}");
}

#[test]
fn a_line_torn_by_the_removal_of_the_fifo_is_refused_and_the_next_one_is_whole() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("daemon");
    let mut source = open(vec![Input::Daemon(path.clone())]);
    assert!(matches!(next(&mut source), Next::NotNow));
    assert_eq!(source.check().expect("checked"), None);
    writer(&path).write_all(b"http://h/1\nhttp://h/2-cut-o").expect("written");
    std::fs::remove_file(&path).expect("removed");
    assert!(source.check().expect("made again").is_some());
    writer(&path).write_all(b"http://h/3\n").expect("written");
    let told = drain(&mut source);
    let told: Vec<_> = told.iter().map(|told| (told.1, told.2.as_str(), told.3.is_some())).collect();
    assert_eq!(told, [(1, "http://h/1", false), (2, "http://h/2-cut-o", true), (3, "http://h/3", false)]);
}

#[test]
fn what_the_daemon_did_not_take_is_counted() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("daemon");
    let mut source = open(vec![Input::Daemon(path.clone())]);
    let mut writer = writer(&path);
    writer.write_all(b"http://h/a\n").expect("written");
    assert!(matches!(next(&mut source), Next::Job(_)));
    writer.write_all(&b"http://h/a\n".repeat(300)).expect("written");
    writer.write_all(b"http://h/unfinished").expect("written");
    assert_eq!(source.leftover(), 301);
    assert_eq!(open(vec![]).leftover(), 0);
}

#[test]
fn many_lines_without_a_job_give_others_their_turn() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = list(&directory, "blank", &[b"\n".repeat(4 * PIECE), b"http://h/\n".to_vec()].concat());
    let mut source = open(vec![Input::Path(path)]);
    let turns = (0..100).take_while(|_| matches!(next(&mut source), Next::Again)).count();
    assert!((2..=8).contains(&turns), "{turns} turns");
    assert_eq!(source.progress().lines, 1);
}

#[test]
fn a_list_that_grows_while_it_is_read_is_read_to_its_new_end() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = list(&directory, "list", b"http://h/1\n");
    let mut source = open(vec![Input::Path(path.clone())]);
    assert!(matches!(next(&mut source), Next::Job(_)));
    let mut file = File::options().append(true).open(&path).expect("opens");
    file.write_all(b"http://h/2\n").expect("written");
    assert!(matches!(next(&mut source), Next::Job(_)));
    assert!(matches!(next(&mut source), Next::End));
    assert_eq!(source.progress().bytes_total, Some(22));
}

#[test]
fn a_list_that_is_cut_while_it_is_read_ends_behind_what_was_read() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let lines: Vec<String> = (0..20_000).map(|number| format!("http://host.test/{number:07}")).collect();
    for left in [0, 40, 400_000] {
        let path = list(&directory, "list", lines.join("\n").as_bytes());
        let mut source = open(vec![Input::Path(path.clone())]);
        assert!(matches!(next(&mut source), Next::Job(_)));
        let file = writer(&path);
        file.set_len(left).expect("cut");
        let mut seen = 1;
        loop {
            match next(&mut source) {
                // The last one may be the beginning of a line.
                Next::Job(job) | Next::Refused(job, _) => {
                    assert!(lines[seen].starts_with(&job.url), "{}", job.url);
                    seen += 1;
                }
                Next::Again => {}
                Next::End => break,
                Next::NotNow => panic!("there is nothing to wait for"),
            }
        }
        let whole = left as usize / (lines[0].len() + 1);
        assert!((whole..lines.len()).contains(&seen), "{seen} lines, cut to {left}");
        assert!(source.progress().ended);
    }
}

#[test]
fn inputs_that_cannot_be_read_and_doubled_ones_are_errors_at_the_start() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let good = list(&directory, "good", b"http://h/\n");
    let missing = directory.path().join("missing");
    let error =
        Source::open(Options { inputs: vec![Input::Path(good), Input::Path(missing.clone())], ..Options::default() });
    let error = format!("{:#}", error.err().expect("refused"));
    assert!(error.contains(&*missing.to_string_lossy()), "{error}");
    let daemons = ["a", "b"].map(|name| Input::Daemon(directory.path().join(name)));
    assert!(Source::open(Options { inputs: daemons.into(), ..Options::default() }).is_err());
}

#[test]
fn nobody_at_all_is_the_end() {
    let mut source = open(vec![]);
    assert!(matches!(next(&mut source), Next::End));
    assert!(source.fd().is_none() && source.progress().ended);
}
