//! fetchmany: a list of URLs in, whole files out.
//!
//! The map of this house: [`cli`] says what may be typed, [`config`] what it means, [`driver`] runs the loop. The
//! rooms it walks through are [`source`] (where jobs come from), [`schedule`] (what runs when), [`engine`] (bytes in
//! motion), [`sink`] (where bytes land), [`journal`] (what is settled) and [`report`] (what people and programs see); [`job`] has the words they
//! share, [`address`] says where a URL leads.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod cli;
mod config;
mod driver;
mod engine;
mod exit;
mod fatal;
mod generate;
mod jar;
mod job;
mod journal;
mod limits;
mod outlet;
mod replacement;
mod report;
mod schedule;
mod signals;
mod sink;
mod source;
mod text;

use std::process::ExitCode;

use crate::cli::Args;
use crate::config::Config;
use crate::driver::Driver;
use crate::exit::Exit;
use crate::fatal::{Fatal, OrExit};

fn main() -> ExitCode {
    abort_on_panic();
    let exit = run().unwrap_or_else(|Fatal { exit, error }| {
        report::fatal(&error);
        exit
    });
    if let Exit::Signal(signal) = exit {
        signals::die_by(signal);
    }
    exit.into()
}

fn run() -> Result<Exit, Fatal> {
    refuse_borrowed_rights().or_exit(Exit::Usage)?;
    let mut args = cli::parse(&engine::describe_version()).map_err(anyhow::Error::msg).or_exit(Exit::Usage)?;
    let origins = std::mem::take(&mut args.origins);
    start(args).map_err(|fatal| match origins.of(&fatal.error.to_string()) {
        Some(origin) => Fatal { error: fatal.error.context(origin), ..fatal },
        None => fatal,
    })
}

fn start(args: Args) -> Result<Exit, Fatal> {
    if let Some(what) = args.generate {
        return match generate::write(what, &report::variables(), &mut std::io::stdout().lock()) {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(anyhow::Error::new(error).context("write to standard output")).or_exit(Exit::Local),
        };
    }
    let config = Config::new(args).or_exit(Exit::Usage)?;
    Driver::open(config)?.run()
}

/// Whoever starts it names files, proxies and authorities, in the environment too: with the rights of somebody else (setuid,
/// setgid) that would give those away.
fn refuse_borrowed_rights() -> anyhow::Result<()> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    if getuid() != geteuid() || getgid() != getegid() {
        anyhow::bail!("it must not run with the rights of another user or group (setuid, setgid)");
    }
    Ok(())
}

/// A panic inside a libcurl callback would be caught there and every later callback skipped: end at once instead.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tell(info);
        std::process::abort();
    }));
}
