//! What people and programs see: a line or a JSON record per URL, bars or a status line while it runs, a summary at the
//! end.
//!
//! Everything that comes from outside is escaped before it is printed. Nothing here ever waits for a reader: records
//! queue (and stop admission, see [`Report::backlog`]), everything else is dropped.
//!
//! Must not decide anything: a run without this room downloads the same files.

mod bars;
mod escape;
mod extras;
mod failures;
mod files;
mod fit;
#[cfg(test)]
mod fixture;
mod frame;
mod lines;
mod meter;
mod options;
mod order;
mod progress;
mod record;
mod screen;
mod settled;
mod slots;
mod streams;
mod summary;
mod tally;
mod terminal;
#[cfg(test)]
mod tests;
mod units;
mod variables;
mod writeout;

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::failures::Failures;
use self::files::{Before, Content, Lines};
use self::frame::Frame;
use self::lines::Paint;
use self::meter::Meter;
use self::order::Order;
use self::slots::Slots;
use self::streams::Streams;
use self::terminal::Environment;
use crate::outlet::Outlet;
use crate::text::{without_error_numbers, without_quoted_credentials};

pub use self::options::{ColorChoice, Options, ProgressStyle, Results, Stream};
pub use self::progress::{Active, Pauses, Progress};
pub use self::streams::Lost;
pub use self::summary::Again;
pub use self::tally::Tally;
pub use self::writeout::{Format, names as variables};

/// Ten pictures a second look alive; more only cost.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// While nothing runs there is nothing to watch: a daemon that waits wakes up once a second for its bars.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// A status line where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How often a results file that is a pipe is tried again while its reader is slow.
const FILE_INTERVAL: Duration = Duration::from_millis(50);

/// Tells people and programs what happens.
#[derive(Debug)]
pub struct Report {
    options: Options,
    environment: Environment,
    streams: Streams,
    results_file: Option<Lines>,
    failed_file: Option<Lines>,
    /// Those that `%output{…}` names, in their order.
    written_files: Vec<Lines>,
    /// Where results wait for those of earlier lines.
    order: Option<Order>,
    /// How the result stream's lines are coloured, and standard error's.
    paint: (Paint, Paint),
    failures_on_stderr: bool,
    failures: Failures,
    tally: Tally,
    meter: Meter,
    slots: Slots,
    show: Show,
    /// The width of the terminal that bars are drawn on, at the last drawing.
    columns: Option<usize>,
    /// Whether somebody wants to know how it stands, whatever is shown.
    status_asked: bool,
    opened: Instant,
    /// The latest time that was told.
    latest: Instant,
    /// Reused for every record and line.
    record: Vec<u8>,
    line: String,
}

/// What is shown while it runs, and when it was shown last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Bars {
        last: Instant,
        interval: Duration,
    },
    /// `told`: what had been settled at the last line; `None` before the first one.
    Plain {
        last: Instant,
        told: Option<u64>,
    },
    Nothing,
}

/// Says on standard error why the run ends, escaped. Where nobody hears it, it is dropped.
pub fn fatal(error: &anyhow::Error) {
    let mut line = String::from("fetchmany: ");
    let said = without_error_numbers(&format!("{error:#}"));
    // Any value may be a URL that was meant for the list.
    let said = if said.contains("://") { without_quoted_credentials(&said) } else { said };
    escape::push_str(&mut line, &said);
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Report {
    /// Opens the files and looks at the streams. The files keep what is in them until [`Report::begin`].
    ///
    /// # Errors
    /// When a file cannot be opened, or is one of `taken` (device and inode of files that are something else, and what) or
    /// the other's; the error names its path.
    pub fn open(options: Options, taken: &[((u64, u64), &str)], now: Instant) -> anyhow::Result<Report> {
        let stdout = match options.stream {
            Stream::Stdout if options.quiet == 0 => Some(Outlet::stdout()),
            Stream::Stdout | Stream::Stderr => None,
        };
        let report = Report::on(stdout, Outlet::stderr(), Environment::read(), options, now)?;
        report.check_files(taken)?;
        Ok(report)
    }

    /// Each file of results is nothing else as well: neither read nor written from another side.
    fn check_files(&self, taken: &[((u64, u64), &str)]) -> anyhow::Result<()> {
        // Where it is not, `--results /dev/stdout` is as good as any.
        let stdout = files::identity(rustix::stdio::stdout()).filter(|_| self.options.uses_stdout());
        let mut earlier: Option<&Lines> = None;
        for file in self.files() {
            let Some(identity) = file.identity() else { continue };
            if let Some((_, what)) = taken.iter().find(|(taken, _)| *taken == identity) {
                bail!("{} is also {what}", file.name());
            }
            if stdout == Some(identity) {
                bail!("{} is also standard output", file.name());
            }
            if let Some(other) = earlier.filter(|other| other.identity() == Some(identity)) {
                bail!("{} is also the {}", file.name(), other.name());
            }
            earlier = Some(file);
        }
        Ok(())
    }

    /// The run begins: files of results that are not continued are emptied.
    ///
    /// # Errors
    /// What the file system says; the error names the file.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        self.files_mut().try_for_each(Lines::begin)
    }

    fn files(&self) -> impl Iterator<Item = &Lines> {
        [&self.results_file, &self.failed_file].into_iter().flatten().chain(&self.written_files)
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut Lines> {
        [&mut self.results_file, &mut self.failed_file].into_iter().flatten().chain(&mut self.written_files)
    }

    fn on(
        stdout: Option<Outlet>,
        stderr: Outlet,
        environment: Environment,
        options: Options,
        now: Instant,
    ) -> anyhow::Result<Report> {
        let before = if options.append { Before::Kept } else { Before::Truncated };
        let file = |kind, path: &Option<PathBuf>, content| {
            path.as_ref().map(|path| Lines::open(kind, path, content, before)).transpose()
        };
        let results_file = file("results file", &options.results_file, Content::Records).context("--results")?;
        let failed_file = file("failed file", &options.failed_file, Content::Jobs).context("--failed")?;
        let written_files = match &options.results {
            Results::Written(format) => settled::open_files(format, before).context("--write-out")?,
            Results::Human | Results::Json => Vec::new(),
        };

        let terminal = stderr.is_terminal();
        let results_on_terminal = stdout.as_ref().map_or(terminal, Outlet::is_terminal);
        let paint = (environment.paint(options.color, results_on_terminal), environment.paint(options.color, terminal));
        let mut streams = Streams::new(stdout, stderr, &options)?;
        let failures_on_stderr = match (options.quiet, &options.results) {
            (0, Results::Human) => false,
            // A person at the terminal does not see the records that go elsewhere.
            (0, Results::Json | Results::Written(_)) => {
                streams.are_separate() && (options.verbose > 0 || (terminal && !results_on_terminal))
            }
            (1, _) => true,
            _ => false,
        };
        let show = match options.progress {
            _ if options.quiet > 0 => Show::Nothing,
            ProgressStyle::Bars => Show::bars(now),
            ProgressStyle::Auto if terminal && !environment.dumb => Show::bars(now),
            ProgressStyle::Auto | ProgressStyle::Plain => Show::Plain { last: now, told: None },
            ProgressStyle::Off => Show::Nothing,
        };
        let columns = environment.size_of(streams.screen().fd()).columns;
        Ok(Report {
            order: options.ordered.then(Order::default),
            options,
            environment,
            streams,
            results_file,
            failed_file,
            written_files,
            paint,
            failures_on_stderr,
            failures: Failures::new(now),
            tally: Tally::default(),
            meter: Meter::new(now),
            slots: Slots::default(),
            columns: matches!(show, Show::Bars { .. }).then(|| columns.into()),
            show,
            status_asked: false,
            opened: now,
            latest: now,
            record: Vec::new(),
            line: String::new(),
        })
    }

    /// Says `message` on standard error, above the bars, escaped. Dropped with `-qq`, and when nobody reads.
    pub fn note(&mut self, message: &str) {
        if self.options.quiet > 1 {
            return;
        }
        self.line.clear();
        self.line.push_str("fetchmany: ");
        escape::push_str(&mut self.line, &without_error_numbers(message));
        self.line.push('\n');
        let screen = self.streams.screen();
        screen.remark(self.line.as_bytes());
        // At once, for it may be the last that is heard; what fails here, fails again in `flush`.
        let _ = screen.flush();
    }

    /// Says `message` as [`Report::note`] does to those who asked for more (`-v`).
    pub fn detail(&mut self, message: &str) {
        if self.options.verbose > 0 {
            self.note(message);
        }
    }

    /// Has the next [`Report::draw`] say how it stands, in a line of its own, whatever is shown while it runs.
    pub fn ask_status(&mut self) {
        self.status_asked = true;
    }

    /// Opens the files of results again, under the paths that they were opened by: what wrote on in a file that was moved
    /// away begins a new one. A file that cannot be opened is told, and written on.
    pub fn reopen(&mut self) {
        let errors: Vec<_> = self.files_mut().filter_map(|file| file.reopen().err()).collect();
        for error in errors {
            self.note(&format!("{error:#}; the one that is open is written on"));
        }
    }

    /// Shows how it stands, when it is time for that.
    pub fn draw(&mut self, now: Instant, progress: &Progress<'_>) {
        self.latest = now;
        if let Some(hidden) = self.failures.turn(now) {
            self.tell_hidden(hidden);
        }
        let asked = std::mem::take(&mut self.status_asked);
        let due = self.show.due(self.streams.holds_lines()).is_some_and(|due| due <= now);
        if !asked && !due {
            return;
        }
        self.meter.sample(now, progress.received, progress.fraction(&self.tally));
        if asked {
            self.note(&summary::status(progress, &self.tally, &self.meter));
        }
        match &mut self.show {
            _ if !due => {}
            Show::Bars { last, interval } => {
                *last = now;
                *interval = if progress.in_flight > 0 { DRAW_INTERVAL } else { IDLE_INTERVAL };
                let screen = self.streams.screen();
                let size = self.environment.size_of(screen.fd());
                self.columns = Some(size.columns.into());
                let frame = Frame::compose(progress, &self.tally, &self.meter, &mut self.slots, now, size);
                screen.draw(frame.as_ref(), size);
            }
            Show::Plain { last, told } => {
                *last = now;
                // A daemon that waits says so once, and then has nothing new to say.
                let settled = Some(self.tally.settled());
                if std::mem::replace(told, settled) == settled && progress.in_flight == 0 && progress.waiting == 0 {
                    return;
                }
                let status = summary::status(progress, &self.tally, &self.meter);
                self.note(&status);
            }
            Show::Nothing => {}
        }
    }

    /// When [`Report::draw`] wants to be called again; `None` when there is nothing to show.
    pub fn next_draw(&self) -> Option<Instant> {
        // The driver may be waiting for standard output, which carries the bodies, when standard error is slow too.
        let asked = self.status_asked.then_some(self.latest);
        let elsewhere = self.files_pending() + if self.streams.are_separate() { 0 } else { self.streams.backlog() };
        let files = (elsewhere > 0).then(|| self.latest + FILE_INTERVAL);
        [asked, self.show.due(self.streams.holds_lines()), self.failures.due(), files].into_iter().flatten().min()
    }

    /// Whether one more line may be read, `lines` having been accepted: results that wait for their turn are bounded.
    pub fn keeps_up(&self, lines: u64) -> bool {
        self.order.as_ref().is_none_or(|order| order.keeps_up(lines))
    }

    /// Bytes of records that wait for a slow reader. Admission stops at 1 MiB.
    pub fn backlog(&self) -> usize {
        self.streams.backlog() + self.files_pending()
    }

    fn files_pending(&self) -> usize {
        self.files().map(Lines::pending).sum()
    }

    /// The descriptor to wait on for writability when there is a [`Report::backlog`]. `None` when it is always ready;
    /// for a results file that is a FIFO, [`Report::next_draw`] asks for a turn instead.
    pub fn stdout(&self) -> Option<BorrowedFd<'_>> {
        self.streams.waitable()
    }

    /// Writes what is taken now. Once a turn.
    ///
    /// # Errors
    /// When results can be told no more.
    pub fn flush(&mut self) -> Result<(), Lost> {
        // Each gets its lines, also when another is lost.
        let streams = self.streams.flush();
        self.files_mut().map(Lines::flush).fold(streams, Result::and)
    }

    /// What became of all jobs so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes the bars away and prints the summary, with what the same command would do `again`. Results still wait for
    /// [`Report::flush`].
    pub fn finish(&mut self, now: Instant, again: Again) {
        self.show = Show::Nothing;
        self.streams.screen().clear();
        if let Some(hidden) = self.failures.rest() {
            self.tell_hidden(hidden);
        }
        if self.options.quiet == 0 {
            let elapsed = (again != Again::Nothing).then(|| now.saturating_duration_since(self.opened));
            self.note(&summary::outcome(&self.tally, elapsed));
            if let Some(hint) = summary::hint(&self.tally, self.options.failed_file.as_deref(), again) {
                self.note(&hint);
            }
        }
        self.streams.screen().finish();
    }

    fn tell_hidden(&mut self, hidden: u64) {
        let see = if self.options.failed_file.is_some() { "" } else { " (use --failed FILE to keep the list)" };
        self.note(&format!("... and {} more failures{see}", units::Count(hidden)));
    }
}

impl Show {
    fn bars(now: Instant) -> Show {
        Show::Bars { last: now, interval: DRAW_INTERVAL }
    }

    /// When it is time again; sooner when lines wait for it.
    fn due(&self, lines_wait: bool) -> Option<Instant> {
        match self {
            Show::Bars { last, .. } if lines_wait => Some(*last + DRAW_INTERVAL),
            Show::Bars { last, interval } => Some(*last + *interval),
            Show::Plain { last, .. } => Some(*last + PLAIN_INTERVAL),
            Show::Nothing => None,
        }
    }
}
