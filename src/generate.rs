//! The manual page and the completions, from the one definition of the command line.

use std::io::Write;

use clap::Command;
use clap_complete::Shell;

use crate::cli::{self, Generate};

/// Writes what was asked for; `variables` are those of `--write-out`.
pub fn write(what: Generate, variables: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    match what {
        Generate::Man => man(variables, out),
        Generate::CompleteBash => complete(Shell::Bash, out),
        Generate::CompleteZsh => complete(Shell::Zsh, out),
        Generate::CompleteFish => complete(Shell::Fish, out),
        Generate::CompletePowershell => complete(Shell::PowerShell, out),
    }
}

/// The script for `shell`, of the options that people are told of.
fn complete(shell: Shell, out: &mut dyn Write) -> std::io::Result<()> {
    let definition = cli::command();
    let mut visible = Command::new("fetchmany").version("").disable_help_flag(true).disable_version_flag(true);
    for argument in definition.get_arguments().filter(|argument| !argument.is_hide_set()) {
        visible = visible.arg(argument.clone());
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible, "fetchmany", &mut script);
    match shell {
        Shell::Bash => out.write_all(as_bash_has_it(&String::from_utf8_lossy(&script)).as_bytes()),
        Shell::Zsh => out.write_all(files_as_inputs(&String::from_utf8_lossy(&script)).as_bytes()),
        _ => out.write_all(&script),
    }
}

/// The generated script for zsh has each INPUT completed as the first word of a command line.
fn files_as_inputs(script: &str) -> String {
    let input =
        |line: &str| line.strip_prefix("'*::inputs").and_then(|rest| Some(rest.split_once(":_default'")?.0.to_owned()));
    let line = |line: &str| input(line).map_or(line.to_owned(), |told| format!("'*:inputs{told}:_files' \\"));
    script.lines().map(|it| line(it) + "\n").collect()
}

/// The word before, or the option before `=`.
const PREVIOUS: &str = r#"    prev="$3"
    if [[ "${cur}" == "=" ]]; then
        cur=""
    elif [[ "${prev}" == "=" && ${COMP_CWORD} -ge 2 ]]; then
        prev="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
"#;

/// The generated script for bash offers options where a name is wanted, and files cut at blanks. Where it offers nothing, bash
/// completes names itself (`complete -o default`), and quotes them. Nor does it know that to bash `=` is a word.
fn as_bash_has_it(script: &str) -> String {
    let offers_options = "COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )";
    let script = script
        .replacen("    prev=\"$3\"\n", PREVIOUS, 1)
        .replace(" || ${COMP_CWORD} -eq 1 ]]", " ]]")
        .replace("COMPREPLY=($(compgen -f \"${cur}\"))", "COMPREPLY=()");
    match script.rsplit_once(offers_options) {
        Some((before, after)) => [before, "COMPREPLY=()", after].concat(),
        None => script,
    }
}

/// Shorter than the generated one, which lists every option.
const SYNOPSIS: &str = ".SH SYNOPSIS\n\\fBfetchmany\\fR [\\fIOPTIONS\\fR] [\\fIINPUT\\fR]...\n";

/// When the manual page last changed its meaning.
const DATE: &str = "2026-11-22";

/// Bytes in an input line of the manual page, at most.
const WIDTH: usize = 78;

/// Sections of the manual page that no option has.
const SECTIONS: &str = include_str!("generate/sections.roff");

/// Stands in [`SECTIONS`] for the names of all variables.
const VARIABLES: &str = "@VARIABLES@";

fn man(variables: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    let definition = clap_mangen::Man::new(cli::command());
    let definition = definition.title("FETCHMANY").section("1").date(DATE).manual("User Commands");
    let mut page = Vec::new();
    definition.render_title(&mut page)?;
    definition.render_name_section(&mut page)?;
    page.write_all(SYNOPSIS.as_bytes())?;
    definition.render_description_section(&mut page)?;
    let mut options = Vec::new();
    definition.render_options_section(&mut options)?;
    // clap_mangen does not say that there may be several.
    page.write_all(String::from_utf8_lossy(&options).replace("[\\fIINPUT\\fR]\n", "[\\fIINPUT\\fR]...\n").as_bytes())?;
    page.write_all(SECTIONS.replace(VARIABLES, &variables.join(", ")).as_bytes())?;
    out.write_all(tidy(&String::from_utf8_lossy(&page)).as_bytes())
}

/// The page as `mandoc -T lint` wants it: input lines of less than 80 bytes, and none of the line breaks that clap_mangen
/// puts around an empty line, where they do nothing.
fn tidy(page: &str) -> String {
    let page = page.replace(".br\n\n.br\n", "\n");
    let mut tidied = String::with_capacity(page.len() + page.len() / 40);
    let (mut is_tag, mut is_as_it_stands) = (false, false);
    for line in page.lines() {
        match line.strip_prefix('.') {
            Some(request) => {
                is_as_it_stands = request == "nf" || (is_as_it_stands && request != "fi");
                tidied.push_str(line);
            }
            None if is_as_it_stands => tidied.push_str(line),
            // A tag is one line: what is broken in it is joined again.
            None => wrap(line, if is_tag { " \\\n" } else { "\n" }, &mut tidied),
        }
        tidied.push('\n');
        is_tag = line == ".TP";
    }
    tidied
}

/// Appends `line` with `broken` in the place of blanks, so that its pieces are short. What roff would take for a request at
/// the beginning of one is marked as text.
fn wrap(line: &str, broken: &str, out: &mut String) {
    let mut length = 0;
    for word in line.split(' ') {
        if length > 0 && (length + 1 + word.len() + broken.len() <= WIDTH || word.is_empty()) {
            out.push(' ');
            length += 1;
        } else if length > 0 {
            out.push_str(broken);
            out.push_str(if word.starts_with(['.', '\'']) { "\\&" } else { "" });
            length = 0;
        }
        out.push_str(word);
        length += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_where_nothing_changes_by_it() {
        let word = "123456789";
        let seven = [word; 7].join(" ");
        let table = [
            (format!("{seven} {word} b"), format!("{seven}\n{word} b\n")),
            (format!("{seven} .123456789 b"), format!("{seven}\n\\&.123456789 b\n")),
            (format!(".TP\n{seven} {word}\n{seven} {word}"), format!(".TP\n{seven} \\\n{word}\n{seven}\n{word}\n")),
            (format!(".nf\n{seven} {word}\n.fi"), format!(".nf\n{seven} {word}\n.fi\n")),
            ("a\n.br\n\n.br\nb".to_owned(), "a\n\nb\n".to_owned()),
        ];
        for (page, expected) in table {
            assert_eq!(tidy(&page), expected);
        }
    }
}
