//! Options of curl and its kind that have another name here, or no use: who types one is told so.

/// What to say about an option that others have.
#[rustfmt::skip]
const FOREIGN: &[(&[&str], &str)] = &[
    (&["--location-trusted"], "secrets go to no other server; redirects are followed by default"),
    (&["--parallel-max", "--max-concurrent-downloads", "--max-threads", "--max-procs"], "it is called --jobs here"),
    (&["--parallel-max-host", "--max-connection-per-server"], "it is called --per-host here"),
    (&["--split", "--min-split-size", "--chunk-size"], "a file is fetched over one connection; see --jobs for many files at once"),
    (&["--fail-with-body"], "an HTTP status of 400 or more is a failure by default, and its body is not kept"),
    (&["-i", "--include", "-D", "--dump-header", "--show-headers"], "headers are not written, --json tells what is known of an answer; a list is an INPUT, named without an option"),
    (&["--input-file"], "a list is an INPUT: name it without an option"),
    (&["--url"], "a URL is an INPUT: name it without an option"),
    (&["-C", "--continue-at", "--continue"], "transfers that broke off are taken up again by default"),
    (&["-r", "--range", "-z", "--time-cond", "--etag-save", "--etag-compare", "--timestamping"], "only whole files are fetched; --if-exists update fetches what is newer"),
    (&["-K"], "it is called --config here"),
    (&["--disable", "--no-conf", "--disable-config"], "it is called --no-config here"),
    (&["-#", "--progress-bar", "--no-verbose", "--no-progress"], "see --progress"),
    (&["--retry-all-errors"], "failures that may pass are tried again by default, and others would fail again; see --retry"),
    (&["--tries", "--max-tries"], "the attempts after the first are counted by --retry"),
    (&["--waitretry", "--retry-wait"], "it is called --retry-delay here"),
    (&["--wait", "--random-wait", "--sleep-interval"], "see --rate and --rate-per-host"),
    (&["--timeout", "--dns-timeout", "--read-timeout"], "see --connect-timeout, --stall-timeout and --max-time"),
    (&["--lowest-speed-limit"], "it is called --speed-limit here"),
    (&["--max-overall-download-limit", "--max-download-limit"], "it is called --limit-rate here"),
    (&["-P", "--directory-prefix", "--dir"], "it is called --output-dir here"),
    (&["--out", "--output-document"], "it is called --output here"),
    (&["--force-directories"], "it is called --tree here"),
    (&["--content-disposition"], "it is called --remote-header-name here"),
    (&["--allow-overwrite"], "see --if-exists"),
    (&["--spider"], "it is called --head here"),
    (&["--no-check-certificate", "--check-certificate"], "certificates are verified unless --insecure is given"),
    (&["--ca-certificate"], "it is called --cacert here"),
    (&["--capath", "--ca-path", "--ca-directory", "--crlfile"], "there is none: --cacert takes one PEM file with all authorities"),
    (&["--certificate"], "it is called --cert here"),
    (&["--private-key"], "it is called --key here"),
    (&["--ciphers", "--tls13-ciphers", "-1", "-2", "-3", "--tlsv1", "--tlsv1.0", "--tlsv1.1", "--tlsv1.2", "--tlsv1.3", "--tls-max", "--secure-protocol", "--sslv2", "--sslv3", "--ssl-reqd", "--ssl", "--cert-type", "--key-type", "--cert-status"], "there is none: OpenSSL chooses, TLS 1.2 at least; see --curves"),
    (&["-U", "--proxy-user"], "write user and password into the URL of the proxy"),
    (&["--socks4", "--socks4a", "--socks5", "--socks5-hostname", "--preproxy", "--all-proxy", "--http-proxy", "--https-proxy"], "it is --proxy here, as in --proxy socks5h://host:1080"),
    (&["-p", "--proxytunnel", "--proxy-header", "--proxy-insecure", "--proxy-cacert", "--proxy-basic", "--proxy-digest", "--proxy-anyauth", "--proxy-ntlm"], "there is none; see --proxy"),
    (&["--no-proxy"], "it is called --noproxy here: --noproxy '*' for all hosts"),
    (&["--ntlm", "--negotiate", "--delegation", "--krb"], "there is none by itself; --anyauth takes what the server offers"),
    (&["--http-user", "--http-passwd", "--http-password"], "it is --user NAME:PASSWORD here"),
    (&["--load-cookies"], "it is called --cookie here"),
    (&["--save-cookies"], "it is called --cookie-jar here"),
    (&["--junk-session-cookies"], "there is none; see --cookie"),
    (&["--dns-servers", "--dns-interface", "--dns-ipv4-addr", "--dns-ipv6-addr", "--async-dns-server"], "there is none: the system resolves names; see --resolve and --doh-url"),
    (&["--local-port"], "there is none; see --interface"),
    (&["--bind-address"], "it is called --interface here"),
    (&["--abstract-unix-socket"], "there is none; see --unix-socket"),
    (&["-G", "--get", "--url-query", "--variable", "--expand-url"], "there is none: write the query into the URL"),
    (&["-T", "--upload-file", "-F", "--form", "--form-string", "--data", "--data-ascii", "--data-raw", "--data-binary", "--data-urlencode", "--post-data", "--post-file"], "only JSON input gives requests a body; see --input-format"),
    (&["--path-as-is", "--request-target"], "there is none: dots in a URL's path are resolved (RFC 3986)"),
    (&["-:", "--next"], "one run has one set of options; JSON input has headers and methods for single URLs, see --input-format"),
    (&["--trace", "--trace-ascii", "--libcurl", "--trace-time", "--trace-config"], "see --verbose"),
    (&["--stderr"], "redirect it in the shell: 2> FILE"),
    (&["--log", "--output-file", "--append-output"], "redirect it in the shell, or see --results"),
    (&["-M", "--manual"], "see man fetchmany"),
    (&["-N", "--no-buffer"], "results are written as they come by default"),
    (&["-l", "--list-only", "-a", "--append", "-Q", "--quote", "-t", "--telnet-option", "-B", "--use-ascii", "--xattr", "--metalink", "--compressed-ssh", "--hsts", "--alt-svc"], "there is none"),
    (&["--raw"], "bodies are stored as they are sent by default; see --compressed"),
    (&["--tcp-nodelay"], "connections are made so by default"),
    (&["--tcp-fastopen"], "there is none"),
    (&["--keepalive-time", "--keepalive-cnt", "--no-keepalive"], "there is none: connections that are silent for too long are given up; see --stall-timeout"),
    (&["--post301", "--post302", "--post303"], "there is none: redirects are followed as browsers do, after 301, 302 and 303 without a body"),
    (&["--netrc-optional"], "it is called --netrc here: URLs with a user come first"),
    (&["--proto-default"], "write the scheme, or see --base-url"),
    (&["--recursive", "--mirror", "--level", "--page-requisites"], "pages are not searched for links: the list says what is fetched"),
    (&["--http1.0", "--http3", "--http3-only", "--http0.9"], "HTTP/1.1 and HTTP/2 are spoken; see --http1.1 and --http2"),
];

/// What to do instead of giving `option`, which is unknown here and known elsewhere.
pub fn instead(option: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(names, _)| names.contains(&option)).map(|(_, instead)| *instead)
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
                let longs = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
                let shorts = arg.get_short().into_iter().chain(arg.get_all_short_aliases().into_iter().flatten());
                let longs: Vec<String> = longs.map(|long| format!("--{long}")).collect();
                longs.into_iter().chain(shorts.map(|short| format!("-{short}")))
            })
            .collect();
        let is_ours = |name: &str| ours.iter().any(|option| option == name);
        for (names, instead) in FOREIGN {
            assert!(!names.iter().any(|name| is_ours(name)), "{names:?}");
            for word in instead.split([' ', ';', ',', ':']).filter(|word| word.starts_with("--")) {
                assert!(is_ours(word), "{instead}: {word}");
            }
        }
    }
}
