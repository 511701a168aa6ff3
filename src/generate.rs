//! The manual page and the completions, from the one definition of the command line.

use std::io::Write;

use clap_complete::Shell;

use crate::cli::{self, Generate};

/// Writes what was asked for.
pub fn write(what: Generate, out: &mut dyn Write) -> std::io::Result<()> {
    match what {
        Generate::Man => man(out),
        Generate::CompleteBash => complete(Shell::Bash, out),
        Generate::CompleteZsh => complete(Shell::Zsh, out),
        Generate::CompleteFish => complete(Shell::Fish, out),
        Generate::CompletePowershell => complete(Shell::PowerShell, out),
    }
}

fn complete(shell: Shell, out: &mut dyn Write) -> std::io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "fetchmany", &mut script);
    out.write_all(&script)
}

/// Shorter than the generated one, which lists every option.
const SYNOPSIS: &str = ".SH SYNOPSIS\n\\fBfetchmany\\fR [\\fIOPTIONS\\fR] [\\fIINPUT\\fR]...\n";

/// When the manual page last changed its meaning.
const DATE: &str = "2026-11-22";

/// Sections of the manual page that no option has.
const SECTIONS: &str = include_str!("generate/sections.roff");

fn man(out: &mut dyn Write) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(cli::command()).title("FETCHMANY").section("1").date(DATE).manual("User Commands");
    page.render_title(out)?;
    page.render_name_section(out)?;
    out.write_all(SYNOPSIS.as_bytes())?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    out.write_all(SECTIONS.as_bytes())
}
