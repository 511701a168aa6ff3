//! What may be typed. Does nothing: [`crate::config`] gives it its meaning.

mod choices;
mod config_file;
mod foreign;
mod mistake;
mod origins;
#[cfg(test)]
mod properties;
mod request;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, ValueHint};

pub use choices::{Color, Failures, Generate, IfExists, InputFormat, Jobs, Progress};
pub use origins::Origins;
pub use request::{RequestArgs, Schemes};
pub use values::header;

const ABOUT: &str = "Fetch many URLs at once: a list in, whole files out.";

const LONG_ABOUT: &str = "Fetch many URLs at once: a list in, whole files out.

Reads URLs from files, standard input or a named pipe, keeps many transfers in flight, and leaves under each final \
name either a whole file or nothing. One result per URL is printed on standard output; everything else goes to \
standard error.";

const AFTER_HELP: &str = "\
Exit status: 0 all fetched or skipped, 1 some failed, 2 wrong usage or unreadable INPUT, 3 this machine stopped the \
run (directory, disk, descriptors), 130/143 interrupted.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "fetchmany", about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(disable_version_flag = true, disable_help_flag = true, max_term_width = 100, args_override_self = true)]
pub struct Args {
    /// URLs, files of URLs, or - for standard input
    ///
    /// An INPUT that contains :// is a URL; - is standard input; anything else is a file with one URL on each line (a
    /// named pipe is read to its end). After a TAB a line may give the output name. Blank lines and lines that begin
    /// with # are skipped. Without INPUT, URLs are read from standard input unless that is a terminal.
    #[arg(value_name = "INPUT", help_heading = "Input")]
    pub inputs: Vec<OsString>,

    /// What INPUTs are written in
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = InputFormat::Lines, help_heading = "Input")]
    pub input_format: InputFormat,

    /// What relative URLs in INPUTs are meant from; for a directory it ends with /
    #[arg(long, value_name = "URL", help_heading = "Input")]
    pub base_url: Option<String>,

    /// Lines of INPUTs end in NUL instead of a newline
    #[arg(short = '0', long, help_heading = "Input")]
    pub null: bool,

    /// Serve URLs written to the named pipe PATH until stopped
    ///
    /// The pipe is made, readable and writable by its owner alone, when it does not exist. Writers come and go; each
    /// line is one URL. Lines of up to 4096 bytes stay whole when several writers write at once. The first SIGTERM lets
    /// running transfers finish.
    #[arg(long, value_name = "PATH", conflicts_with = "inputs", help_heading = "Input")]
    pub fifo: Option<PathBuf>,

    /// Directory for the files; made when missing
    #[arg(short = 'd', long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub output_dir: PathBuf,

    /// Name of each file below the output directory; - for standard output
    ///
    /// Placeholders: {name} last component of the URL's path, {stem} and {ext} its two parts (the extension with its
    /// dot), {host}, {port}, {path} the path with its directories, {line} the line number, {hash} a hash of the URL,
    /// {hash:N} its first N digits (of 64), as in {hash:2}/{hash} for millions of files; {{ and }} for braces. With - each body is written to standard output whole, one after another, and result
    /// lines go to standard error.
    #[arg(short = 'o', long, value_name = "TEMPLATE", help_heading = "Output")]
    pub output: Option<String>,

    /// Files in directories as on the server, the same as -o '{host}/{path}'
    #[arg(long, conflicts_with_all = ["output", "discard"], help_heading = "Output")]
    pub tree: bool,

    /// Fetch everything, keep nothing
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    pub discard: bool,

    /// What to do about a file that is already there
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = IfExists::Skip, help_heading = "Output")]
    pub if_exists: IfExists,

    /// Name files as the server does, by Content-Disposition, where it gives a name
    ///
    /// Of the name given only the last component is used, made safe. It is known when the answer comes: of several URLs
    /// with the same name the first to be answered has it, and what --if-exists says is decided then. A name on the
    /// input line comes first.
    #[arg(short = 'J', long, conflicts_with_all = ["output", "discard", "head"], help_heading = "Output")]
    pub remote_header_name: bool,

    /// Say what would be fetched, and to where; fetch and write nothing
    ///
    /// Lines that are bad, come twice, or whose file is there already are told as they would be; for the others the result
    /// is skipped, as "would be fetched". Files named by options are neither made nor emptied.
    #[arg(long, conflicts_with = "fifo", help_heading = "Output")]
    pub dry_run: bool,

    /// Do not set files' times to the server's Last-Modified
    #[arg(long, help_heading = "Output")]
    pub no_remote_time: bool,

    /// Flush each file and its directory to the disk before its result is told
    #[arg(long, help_heading = "Output")]
    pub sync: bool,

    /// Fetch from the first byte what an earlier attempt or run has left unfinished
    #[arg(long, help_heading = "Output")]
    pub no_resume: bool,

    /// Fail bodies of more than SIZE bytes (suffixes k, M, G, T: times 1024); 0 for no limit
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Output")]
    pub max_filesize: Option<u64>,

    /// Transfers at once, or auto [default: 50]
    ///
    /// With auto the number is found while running, for each host and in all: more while that brings something, fewer
    /// when servers refuse, slow down or time out.
    #[arg(short = 'j', long, value_name = "N", value_parser = values::jobs, help_heading = "How many")]
    pub jobs: Option<Jobs>,

    /// Transfers of one host at once [default: 8, with -j the same as that]
    ///
    /// With -j auto a host gets as many as bring something, unless this says otherwise.
    #[arg(long, value_name = "N", value_parser = values::count, help_heading = "How many")]
    pub per_host: Option<usize>,

    /// Starts per time, such as 30/s, 100/m, 5/h or 20/d, of all hosts together; a number alone is for an hour
    #[arg(long, value_name = "N/UNIT", value_parser = values::rate, help_heading = "How many")]
    pub rate: Option<Duration>,

    /// Starts per time of each host
    #[arg(long, value_name = "N/UNIT", value_parser = values::rate, help_heading = "How many")]
    pub rate_per_host: Option<Duration>,

    /// Bytes a second, for all transfers together (suffixes k, M, G: times 1024); 0 for no limit
    #[arg(long, value_name = "RATE", value_parser = values::size, help_heading = "How many")]
    pub limit_rate: Option<u64>,

    /// Bytes a second, for the transfers of each host together
    #[arg(long, value_name = "RATE", value_parser = values::size, help_heading = "How many")]
    pub limit_rate_per_host: Option<u64>,

    /// Attempts after a failure that may pass
    ///
    /// Tried again are failures to resolve, to connect and to shake hands, deadlines, broken connections and bodies, and
    /// the statuses 408, 425, 429, 500, 502, 503, 504 and 520 to 524.
    #[arg(long, value_name = "N", default_value = "4", value_parser = values::attempts, help_heading = "Trying")]
    pub retry: u32,

    /// Fixed delay between attempts; without it, or with 0, one second on average, doubled each time, with jitter
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, help_heading = "Trying")]
    pub retry_delay: Option<Duration>,

    /// No attempt starts later than this after a URL's first; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = values::seconds, help_heading = "Trying")]
    pub retry_max_time: Duration,

    /// Longest pause that a server may ask for; for more, its URLs fail in this run
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = values::seconds, help_heading = "Trying")]
    pub retry_after_max: Duration,

    /// Limit for name lookup, connection and TLS handshake; 0 for curl's own, 300
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::limit, help_heading = "Trying")]
    pub connect_timeout: Duration,

    /// Give up on a transfer after so long without an answer or a byte; 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::limit, help_heading = "Trying")]
    pub stall_timeout: Duration,

    /// Limit for one attempt; 0 for none
    #[arg(short = 'm', long, value_name = "SECONDS", value_parser = values::limit, help_heading = "Trying")]
    pub max_time: Option<Duration>,

    /// Give up on a transfer that is slower than this for --speed-time, in bytes a second; 0 for never [default: 1]
    #[arg(short = 'Y', long, value_name = "RATE", value_parser = values::size, help_heading = "Trying")]
    pub speed_limit: Option<u64>,

    /// How long a transfer may be slower than --speed-limit; 0 for ever [default: 30]
    #[arg(short = 'y', long, value_name = "SECONDS", value_parser = values::seconds_from_one, help_heading = "Trying")]
    pub speed_time: Option<Duration>,

    /// Stop when more than N, or N% of the URLs (from the hundredth on), have failed
    #[arg(long, value_name = "N|N%", value_parser = values::failures, overrides_with = "fail_early", help_heading = "Trying")]
    pub max_failures: Option<Failures>,

    /// Stop at the first failure, the same as --max-failures 0
    #[arg(long, overrides_with = "max_failures", help_heading = "Trying")]
    pub fail_early: bool,

    /// Remember in FILE what is settled; the same command again goes on from there
    ///
    /// What the journal has as done is not fetched again, even when its file was moved away since, nor is what would fail
    /// again: statuses 400 to 499 but for 408, 425 and 429, bad lines, bodies over the limit. Anything else is tried again.
    /// URLs are known by themselves and their output names: the list may be edited, reordered and longer, but where names
    /// have {line} in them it may only be longer. --results and --failed are continued.
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub journal: Option<PathBuf>,

    /// Try again also what the journal has as failed for good
    #[arg(long, help_heading = "Job")]
    pub retry_failed: bool,

    /// Verify files against FILE, in the format of sha256sum, sha1sum or md5sum
    ///
    /// Its names are relative to the output directory. A body with another checksum is fetched once more from its
    /// beginning, and never gets its name.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["discard", "head"], help_heading = "Job")]
    pub checksum_file: Option<PathBuf>,

    #[command(flatten)]
    pub request: RequestArgs,

    /// Print one JSON object per URL instead of lines for people
    #[arg(long, help_heading = "Results")]
    pub json: bool,

    /// Print FORMAT for each URL instead, with curl's %{variables}
    ///
    /// Variables are the keys of the record, those of curl, url.host, urle.host and the like (scheme, host, port, path, query,
    /// fragment of the URL as typed and of the last one), and json for the record itself; the manual lists them all.
    /// %header{NAME} is a header of the last response. \n, \r and \t are what they are in C, %% is a percent sign. What follows %{stderr} goes to standard error, what follows
    /// %output{FILE} to that file (%output{>>FILE} adds to it), what follows %{stdout} to where results go; what follows
    /// %{onerror} is for failures alone. @FILE reads the format from a file, @- from standard input. No line end is added.
    #[arg(
        short = 'w',
        long,
        value_name = "FORMAT",
        conflicts_with = "json",
        allow_hyphen_values = true,
        help_heading = "Results"
    )]
    pub write_out: Option<String>,

    /// Print results in the order of the list, not of their ends
    ///
    /// A result waits for those of all lines before it. Reading the list waits when it is 16384 lines ahead of the oldest
    /// URL that is not done. --results and --failed keep the order of the ends.
    #[arg(long, help_heading = "Results")]
    pub ordered: bool,

    /// Write the JSON results to FILE as well
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub results: Option<PathBuf>,

    /// Write the input lines that failed to FILE, to be used as input again
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub failed: Option<PathBuf>,

    /// Compute the SHA-256 of every body for its result
    #[arg(long, help_heading = "Results")]
    pub sha256: bool,

    /// No results and no progress, failures on standard error; twice: nothing at all
    ///
    /// Of failures no more than 20 are shown in a second and the others are counted; --failed FILE keeps them all.
    #[arg(short = 'q', long, action = ArgAction::Count, help_heading = "Results")]
    pub quiet: u8,

    /// Tell on standard error of retries, of connections, and of each host that is treated with care
    ///
    /// For each attempt that is made again: why, and how long it waited. For each URL at its end: the address it came
    /// from, the HTTP version, whether the connection was new, and when name, connection, TLS, first byte and last
    /// byte were there, in seconds from its start. With --json, the failures for people as well.
    #[arg(short = 'v', long, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Results")]
    pub verbose: u8,

    /// How progress is shown on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto, help_heading = "Results")]
    pub progress: Progress,

    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, help_heading = "Results")]
    pub color: Color,

    /// Read options from FILE instead of the usual config file
    ///
    /// One option a line, with its dashes, as on the command line; values with spaces in quotes; # begins a comment. What is
    /// typed wins; of options that may be given several times both count. Without this option FILE is what
    /// FETCHMANY_CONFIG names, or else $XDG_CONFIG_HOME/fetchmany/config (~/.config/fetchmany/config), where it exists.
    #[arg(long, value_name = "FILE", help_heading = "Set-up")]
    pub config: Option<PathBuf>,

    /// Read no config file
    #[arg(long, conflicts_with = "config", help_heading = "Set-up")]
    pub no_config: bool,

    /// Print the usual options; with --help all of them, and more about each
    #[arg(short = 'h', long, action = ArgAction::Help, help_heading = "Set-up")]
    help: Option<bool>,

    /// Print the version and those of the libraries
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Set-up")]
    version: Option<bool>,

    /// Print the manual page or a completion script
    #[arg(long, value_name = "WHAT", value_enum, hide = true, exclusive = true)]
    pub generate: Option<Generate>,

    /// What curl has to be asked for, and what is done here anyway
    #[arg(short = 'f', long = "fail", hide = true, action = ArgAction::Count)]
    #[arg(short_aliases = ['L', 'O', 'R', 'S', 'Z', 'g'])]
    #[arg(aliases = CURLS_WISHES)]
    pub by_default: u8,

    /// curl's name for --progress off
    #[arg(short = 's', long, alias = "no-progress-meter", hide = true)]
    pub silent: bool,

    /// Where options stand that were not typed
    #[arg(skip)]
    pub origins: Origins,
}

/// Options of curl that ask for what is done here anyway, with `-f`, `-L`, `-O`, `-R`, `-S`, `-Z` and `-g`: whoever has
/// `-fsSL` in the fingers gets what they mean.
#[rustfmt::skip]
const CURLS_WISHES: [&str; 14] = [
    "location", "follow", "remote-name", "remote-name-all", "remote-time", "show-error", "parallel", "parallel-immediate",
    "globoff", "create-dirs", "remove-on-error", "no-clobber", "skip-existing", "retry-connrefused",
];

/// What `-h` shows: the options of most command lines. `--help` shows all.
#[rustfmt::skip]
const USUAL: [&str; 25] = [
    "inputs", "fifo", "output_dir", "output", "tree", "discard", "if_exists", "dry_run", "jobs", "per_host", "rate",
    "limit_rate", "retry", "max_time", "journal", "headers", "user", "head", "json", "write_out", "failed", "quiet", "verbose",
    "help", "version",
];

/// Reads the command line and the config file; prints help or version and exits when that is what it asks for. `libraries`
/// goes into `--version`. An error is a sentence about what was typed, or names the file and the line.
pub fn parse(libraries: &str) -> Result<Args, String> {
    let version = format!("{} ({libraries})", env!("CARGO_PKG_VERSION"));
    let command = with_short_help(command().version(version));
    let typed: Vec<OsString> = std::env::args_os().collect();
    let matches = matches(&command, &typed)?;
    if matches.contains_id("generate") {
        return args(&matches);
    }
    let merged = config_file::merged(&command, &typed, &matches)?;
    let args = args(&self::matches(&command, &merged.words)?)?;
    if mistake::names_each_url(&typed, args.inputs.len()) {
        return Err(with_hint("--output is one template for all URLs; in a list a name may follow a URL after a TAB"));
    }
    Ok(Args { origins: merged.origins, config: merged.file, ..args })
}

fn matches(command: &Command, words: &[OsString]) -> Result<ArgMatches, String> {
    let matches = command.clone().try_get_matches_from(words);
    matches.map_err(|error| if error.use_stderr() { usage_error(command, error) } else { error.exit() })
}

fn args(matches: &ArgMatches) -> Result<Args, String> {
    Args::from_arg_matches(matches).map_err(|error| usage_error(&command(), error))
}

fn usage_error(command: &Command, error: clap::Error) -> String {
    with_hint(mistake::sentence(error, &longs(command)))
}

/// With where to read on.
pub fn with_hint(message: impl std::fmt::Display) -> String {
    format!("{message} (see fetchmany --help)")
}

/// The options that are shown, and curl's that are taken and change nothing, with their dashes.
pub fn longs(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let longs = shown.filter_map(clap::Arg::get_long).chain(CURLS_WISHES).map(|long| format!("--{long}"));
    longs.collect()
}

/// Leaves the unusual options out of `-h`. Not in the definition: the manual page would leave out what they are for.
fn with_short_help(command: Command) -> Command {
    command.mut_args(|arg| {
        let unusual = !USUAL.contains(&arg.get_id().as_str());
        arg.hide_short_help(unusual)
    })
}

/// What is typed, without the program's name.
#[cfg(test)]
pub fn typed(args: &[&str]) -> Args {
    let matches = command().no_binary_name(true).try_get_matches_from(args).unwrap();
    Args::from_arg_matches(&matches).unwrap()
}

/// The definition that help, manual page and completions are made from.
pub fn command() -> Command {
    let command = Args::command().styles(Styles::plain()).version(env!("CARGO_PKG_VERSION"));
    // A negative number is a value that is refused as one, not an option that nobody knows.
    command.mut_args(|arg| match arg.get_action().takes_values() && !arg.is_positional() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_usual_options_are_options() {
        let command = command();
        for id in USUAL {
            assert!(command.get_arguments().any(|arg| arg.get_id() == id), "{id}");
        }
    }
}
