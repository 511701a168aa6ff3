//! What was given and has no use, or another one than it may seem: a person is told so at the start.

use super::identity;
use crate::cli::Args;
use crate::sink::Template;

/// In sentences.
pub fn notes(args: &Args) -> Vec<String> {
    let mut notes = Vec::new();
    let request = &args.request;
    if (request.digest || request.anyauth) && identity::has_no_user(request) {
        notes.push("--digest and --anyauth are for users: without --user or --netrc only those in URLs".to_owned());
    }
    // `-d a=b`, as for curl. It may be a directory all the same.
    let dir = args.output_dir.to_string_lossy();
    if dir.contains('=') && !dir.contains('/') && !args.output_dir.exists() {
        notes.push(format!("--output-dir {dir} is a directory (curl's -d sends data; JSON input does that here)"));
    }
    let goes_by_line = |output: &String| Template::parse(output).is_ok_and(|template| template.depends_on_the_line());
    if args.journal.is_some() && args.output.as_ref().is_some_and(goes_by_line) {
        notes.push("--journal knows URLs by their names too: with {line} they have others when lines move".to_owned());
    }
    if args.inputs.is_empty() && args.fifo.is_none() {
        let with_url = swallowed(args).map(|option| {
            format!(
                "{option} has a URL for its value, and standard input is the list: to fetch it, give {option} its own"
            )
        });
        notes.extend(with_url);
    }
    notes
}

/// The option whose value was meant to be an INPUT, it seems. Not repeated: it may have a password.
fn swallowed(args: &Args) -> Option<&'static str> {
    let request = &args.request;
    let values = [
        ("--user", request.user.as_deref()),
        ("--oauth2-bearer", request.oauth2_bearer.as_deref()),
        ("--user-agent", request.user_agent.as_deref()),
        ("--header", request.headers.last().map(String::as_str)),
        ("--cookie", request.cookies.last().map(String::as_str)),
        ("--noproxy", request.noproxy.as_deref()),
        ("--write-out", args.write_out.as_deref()),
    ];
    let is_url = |value: &str| value.starts_with("http://") || value.starts_with("https://");
    values.into_iter().find(|(_, value)| value.is_some_and(is_url)).map(|(option, _)| option)
}
