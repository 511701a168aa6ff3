//! What the reader's terminal can do: its size, whether its cursor can be moved, whether colour is wanted.
//!
//! Must not know what is drawn.

use std::os::fd::BorrowedFd;

use rustix::termios::tcgetwinsize;

use super::ColorChoice;
use super::lines::Paint;

/// The part of the environment that terminals are described by; read once, at the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment {
    /// `TERM` is unset, empty or `dumb`: nothing but plain lines.
    pub dumb: bool,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `COLUMNS` and `LINES`, for terminals that do not tell their size (a serial line, some containers).
    pub size: Size,
}

/// Columns and rows; 0 where unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Width in character cells.
    pub columns: u16,
    /// Height in lines.
    pub rows: u16,
}

impl Environment {
    /// Of this process.
    pub fn read() -> Environment {
        let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
        let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Environment {
            dumb: !has("TERM") || std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            no_color: has("NO_COLOR"),
            size: Size { columns: number("COLUMNS"), rows: number("LINES") },
        }
    }

    /// The size of the terminal behind `fd` now, else that of the environment, else that of a VT100.
    pub fn size_of(&self, fd: BorrowedFd<'_>) -> Size {
        let told = tcgetwinsize(fd).map(|size| Size { columns: size.ws_col, rows: size.ws_row }).unwrap_or_default();
        let known = |told, environment, default| match (told, environment) {
            (0, 0) => default,
            (0, environment) => environment,
            (told, _) => told,
        };
        Size { columns: known(told.columns, self.size.columns, 80), rows: known(told.rows, self.size.rows, 24) }
    }

    /// Whether lines for a stream may be coloured.
    pub fn paint(&self, choice: ColorChoice, is_terminal: bool) -> Paint {
        match choice {
            ColorChoice::Always => Paint::Colored,
            ColorChoice::Auto if is_terminal && !self.dumb && !self.no_color => Paint::Colored,
            ColorChoice::Auto | ColorChoice::Never => Paint::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn colour_is_for_terminals_and_for_those_who_insist() {
        let capable = Environment::default();
        let no_color = Environment { no_color: true, ..capable };
        let dumb = Environment { dumb: true, ..capable };
        let table = [
            (capable, ColorChoice::Auto, true, Paint::Colored),
            (capable, ColorChoice::Auto, false, Paint::Plain),
            (capable, ColorChoice::Never, true, Paint::Plain),
            (no_color, ColorChoice::Auto, true, Paint::Plain),
            (no_color, ColorChoice::Always, true, Paint::Colored),
            (dumb, ColorChoice::Auto, true, Paint::Plain),
            (dumb, ColorChoice::Always, false, Paint::Colored),
        ];
        for (environment, choice, is_terminal, expected) in table {
            assert_eq!(environment.paint(choice, is_terminal), expected, "{environment:?} {choice:?} {is_terminal}");
        }
    }

    #[test]
    fn a_stream_that_has_no_size_gets_the_environments_or_a_usual_one() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let size = |columns, rows| {
            Environment { size: Size { columns, rows }, ..Environment::default() }.size_of(file.as_fd())
        };
        assert_eq!(size(0, 0), Size { columns: 80, rows: 24 });
        assert_eq!(size(132, 0), Size { columns: 132, rows: 24 });
        assert_eq!(size(1, 1), Size { columns: 1, rows: 1 });
    }
}
