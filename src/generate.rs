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
    }
}

fn complete(shell: Shell, out: &mut dyn Write) -> std::io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "fetchmany", &mut script);
    out.write_all(&script)
}

/// Sections of the manual page that no option has.
const SECTIONS: &str = include_str!("generate/sections.roff");

fn man(out: &mut dyn Write) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(cli::command()).title("FETCHMANY").section("1").manual("User Commands");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    out.write_all(SECTIONS.as_bytes())
}
