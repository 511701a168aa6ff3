//! The program's command line, environment and streams: everything up to the moment it starts.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::wait::BOUND;
use super::{Finished, Place, Running};

/// What the program finds on its standard input.
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// A pipe the case writes to and closes.
    Open,
    /// Whatever this is.
    Is(Stdio),
}

/// One run of the program, being put together.
pub struct Fetch {
    pub(super) place: Place,
    pub(super) args: Vec<OsString>,
    pub(super) bound: Duration,
    pub(super) stdin: Stdin,
    pub(super) stdout: Option<Stdio>,
    wrapper: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Fetch {
    /// A run in a place of its own.
    pub fn new() -> Fetch {
        Fetch::at(&Place::new())
    }

    /// A run in `place`.
    pub fn at(place: &Place) -> Fetch {
        Fetch {
            place: place.clone(),
            args: Vec::new(),
            bound: BOUND,
            stdin: Stdin::Null,
            stdout: None,
            wrapper: Vec::new(),
            env: Vec::new(),
        }
    }

    /// A run that writes records to standard output and files to `out`: what most cases look at.
    pub fn recorded() -> Fetch {
        Fetch::new().args(["--json", "-d", "out"])
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Fetch {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Fetch {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Writes the lines to a list file and makes it an INPUT.
    pub fn urls<L: AsRef<str>>(self, lines: &[L]) -> Fetch {
        let mut list: String = lines.iter().map(|line| line.as_ref()).collect::<Vec<_>>().join("\n");
        list.push('\n');
        self.list(list)
    }

    /// Writes the bytes to the list file `urls.txt` as they are and makes it an INPUT.
    pub fn list(self, content: impl AsRef<[u8]>) -> Fetch {
        self.place.write("urls.txt", content);
        self.arg("urls.txt")
    }

    /// Sets an environment variable; the environment is empty but for PATH, HOME and LC_ALL.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Fetch {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Sets an environment variable unless the case has set it.
    pub(super) fn default_env(self, name: &str, value: &str) -> Fetch {
        if self.env.iter().any(|(set, _)| set == name) { self } else { self.env(name, value) }
    }

    /// Runs the program by way of another: `prlimit --nofile=64`, `bash -c '… exec "$@"' bash`. Another one after
    /// that runs inside it.
    pub fn under<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Fetch {
        self.wrapper.extend(wrapper.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Runs the program from a bash script that ends in `exec "$@"`.
    pub fn under_bash(self, script: &str) -> Fetch {
        self.under(["bash", "-c", script, "bash"])
    }

    /// Runs the program where this name has the address 127.0.0.1, so that it has to look it up (`localhost` needs no
    /// looking up). `None`, with a word about it, where that cannot be arranged.
    pub fn knowing_host(self, name: &str) -> Option<Fetch> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can mount a hosts file");
            return None;
        }
        let hosts = self.place.home().join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1 localhost {name}\n")).expect("write a hosts file");
        let script = format!(r#"mount --bind '{}' /etc/hosts && exec "$@""#, hosts.display());
        Some(self.under(["unshare", "-m", "bash", "-c", &script, "bash"]))
    }

    /// Runs the program where the permissions of files hold for it, too, when it runs as root. `None`, with a word about
    /// it, where that cannot be arranged.
    pub fn held_to_permissions(self) -> Option<Fetch> {
        if !rustix::process::geteuid().is_root() {
            return Some(self);
        }
        let without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
        let probe = Command::new(without[0]).args(&without[1..]).arg("true").stderr(Stdio::null()).status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("skipped: root may do everything here, and setpriv cannot change that");
            return None;
        }
        Some(self.under(without))
    }

    /// Sets standard input; `/dev/null` unless called.
    pub fn stdin(mut self, stdin: Stdin) -> Fetch {
        self.stdin = stdin;
        self
    }

    /// Gives standard output away instead of collecting it.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Fetch {
        self.stdout = Some(stdout.into());
        self
    }

    /// Gives a slow case more time than the usual minute.
    pub fn bound(mut self, bound: Duration) -> Fetch {
        self.bound = bound;
        self
    }

    /// The directory this run will be in.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Starts and hands over what runs.
    #[track_caller]
    pub fn start(self) -> Running {
        Running::start(self)
    }

    /// The command with its environment and directory, streams not yet set.
    pub(super) fn command(&self) -> Command {
        let argv = self.argv();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command.current_dir(self.place.work());
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("HOME", self.place.home());
        command.env("LC_ALL", "C");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Wrapper, program and arguments.
    pub(super) fn argv(&self) -> Vec<OsString> {
        let mut argv = self.wrapper.clone();
        argv.push(env!("CARGO_BIN_EXE_fetchmany").into());
        argv.extend(self.args.iter().cloned());
        argv
    }
}
