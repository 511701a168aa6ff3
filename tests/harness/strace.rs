//! The program under strace: system calls that fail on purpose, and what it called.
//!
//! strace comes from the distribution. Where it is not installed, or may not trace, its cases skip and say so; in CI
//! that is a failure.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use super::{Fetch, Finished, Place};

impl Fetch {
    /// Runs the program under strace with these options (`-e inject=socket:error=EMFILE:when=3+`); what strace writes
    /// is [`Place::trace`]. The program stays our own child, with its own process id, signals and exit code. `None`,
    /// with a word about it, where there is no strace.
    pub fn strace<A: AsRef<OsStr>>(self, options: impl IntoIterator<Item = A>) -> Option<Fetch> {
        if !traces() {
            assert!(std::env::var_os("CI").is_none(), "strace must be installed in CI, and must be able to trace");
            eprintln!("skipped: strace is not installed, or may not trace");
            return None;
        }
        let mut wrapper: Vec<OsString> =
            ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o"].map(Into::into).into();
        wrapper.push(self.place().trace_file().into());
        wrapper.extend(options.into_iter().map(|option| option.as_ref().into()));
        wrapper.push("--".into());
        Some(self.under(wrapper))
    }

    /// The same for one fault, written as strace's `inject` has it; nothing else is traced.
    pub fn inject(self, fault: &str) -> Option<Fetch> {
        self.strace(options(fault))
    }

    /// The same for calls alone that name this file below the current directory, or a descriptor of it.
    pub fn inject_at(self, name: &str, fault: &str) -> Option<Fetch> {
        let path = self.place().path(name).into_os_string();
        let only = [OsString::from("-P"), path];
        self.strace(only.into_iter().chain(options(fault)))
    }
}

fn options(fault: &str) -> impl Iterator<Item = OsString> {
    let calls = fault.split(':').next().unwrap_or_default();
    ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={fault}")].into_iter().map(Into::into)
}

/// Has each system call of a kind fail in turn, from the number `first` on, until a run meets no failure and has to
/// succeed. `run` is given the fault for its number and gives the run, `None` without strace; `judge` sees every run
/// that met its failure.
#[track_caller]
pub fn each_in_turn(
    fault: &str,
    first: usize,
    run: impl Fn(&str) -> Option<Finished>,
    judge: impl Fn(usize, &Finished),
) {
    for number in first..500 {
        let Some(run) = run(&format!("{fault}:when={number}")) else { return };
        if run.place().injected().is_empty() {
            run.assert_exit(0);
            assert!(number > first, "there is no such call\n{run}");
            return;
        }
        judge(number, &run);
    }
    panic!("{fault}: there is no end of such calls");
}

impl Place {
    /// What strace wrote so far, a line a system call.
    pub fn trace(&self) -> Vec<String> {
        let text = std::fs::read(self.trace_file()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// System calls that strace made fail.
    pub fn injected(&self) -> Vec<String> {
        self.trace().into_iter().filter(|line| line.ends_with("(INJECTED)")).collect()
    }
}

fn traces() -> bool {
    let probe = Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}
