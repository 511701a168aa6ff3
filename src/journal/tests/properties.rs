//! What holds for every journal. `PROPTEST_CASES=100000 cargo test properties` looks longer.

use std::fs;
use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::file::read;
use super::super::line::{self, HEADER, Line, State};
use super::super::puts::Puts;
use super::super::table::Table;
use super::{key, line, open, settled};

/// What a run may have written, and what may have become of it.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let state = prop_oneof![Just(State::Ok), Just(State::Failed), Just(State::Open), Just(State::Alias)];
    prop_oneof![
        8 => (state, 0..20u8).prop_map(|(state, number)| line(state, number)),
        4 => (0..20u8, "[a-z/ ü]{0,40}").prop_map(|(number, path)| {
            let mut text = Vec::new();
            line::push_put(&mut text, key(number), "1-2-3.4", &path);
            text
        }),
        1 => vec(any::<u8>(), 0..100),
        1 => (0..200usize).prop_map(|length| vec![0; length]),
        1 => vec(Just(b'x'), 0..2 * line::LONGEST).prop_map(|mut text| { text.push(b'\n'); text }),
    ]
}

/// Gives what it has in pieces of these lengths.
struct Bits<'a>(&'a [u8], Vec<usize>);

impl Read for Bits<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.pop().unwrap_or(usize::MAX).min(buffer.len()).min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines are honoured up to where the file was cut, whatever lies between them; what is appended after that is read.
    #[test]
    fn every_whole_line_counts_however_the_file_was_cut(pieces in vec(piece(), 0..40), cut in 0..400usize) {
        let mut content = HEADER.to_vec();
        content.extend(pieces.concat());
        content.truncate(content.len() - cut.min(content.len() - HEADER.len()));
        let whole = content.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let (mut model, mut puts) = (Table::default(), Puts::default());
        for line in content[HEADER.len()..whole].split_inclusive(|byte| *byte == b'\n') {
            match line::parse(&line[..line.len() - 1]) {
                Some(Line::Is(state, key)) => {
                    model.insert(key, state);
                    puts.settled(key);
                }
                Some(Line::Put { key, mark, path }) => puts.put(key, mark, path),
                None => {}
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        fs::write(&path, &content).unwrap();
        let (mut file, table, replayed) = open(&path).unwrap();
        prop_assert_eq!(settled(&table), settled(&model));
        prop_assert_eq!(replayed.whole, whole as u64);
        prop_assert_eq!(&replayed.puts, &puts);
        file.append(&line(State::Ok, 200)).unwrap();
        drop(file);
        prop_assert_eq!(&fs::read(&path).unwrap()[..whole], &content[..whole]);
        model.insert(key(200), State::Ok);
        let (mut file, table, _) = open(&path).unwrap();
        prop_assert_eq!(settled(&table), settled(&model));
        puts.settled(key(200));
        file.rewrite(&table, &puts, &|| true).unwrap();
        drop(file);
        let (_, table, replayed) = open(&path).unwrap();
        prop_assert_eq!(settled(&table), settled(&model));
        prop_assert_eq!(replayed.damaged, 0);
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        puts.push(&mut left);
        replayed.puts.push(&mut kept);
        prop_assert_eq!(left.len(), kept.len());
    }

    #[test]
    fn a_journal_reads_the_same_however_it_arrives(pieces in vec(piece(), 0..40), bits in vec(1..300usize, 0..60)) {
        let mut content = HEADER.to_vec();
        content.extend(pieces.concat());
        let (mut whole, mut bitwise) = (Table::default(), Table::default());
        let one = read(&mut &content[..], &mut whole.fill(0)).unwrap();
        let other = read(&mut Bits(&content, bits), &mut bitwise.fill(0)).unwrap();
        prop_assert_eq!(one, other);
        prop_assert_eq!(settled(&whole), settled(&bitwise));
    }

    #[test]
    fn no_file_at_all_makes_the_reader_stumble(content in vec(any::<u8>(), 0..200), header in any::<bool>()) {
        let content = if header { [HEADER, &content].concat() } else { content };
        let _ = read(&mut &content[..], &mut Table::default().fill(0));
    }
}
