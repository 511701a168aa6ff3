//! Who asks: of a URL's own user, what is typed, a netrc file and the environment, the first that says something counts.

use std::os::unix::fs::PermissionsExt;

use crate::harness::reply::base64;
use crate::harness::{Fetch, Reply, Seen, Server, echo};

const NETRC: &str = "machine 127.0.0.1 login net password S3CR3T-1\n";

/// A run that has NETRC in a file.
fn fetch(args: &[&str], environment: &[(&str, &str)], url: &str) -> Fetch {
    let fetch = Fetch::recorded().args(["--retry", "0"]).args(args).arg(url);
    let netrc = fetch.place().write("netrc", NETRC);
    std::fs::set_permissions(netrc, PermissionsExt::from_mode(0o600)).expect("chmod");
    environment.iter().fold(fetch, |fetch, (name, value)| fetch.env(name, value))
}

fn basic(text: &str) -> String {
    format!("Basic {}", base64(text.as_bytes()))
}

#[test]
fn what_is_nearer_to_the_request_comes_first() {
    const USER: (&str, &str) = ("FETCHMANY_USER", "env:S3CR3T-2");
    const BEARER: (&str, &str) = ("FETCHMANY_OAUTH2_BEARER", "S3CR3T-3");
    const URL: &str = "own:S3CR3T-4@127.0.0.1";
    let (netrc, user, bearer) = (["--netrc-file", "netrc"], ["-u", "me:S3CR3T-5"], ["--oauth2-bearer", "S3CR3T-6"]);
    let server = echo();
    for (host, args, environment, expected) in [
        // A URL's own, over each of the others.
        (URL, &[][..], &[][..], basic("own:S3CR3T-4")),
        (URL, &[user], &[], basic("own:S3CR3T-4")),
        (URL, &[bearer], &[], basic("own:S3CR3T-4")),
        (URL, &[netrc], &[], basic("own:S3CR3T-4")),
        (URL, &[netrc, user], &[USER, BEARER], basic("own:S3CR3T-4")),
        ("net@127.0.0.1", &[netrc, user], &[], basic("net:S3CR3T-1")),
        // What is typed, over a file that may be for many servers.
        ("127.0.0.1", &[user], &[USER], basic("me:S3CR3T-5")),
        ("127.0.0.1", &[user], &[BEARER], basic("me:S3CR3T-5")),
        ("127.0.0.1", &[user, netrc], &[USER, BEARER], basic("me:S3CR3T-5")),
        ("127.0.0.1", &[bearer], &[USER], "Bearer S3CR3T-6".to_owned()),
        ("127.0.0.1", &[bearer, netrc], &[USER, BEARER], "Bearer S3CR3T-6".to_owned()),
        // The file that was asked for, over the environment.
        ("127.0.0.1", &[netrc], &[USER], basic("net:S3CR3T-1")),
        ("127.0.0.1", &[netrc], &[BEARER], basic("net:S3CR3T-1")),
        // The environment, where nothing else says anything.
        ("127.0.0.1", &[], &[USER], basic("env:S3CR3T-2")),
        ("127.0.0.1", &[], &[BEARER], "Bearer S3CR3T-3".to_owned()),
        ("127.0.0.1", &[], &[USER, BEARER], "Bearer S3CR3T-3".to_owned()),
        ("127.0.0.1", &[["--basic", "--basic"]], &[USER, BEARER], basic("env:S3CR3T-2")),
        ("localhost", &[netrc], &[USER], basic("env:S3CR3T-2")),
    ] {
        let run = fetch(&args.concat(), environment, &server.url_as(host, "/a")).run();
        run.assert_exit(0);
        let sent = server.seen().pop().expect("a request").header("authorization").map(str::to_owned);
        assert_eq!(sent, Some(expected), "{host} {args:?} {environment:?}");
    }
}

#[test]
fn a_token_of_the_environment_does_not_stand_in_for_a_user() {
    let bearer = [("FETCHMANY_OAUTH2_BEARER", "S3CR3T-3")];
    let server = echo();
    let aws = ["-u", "KEY:S3CR3T", "--aws-sigv4", "aws:amz:eu-1:s3"];
    fetch(&aws, &bearer, &server.url("/a")).run().assert_exit(0);
    let sent = server.seen().pop().expect("a request").header("authorization").map(str::to_owned);
    assert!(sent.as_ref().is_some_and(|sent| sent.starts_with("AWS4-HMAC-SHA256 Credential=KEY/")), "{sent:?}");
    // And signs nothing.
    fetch(&aws[2..], &bearer, &server.url("/a")).run().assert_exit(2).assert_stderr_has("--user");

    let server = Server::http(|seen: &Seen| match seen.header("authorization") {
        Some(sent) if sent.starts_with("Digest ") && sent.contains("username=\"u\"") => Reply::ok("in"),
        Some(_) => Reply::status(403),
        None => Reply::status(401).header("www-authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\""),
    });
    fetch(&["-u", "u:S3CR3T", "--digest"], &bearer, &server.url("/a")).run().assert_exit(0);
    let user = ("FETCHMANY_USER", "u:S3CR3T");
    fetch(&["--digest"], &[bearer[0], user], &server.url("/a")).run().assert_exit(0);
}

#[test]
fn methods_for_users_are_noted_only_where_there_is_no_user() {
    let server = echo();
    let user = ("FETCHMANY_USER", "u:p");
    for (args, environment, noted) in [
        (&["--digest", "-u", "a:b"][..], &[][..], false),
        (&["--anyauth", "-u", "a:b"], &[], false),
        (&["--digest", "--netrc-file", "netrc"], &[], false),
        (&["--digest"], &[user], false),
        (&["--digest"], &[], true),
        (&["--anyauth"], &[], true),
        (&["-u", "a:b"], &[], false),
    ] {
        let run = fetch(args, environment, &server.url("/a")).run();
        run.assert_exit(0);
        assert_eq!(run.stderr_text().contains("are for users"), noted, "{run}");
    }
}
