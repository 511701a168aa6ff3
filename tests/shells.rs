//! The completions as people meet them: typed into the shells that they are for.

use std::io::ErrorKind;
use std::process::Command;

use crate::harness::Place;
use crate::harness::pty::Size;

/// Whether `shell` is installed; in CI it has to be.
fn is_installed(shell: &str) -> bool {
    let missing =
        matches!(Command::new(shell).arg("--version").output(), Err(error) if error.kind() == ErrorKind::NotFound);
    assert!(!missing || std::env::var_os("CI").is_none(), "{shell} must be installed in CI");
    if missing {
        eprintln!("skipped: {shell} is not installed");
    }
    !missing
}

/// A place with two files and the script of `what`.
fn place(what: &str) -> Place {
    let place = Place::new();
    let script = place.fetch().args(["--generate", what]).run();
    place.write("script", script.assert_exit(0).stdout_text());
    place.write("list of urls.txt", "");
    place.write("echoes.txt", "");
    place
}

/// What becomes of each of the lines when TAB is pressed behind it, in `shell` after `commands`.
fn assert_completed(shell: &str, place: &Place, commands: &str, lines: &[(&str, &str)]) {
    if !is_installed(shell.split(' ').next().unwrap_or_default()) {
        return;
    }
    // In the place of the program, below what makes the terminal its own.
    let start = format!("exec \"$1\" \"$2\" {shell}");
    let mut terminal =
        place.fetch().env("TERM", "dumb").under_bash(&start).on_terminal(Size { rows: 24, columns: 200 });
    terminal.press(&format!("{commands}; PS1='ready'; PS1=\"$PS1> \"\n"));
    terminal.wait_for_screen("a prompt", |screen| screen.trim_end().ends_with("ready>"));
    for (typed, completed) in lines {
        terminal.press(&format!("fetchmany {typed}\t"));
        terminal.wait_for_screen(&format!("{completed} for {typed}"), |screen| {
            let line = screen.trim_end().rsplit("ready> ").next();
            line.is_some_and(|line| line.trim_end() == format!("fetchmany {completed}"))
        });
        // Takes the line away, and begins another one: not every shell clears the old one from a dumb terminal.
        terminal.press("\u{15}\n");
        terminal.wait_for_screen("the next prompt", |screen| screen.trim_end().ends_with("ready>"));
    }
    terminal.press("exit\n");
    terminal.finish();
}

#[test]
fn bash_completes_what_is_typed() {
    let lines = [
        ("--if-exists=up", "--if-exists=update"),
        ("--if-exists up", "--if-exists update"),
        ("--color=al", "--color=always"),
        ("--journal=ech", "--journal=echoes.txt"),
        ("--if-ex", "--if-exists"),
        ("ech", "echoes.txt"),
        ("li", "list\\ of\\ urls.txt"),
    ];
    assert_completed("bash --norc -i", &place("complete-bash"), "source ./script", &lines);
}

#[test]
fn zsh_completes_what_is_typed() {
    let lines = [
        ("--if-exists=up", "--if-exists=update"),
        ("--if-ex", "--if-exists="),
        ("--input-format js", "--input-format json"),
        ("ech", "echoes.txt"),
        ("-I ech", "-I echoes.txt"),
        ("echoes.txt li", "echoes.txt list\\ of\\ urls.txt"),
    ];
    let commands = "autoload -Uz compinit; compinit -u -D; source ./script";
    assert_completed("zsh -f -i", &place("complete-zsh"), commands, &lines);
}

#[test]
fn fish_completes_what_is_typed() {
    if !is_installed("fish") {
        return;
    }
    let place = place("complete-fish");
    for (typed, expected) in [
        ("--if-ex", "--if-exists"),
        ("--if-exists=up", "--if-exists=update"),
        ("--if-exists up", "update"),
        ("--journal ech", "echoes.txt"),
        ("ech", "echoes.txt"),
    ] {
        let mut fish = Command::new("fish");
        fish.env("HOME", place.home()).current_dir(place.work());
        let said =
            fish.args(["-c", &format!("source script; complete -C 'fetchmany {typed}'")]).output().expect("run fish");
        let offered = String::from_utf8_lossy(&said.stdout).into_owned();
        let words: Vec<&str> = offered.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, [expected], "{typed}: {offered}{}", String::from_utf8_lossy(&said.stderr));
    }
}
