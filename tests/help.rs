//! What the program says of itself: help, manual page and completions know every option.

use std::collections::BTreeSet;

use crate::harness::{Fetch, Place};

fn said(args: &[&str]) -> String {
    Fetch::new().args(args).run().assert_exit(0).stdout_text().to_owned()
}

/// Every long option of the definition: a line of `--help` that begins with it.
fn options() -> BTreeSet<String> {
    let help = said(&["--help"]);
    let long = |line: &str| -> Option<String> {
        let line = line.trim_start();
        let line = match line.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
            Some(short) => short.get(1..)?.strip_prefix(", ")?,
            None => line,
        };
        let name = line.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').unwrap_or(name.len());
        Some(name[..end].trim_end_matches('.').to_owned())
    };
    // Deeper lines are about an option, and may begin with another one.
    let indent = |line: &str| line.len() - line.trim_start().len();
    help.lines().filter(|line| (2..=6).contains(&indent(line))).filter_map(long).collect()
}

#[test]
fn the_manual_page_and_the_completions_know_every_option() {
    let options = options();
    assert!(options.len() > 40 && options.contains("http1.1") && options.contains("write-out"), "{options:?}");
    let manual = said(&["--generate", "man"]);
    let scripts = ["complete-bash", "complete-zsh", "complete-fish", "complete-powershell"]
        .map(|what| (what, said(&["--generate", what])));
    for option in &options {
        let heading = format!("\\-\\-{}\\fR", option.replace('-', "\\-"));
        let mut lines = manual.lines();
        let found = lines.any(|line| line.starts_with("\\fB") && line.contains(&heading));
        assert!(found, "--{option} is not in the manual page");
        let text = lines.next().unwrap_or_default();
        assert!(text.split(' ').count() > 1 && !text.starts_with('.'), "--{option} is not described: {text:?}");
        for (what, script) in &scripts {
            // fish has the name without its dashes.
            let named = script.contains(&format!("--{option}")) || script.contains(&format!("-l {option}"));
            assert!(named, "--{option} is not in {what}");
        }
    }
}

#[test]
fn the_manual_page_knows_every_variable() {
    let manual = said(&["--generate", "man"]);
    let (_, section) = manual.split_once(".SH \"WRITE\\-OUT FORMATS\"").expect("a section about them");
    let (section, _) = section.split_once("\n.SH").expect("another one");
    let words: BTreeSet<&str> = section.split([' ', ',', '\n']).collect();
    // The list that the program itself gives, and what it leaves out of it.
    let run = Fetch::new().args(["-w", "%{x}", "http://h.invalid/"]).run();
    let (_, listed) = run.assert_exit(2).stderr_text().split_once("there are ").expect("a list");
    let listed = listed.split(", ").take_while(|name| *name != "json");
    let names: Vec<&str> =
        listed.chain(["url.host", "urle.fragment", "%{json}", "%{onerror}", "%header{NAME}"]).collect();
    assert!(names.len() > 60 && names.contains(&"certs"), "{names:?}");
    for name in names {
        assert!(words.contains(name), "{name}: {section}");
    }
}

#[test]
fn the_manual_page_has_the_sections_that_people_look_for() {
    let manual = said(&["--generate", "man"]);
    let sections: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OUTPUT",
        "TRYING",
        "\"INPUT LINES\"",
        "\"OUTPUT FILES\"",
        "\"HOW SERVERS ARE TREATED\"",
        "\"RESULT RECORD\"",
        "\"WRITE\\-OUT FORMATS\"",
        "\"EXIT STATUS\"",
        "SIGNALS",
        "ENVIRONMENT",
        "EXAMPLES",
        "\"SEE ALSO\"",
    ] {
        assert!(sections.contains(&section), "{section} of {sections:?}");
    }
    assert_eq!(manual.lines().filter(|line| line.ends_with("[\\fIINPUT\\fR]...")).count(), 2, "in both places");
    assert_eq!(sections.iter().collect::<BTreeSet<_>>().len(), sections.len(), "none comes twice: {sections:?}");
}

#[test]
fn help_is_grouped_and_its_short_form_is_short() {
    let (short, long) = (said(&["-h"]), said(&["--help"]));
    assert!(short.lines().count() < 60 && long.lines().count() > 150, "{short}");
    let mut from = 0;
    for group in ["Input:", "Output:", "How many:", "Trying:", "Job:", "Request:", "Results:", "Set-up:"] {
        let at = long[from..].find(&format!("\n{group}\n")).unwrap_or_else(|| panic!("{group} after {from}\n{long}"));
        from += at;
        assert!(short.contains(&format!("\n{group}\n")), "{group}\n{short}");
    }
    for option in options().iter().filter(|option| ["jobs", "json", "output-dir"].contains(&option.as_str())) {
        assert!(short.contains(&format!("--{option}")), "{option}\n{short}");
    }
    assert!(!short.contains("--stall-timeout") && long.contains("--stall-timeout"));
}

/// Runs `command` with `args` where it is installed; what it prints.
fn installed(command: &str, args: &[&str]) -> Option<String> {
    let ran = std::process::Command::new(command).args(args).output();
    let output = match ran {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        other => other.expect("run a program"),
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command} {args:?}: {said}");
    Some(said)
}

#[test]
fn the_manual_page_and_the_scripts_are_clean_to_those_who_read_them() {
    let place = Place::new();
    for (what, command, args) in [
        ("man", "mandoc", &["-T", "lint", "-W", "all"][..]),
        ("complete-bash", "bash", &["-n"]),
        ("complete-zsh", "zsh", &["-n"]),
        ("complete-fish", "fish", &["-n"]),
    ] {
        let said_so = place.write(what, said(&["--generate", what]));
        let args: Vec<&str> = args.iter().copied().chain(said_so.to_str()).collect();
        assert_eq!(installed(command, &args).unwrap_or_default(), "", "{what}");
    }
}

#[test]
fn bash_completes_options_and_their_values_and_leaves_names_to_itself() {
    let place = Place::new();
    let script = place.write("script", said(&["--generate", "complete-bash"]));
    let completed = |words: &str| {
        let command = format!(
            "source '{}'; compopt() {{ echo compopt \"$@\"; }}; COMP_WORDS=(fetchmany {words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _fetchmany fetchmany \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo ${{COMPREPLY[@]}}",
            script.display()
        );
        installed("bash", &["--norc", "-c", &command]).map(|said| said.trim().to_owned())
    };
    // An empty answer has bash complete names (`complete -o default`), which quotes what is odd in them.
    for (words, expected) in [
        ("''", ""),
        ("-j 5 ''", ""),
        ("--journal ''", ""),
        ("--js", "--json"),
        ("--gener", ""),
        ("-j 5 --dry", "--dry-run"),
        ("--progress ''", "auto bars plain off"),
        ("--progress =", "auto bars plain off"),
        ("--progress = ba", "bars"),
        ("-d ''", "compopt -o plusdirs"),
    ] {
        assert_eq!(completed(words).unwrap_or(expected.to_owned()), expected, "{words}");
    }
    assert!(said(&["--generate", "complete-bash"]).contains("-o default"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(!said(&["--generate", &format!("complete-{shell}")]).contains("generate"), "{shell}");
    }
}
