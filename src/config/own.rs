//! The files that the run itself reads and writes: no download is to take the place of one.

use std::path::{Path, PathBuf};

use super::{identity, input, request};
use crate::cli::Args;
use crate::report;
use crate::source;

/// Path and kind of each file that `args` names.
pub fn files(args: &Args, results: &report::Results) -> Vec<(PathBuf, &'static str)> {
    let request = &args.request;
    let mut own = Vec::new();
    let mut add = |path: Option<&Path>, what| own.extend(path.map(|path| (path.to_owned(), what)));
    for given in &args.inputs {
        if let source::Input::Path(path) = input(given) {
            add(Some(&path), "an INPUT");
        }
    }
    add(args.fifo.as_deref(), "the pipe");
    add(args.journal.as_deref(), "the journal");
    add(args.results.as_deref(), "the results file");
    add(args.failed.as_deref(), "the failed file");
    if let report::Results::Written(format) = results {
        format.files().iter().for_each(|file| add(Some(&file.path), "a write-out file"));
    }
    add(request.cookie_jar.as_deref(), "the cookie jar");
    for cookies in request.cookies.iter().filter(|cookie| !cookie.contains('=')) {
        add(Some(Path::new(cookies)), "a cookie file");
    }
    add(args.checksum_file.as_deref(), "the checksum file");
    add(request.netrc_file.as_deref(), "the netrc file");
    add(identity::home().filter(|_| request.netrc).map(|home| home.join(".netrc")).as_deref(), "the netrc file");
    add(args.config.as_deref(), "the config file");
    for file in [&request.cacert, &request.key].into_iter().flatten() {
        add(Some(file), "a file of keys");
    }
    add(request.cert.as_deref().map(|cert| request::certificate(cert).0).as_deref(), "a file of keys");
    add(request.pinnedpubkey.as_deref().map(Path::new), "a file of keys");
    let values = [&request.user, &request.oauth2_bearer, &request.pass, &args.write_out].into_iter().flatten();
    for value in values.chain(&request.headers) {
        add(value.strip_prefix('@').map(Path::new), "a file that an option names");
    }
    own
}
