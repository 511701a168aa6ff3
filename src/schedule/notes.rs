//! What a person is told once: pauses, closed and dead hosts, shortages.

use std::time::Duration;

use crate::job::Host;

/// Notes about single hosts that everybody is told; the rest only with `-v`. Ten thousand hosts may all be paused.
const ABOUT_HOSTS: usize = 20;
/// Notes kept for a reader that does not take them.
const KEPT: usize = 1_000;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// For whom.
    pub level: Level,
    /// One line, lower case, without a full stop. May contain outside text: escape before printing.
    pub text: String,
}

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everybody.
    Always,
    /// Those who asked for more (`-v`).
    Verbose,
}

/// The notes not taken yet.
#[derive(Debug, Default)]
pub struct Notes {
    waiting: Vec<Note>,
    about_hosts: usize,
}

impl Notes {
    /// Tells everybody.
    pub fn say(&mut self, text: String) {
        self.add(Level::Always, text);
    }

    /// Tells those who asked for more.
    pub fn detail(&mut self, text: String) {
        self.add(Level::Verbose, text);
    }

    /// Tells everybody something about one host, unless that was done for many hosts already.
    pub fn about_host(&mut self, text: String) {
        self.about_hosts += 1;
        match self.about_hosts.cmp(&ABOUT_HOSTS) {
            std::cmp::Ordering::Less => self.say(text),
            std::cmp::Ordering::Equal => self.say(format!("{text} (further hosts are told of with -v)")),
            std::cmp::Ordering::Greater => self.detail(text),
        }
    }

    /// Takes them, in order.
    pub fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.waiting)
    }

    fn add(&mut self, level: Level, text: String) {
        if self.waiting.len() < KEPT {
            self.waiting.push(Note { level, text });
        }
    }
}

/// The host as a person writes it: the scheme's own port is left out.
pub fn name(host: &Host) -> String {
    host.to_string()
}

/// `2.5 s`, `30 s`, `12 min`, `3 h`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_are_not_told_of_one_by_one() {
        let mut notes = Notes::default();
        for number in 0..100 {
            notes.about_host(number.to_string());
        }
        let notes = notes.take();
        assert_eq!(notes.len(), 100);
        let told = notes.iter().filter(|note| note.level == Level::Always).count();
        assert_eq!(told, ABOUT_HOSTS);
        assert!(notes[ABOUT_HOSTS - 1].text.contains("-v"));
    }

    #[test]
    fn hosts_and_times_are_written_as_people_do() {
        for (tls, port, expected) in [(true, 443, "h"), (false, 80, "h"), (true, 80, "h:80"), (false, 8080, "h:8080")] {
            assert_eq!(name(&Host { tls, name: "h".into(), port }), expected);
        }
        for (ms, expected) in
            [(750, "0.8 s"), (3_000, "3.0 s"), (30_400, "30 s"), (300_000, "5 min"), (10_800_000, "3 h")]
        {
            assert_eq!(time(Duration::from_millis(ms)), expected);
        }
    }
}
