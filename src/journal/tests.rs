//! The journal as a whole, on files that were left in every state.

mod properties;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::file::{Locked, Replayed, Trouble};
use super::line::{HEADER, State, key_of_line, push, push_put};
use super::puts::Puts;
use super::table::Table;
use crate::job::Key;

fn key(number: u8) -> Key {
    key_of_line(&[number])
}

fn line(state: State, number: u8) -> Vec<u8> {
    let mut line = Vec::new();
    push(&mut line, state, key(number));
    line
}

/// What is settled, in the order of the keys.
fn settled(table: &Table) -> Vec<(u128, State)> {
    let mut settled: Vec<_> = table.iter().map(|(key, state)| (key.bits(), state)).collect();
    settled.sort_by_key(|(bits, _)| *bits);
    settled
}

fn open(path: &Path) -> Result<(Locked, Table, Replayed), Trouble> {
    let mut table = Table::default();
    let mut file = Locked::open(path)?;
    let replayed = file.replay(&mut table, &|| true)?;
    Ok((file, table, replayed))
}

fn refusal(path: &Path) -> String {
    match open(path) {
        Err(Trouble::NotOne(error)) => format!("{error:#}").replace(&path.display().to_string(), "FILE"),
        Err(Trouble::Local(error)) => format!("LOCAL {error:#}").replace(&path.display().to_string(), "FILE"),
        Err(Trouble::Stopped(error)) => format!("STOPPED {error:#}").replace(&path.display().to_string(), "FILE"),
        Ok(_) => "none".to_owned(),
    }
}

#[test]
fn what_is_no_journal_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    for (content, why) in [
        (&b"http://h/a\n"[..], "FILE is no journal; it is left as it is"),
        (b"\0\0\0\0", "FILE is no journal; it is left as it is"),
        (b"{\"url\": 1}", "FILE is no journal; it is left as it is"),
        (b"fetchmany-journal", "none"),
        (b"fetchmany-journal 1", "none"),
        (b"", "none"),
        (b"fetchmany-journal 2\nok ", "journal FILE has format 2, which this version does not know"),
        (b"fetchmany-journal 10", "journal FILE has format 10, which this version does not know"),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(refusal(&path), why, "{content:?}");
        let expected = if why == "none" { HEADER } else { content };
        assert_eq!(fs::read(&path).unwrap(), expected);
    }
    assert_eq!(refusal(&dir.path().join("no/j")), "open journal FILE: No such file or directory (os error 2)");
    assert_eq!(refusal(dir.path()), "open journal FILE: Is a directory (os error 21)");
    assert_eq!(refusal(Path::new("/dev/null")), "journal FILE is no regular file");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(refusal(&link).starts_with("open journal FILE: it is a symbolic link"), "{}", refusal(&link));
}

#[test]
fn a_journal_is_its_owner_s_alone_and_one_process_s_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let (mut first, table, _) = open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(refusal(&path), "LOCAL another fetchmany is using journal FILE");
    // Also when it was written anew meanwhile.
    first.rewrite(&table, &Puts::default(), &|| true).unwrap();
    assert_eq!(refusal(&path), "LOCAL another fetchmany is using journal FILE");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(first);
    assert_eq!(refusal(&path), "none");
}

#[test]
fn a_journal_whose_lines_are_mostly_out_of_date_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let mut content = HEADER.to_vec();
    for round in 0..60 {
        for number in 0..10 {
            content.extend(line(if round < 59 { State::Failed } else { State::Ok }, number));
        }
    }
    fs::write(&path, &content).unwrap();
    let options = super::Options { path: Some(path.clone()), retry_failed: false, read_only: false };
    let journal = super::Journal::open(options, &|| true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), (HEADER.len() + 10 * 36) as u64);
    assert_eq!((journal.book.borrow().settled.len(), journal.detail()), (10, None));
    drop(journal);
    let (_, table, _) = open(&path).unwrap();
    assert!((0..10).all(|number| table.get(key(number)) == Some(State::Ok)));
}

/// Whatever paths they were announced with.
#[test]
fn a_journal_of_jobs_that_were_done_once_stays_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let ways: [fn(&mut Vec<u8>, u8); 2] = [
        |content, number| content.extend(line(State::Open, number)),
        |content, number| push_put(content, key(number), "1234567-4d2-67890abc.12345678", &"directory/".repeat(9)),
    ];
    for announce in ways {
        let mut content = HEADER.to_vec();
        for number in 0..200 {
            announce(&mut content, number);
            content.extend(line(State::Ok, number));
        }
        fs::write(&path, &content).unwrap();
        let before = fs::metadata(&path).unwrap();
        let options = super::Options { path: Some(path.clone()), retry_failed: false, read_only: false };
        drop(super::Journal::open(options, &|| true).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino());
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn what_a_run_did_not_come_to_say_is_found_out_by_the_next_and_not_forgotten_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let mut content = HEADER.to_vec();
    // Twice, so that most is out of date.
    for number in (0..200).chain(0..200) {
        push_put(&mut content, key(number), "mark", &format!("path {number}"));
        content.extend(line(State::Ok, number));
    }
    for number in 200..204 {
        push_put(&mut content, key(number), "mark", &format!("path {number}"));
    }
    content.extend(line(State::Failed, 201));
    fs::write(&path, &content).unwrap();
    let options = || super::Options { path: Some(path.clone()), retry_failed: false, read_only: false };
    // Opened twice: the first time it is written anew.
    drop(super::Journal::open(options(), &|| true).unwrap());
    assert!(fs::metadata(&path).unwrap().len() < content.len() as u64 / 2);
    let mut journal = super::Journal::open(options(), &|| true).unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    journal.catch_up(|path, mark| {
        asked.borrow_mut().push(format!("{path} {mark}"));
        // As it is asked for, by another name, and not at all.
        [("path 200", key(200).name()), ("path 202", 7)].into_iter().find(|(known, _)| *known == path).map(|it| it.1)
    });
    let mut asked = asked.into_inner();
    asked.sort();
    assert_eq!(asked, ["path 200 mark", "path 202 mark", "path 203 mark"]);
    journal.flush().unwrap();
    drop(journal);
    let (_, table, replayed) = open(&path).unwrap();
    let found = [200, 201, 202, 203].map(|number| table.get(key(number)));
    assert_eq!(found, [Some(State::Ok), Some(State::Failed), Some(State::Alias), None]);
    assert_eq!(table.owner(7), Some(key(202).owner()));
    assert_eq!(replayed.puts.into_iter().count(), 1);
}

#[test]
fn a_disk_that_takes_half_a_line_leaves_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let (mut file, _, _) = open(&path).unwrap();
    file.append(&line(State::Ok, 1)).unwrap();
    // As if a write had stopped half-way.
    fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(HEADER.len() as u64 + 50).unwrap();
    drop(file);
    let (mut file, table, replayed) = open(&path).unwrap();
    assert_eq!((table.len(), replayed.damaged, replayed.whole), (1, 0, HEADER.len() as u64 + 36));
    file.append(&line(State::Ok, 2)).unwrap();
    drop(file);
    assert_eq!(open(&path).unwrap().1.len(), 2);
}
