//! A frame on a terminal, by indicatif: drawn over the last one, cleared, or kept below lines that are printed.
//!
//! All of it is one `ProgressBar` of several lines. A `MultiProgress` would format and draw every bar for each change of
//! any (console-rs/indicatif#708); here one change is one drawing. There is no ticker thread, and indicatif writes
//! into memory: when and whether that gets to the terminal is the screen's business.
//!
//! Must not know what the lines say.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::frame::Frame;
use super::terminal::Size;

/// Steps of the bar: more than any terminal has columns.
const STEPS: u64 = 100_000;

/// The picture on the terminal.
#[derive(Debug)]
pub struct Bars {
    canvas: Canvas,
    /// What is drawn now; `None` while nothing is.
    drawn: Option<ProgressBar>,
    with_bar: Look,
    without_bar: Look,
}

/// A style, which has no `Debug` of its own.
#[derive(Clone)]
struct Look(ProgressStyle);

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

/// What indicatif draws from and draws on. It wants both shared and thread-safe; only one thread ever comes.
#[derive(Debug, Clone, Default)]
struct Canvas(Arc<Mutex<Drawing>>);

#[derive(Debug, Default)]
struct Drawing {
    size: Size,
    total: String,
    rows: String,
    /// What is to be sent to the terminal.
    output: Vec<u8>,
    /// A line is complete; the next one starts a new line first.
    line_ended: bool,
}

impl Bars {
    /// Nothing drawn yet.
    ///
    /// # Errors
    /// None: the templates are constants.
    pub fn new() -> anyhow::Result<Bars> {
        let canvas = Canvas::default();
        let with_bar = canvas.style("[{wide_bar}] {total}\n{rows}").context("style of the bar")?;
        let without_bar = canvas.style("{total}\n{rows}").context("style without a bar")?;
        Ok(Bars { canvas, drawn: None, with_bar, without_bar })
    }

    /// Whether lines must be printed by [`Bars::above`] now.
    pub fn is_drawn(&self) -> bool {
        self.drawn.is_some()
    }

    /// Replaces the picture, for a terminal of `size`.
    pub fn draw(&mut self, frame: &Frame, size: Size) {
        {
            let mut drawing = self.canvas.lock();
            drawing.size = size;
            drawing.total.clone_from(&frame.total);
            drawing.rows = frame.rows.join("\n");
        }
        let target = || ProgressDrawTarget::term_like(Box::new(self.canvas.clone()));
        let bar = self.drawn.get_or_insert_with(|| ProgressBar::with_draw_target(Some(STEPS), target()));
        let look = if frame.bar.is_some() { &self.with_bar } else { &self.without_bar };
        bar.set_style(look.0.clone());
        // This draws, once.
        bar.update(|state| state.set_pos((frame.bar.unwrap_or(0.0) * STEPS as f64) as u64));
    }

    /// Prints whole lines above the picture, which stays.
    pub fn above(&mut self, lines: &[u8]) {
        match &self.drawn {
            Some(bar) => bar.suspend(|| self.canvas.lock().output.extend_from_slice(lines)),
            None => self.canvas.lock().output.extend_from_slice(lines),
        }
    }

    /// Takes the picture away. The cursor is where its first line began.
    pub fn clear(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }

    /// The bytes that bring the terminal up to date. They must all be sent, in this order.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.canvas.lock().output)
    }
}

impl Canvas {
    fn lock(&self) -> MutexGuard<'_, Drawing> {
        // A panic elsewhere leaves plain text, which is as good as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn style(&self, template: &str) -> anyhow::Result<Look> {
        let (for_total, for_rows) = (self.clone(), self.clone());
        let total = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            // Writing to indicatif's String does not fail.
            let _ = out.write_str(&for_total.lock().total);
        };
        let rows = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&for_rows.lock().rows);
        };
        // Plain ASCII: the bar looks the same in every locale and font.
        let style = ProgressStyle::with_template(template)?
            .progress_chars("=> ")
            .with_key("total", total)
            .with_key("rows", rows);
        Ok(Look(style))
    }

    fn write(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        use io::Write;
        let mut drawing = self.lock();
        drawing.line_ended = false;
        drawing.output.write_fmt(text)
    }
}

/// What indicatif calls, in VT100 sequences.
///
/// indicatif ends a line by filling it with blanks to the last column and trusting the terminal to wrap. That draws garbage
/// once the window is made narrower, and a wide terminal is sent many blanks, so the fill is replaced: erase to the end
/// of the line, and start a new line when there is more. Lines never fill the width here, so there always is a fill.
impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.lock().size.columns.saturating_sub(1)
    }

    fn height(&self) -> u16 {
        self.lock().size.rows
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.write(format_args!("\x1b[{n}A")) }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.write(format_args!("\x1b[{n}B")) }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.write(format_args!("\x1b[{n}C")) }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.write(format_args!("\x1b[{n}D")) }
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write(format_args!("{s}\r\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        if s.bytes().all(|byte| byte == b' ') {
            self.write(format_args!("\x1b[K"))?;
            self.lock().line_ended = true;
            return Ok(());
        }
        let start = if self.lock().line_ended { "\r\n" } else { "" };
        self.write(format_args!("{start}{s}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write(format_args!("\r\x1b[2K"))
    }

    /// Called at the end of each drawing. The cursor goes to the first column: what the terminal echoes of a key (`^C`)
    /// would wrap behind a row that fills the width, and all rows would be one line off.
    fn flush(&self) -> io::Result<()> {
        self.write(format_args!("\r"))
    }
}
