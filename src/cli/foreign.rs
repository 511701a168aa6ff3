//! Options of curl and its kind that have another name here, or no use: who types one is told so.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What to say about an option that others have.
#[rustfmt::skip]
const FOREIGN: &[(&[&str], &str)] = &[
    (&["-O", "--remote-name", "--remote-name-all"], "files are named after their URLs without being told; see --output"),
    (&["-L", "--location", "--follow"], "redirects are followed without being told; see --max-redirs and --no-location"),
    (&["--location-trusted"], "secrets go to no other server; redirects are followed without being told"),
    (&["-Z", "--parallel", "--parallel-immediate"], "many transfers run at once without being told; see --jobs"),
    (&["--parallel-max", "--max-concurrent-downloads"], "it is called --jobs here"),
    (&["--parallel-max-host", "--max-connection-per-server"], "it is called --per-host here"),
    (&["-s", "--silent"], "it is called --quiet here"),
    (&["-S", "--show-error"], "failures are shown without being told, with --quiet too"),
    (&["-f", "--fail", "--fail-with-body"], "an HTTP status of 400 or more is a failure without being told"),
    (&["--create-dirs", "--ftp-create-dirs"], "directories are made without being told"),
    (&["--remove-on-error"], "what broke off is never under its final name"),
    (&["--no-clobber", "--skip-existing"], "files that are there are kept without being told; see --if-exists"),
    (&["-i", "--include", "-D", "--dump-header", "--show-headers"], "headers are not written; --json tells what is known of an answer"),
    (&["--input-file"], "a list is an INPUT: name it without an option"),
    (&["--url"], "a URL is an INPUT: name it without an option"),
    (&["-C", "--continue-at", "--continue"], "transfers that broke off are taken up again without being told"),
    (&["-r", "--range", "-z", "--time-cond", "--etag-save", "--etag-compare"], "only whole files are fetched; see --if-exists"),
    (&["-R", "--remote-time"], "files get the server's time without being told; see --no-remote-time"),
    (&["-K"], "it is called --config here"),
    (&["-#", "--progress-bar", "--no-progress-meter"], "it is called --progress here"),
    (&["--retry-all-errors", "--retry-connrefused"], "failures that may pass are tried again without being told; see --retry"),
    (&["-g", "--globoff"], "URLs are taken as they are: nothing in them is expanded"),
    (&["-P", "--directory-prefix", "--dir"], "it is called --output-dir here"),
    (&["-U", "--proxy-user"], "write user and password into the URL of the proxy"),
    (&["-T", "--upload-file", "-F", "--form", "--data", "--data-raw", "--data-binary", "--data-urlencode"], "only JSON input gives requests a body; see --input-format"),
    (&["--trace", "--trace-ascii", "--libcurl"], "see --verbose"),
    (&["-M", "--manual"], "see man fetchmany"),
    (&["--http1.0", "--http3", "--http3-only"], "HTTP/1.1 and HTTP/2 are spoken; see --http1.1 and --http2"),
];

/// Adds what to do instead to the error about an option that is unknown here and known elsewhere.
pub fn explain(error: &mut clap::Error) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return };
    let unknown = unknown.split('=').next().unwrap_or_default();
    let Some((_, instead)) = FOREIGN.iter().find(|(names, _)| names.contains(&unknown)) else { return };
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(*instead)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_that_are_not_ours_are_explained_and_only_ours_are_named() {
        let mut command = crate::cli::command();
        command.build();
        let ours: Vec<String> = command
            .get_arguments()
            .flat_map(|arg| {
                let long = arg.get_long().map(|long| format!("--{long}"));
                long.into_iter().chain(arg.get_short().map(|short| format!("-{short}")))
            })
            .collect();
        let is_ours = |name: &str| ours.iter().any(|option| option == name);
        for (names, instead) in FOREIGN {
            assert!(!names.iter().any(|name| is_ours(name)), "{names:?}");
            for word in instead.split([' ', ';', ',']).filter(|word| word.starts_with("--")) {
                assert!(is_ours(word), "{instead}: {word}");
            }
        }
    }
}
